import pytest
import torch
from torch import nn

from coral_mtl.errors import ConfigError
from coral_mtl.parameters import Rule, apply_rules, keep_frozen_in_eval, matching_names, parameter_groups, treatments


class Model(nn.Module):
    """A backbone with batch statistics and dropout, and a head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.head = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.ones(()))


NAMES = [name for name, _ in Model().named_parameters()]


def test_patterns():
    assert matching_names(NAMES, "head.*") == ["head.weight", "head.bias"]
    assert matching_names(NAMES, "*.bias", "scale") == ["scale", "backbone.0.bias", "backbone.1.bias", "head.bias"]
    assert matching_names(NAMES, "backbone.?.weight", "backbone.0.*") == NAMES[1:4]
    with pytest.raises(
        ConfigError, match=r"no parameter is called 'haed.weight'\n    parameters are called head.weight"
    ):
        matching_names(NAMES, "haed.weight")


def test_later_rules_win_in_what_they_say():
    model = Model()
    rules = [
        Rule("*", lr_factor=0.5, weight_decay=0.1),
        Rule("backbone.*", frozen=True),
        Rule("backbone.1.*", lr_factor=2.0),
    ]
    found = treatments(model, [*rules, Rule("backbone.1.bias", frozen=False)])
    assert (found["backbone.0.weight"].lr_factor, found["backbone.0.weight"].frozen) == (0.5, True)
    assert (found["backbone.1.bias"].lr_factor, found["backbone.1.bias"].frozen) == (2.0, False)
    assert found["backbone.1.bias"].weight_decay == 0.1
    with pytest.raises(ConfigError, match="no parameter is called 'neck"):
        treatments(model, [Rule("neck.*", frozen=True)])


@pytest.mark.parametrize("idle", [{"lr_factor": 0.1}, {"weight_decay": 0.0}])
def test_what_a_rule_freezes_has_no_learning_rate_and_no_decay(idle):
    with pytest.raises(ConfigError, match=f"{next(iter(idle))} has no effect on what is frozen"):
        Rule("*", frozen=True, **idle)
    Rule("*", frozen=False, **idle)


@pytest.mark.parametrize("wrong", [{"lr_factor": -1.0}, {"weight_decay": -0.1}, {"lr_factor": float("nan")}])
def test_rules_have_no_negative_numbers(wrong):
    with pytest.raises(ConfigError, match="must be 0 or above"):
        Rule("*", **wrong)


def test_groups_are_of_trained_parameters():
    model = Model()
    treated = apply_rules(model, [Rule("backbone.0.*", frozen=True), Rule("head.*", lr_factor=10.0)])
    groups = parameter_groups(model.named_parameters(), treated, lr=1e-3, weight_decay=0.1)
    told = [(group["names"], group["lr"], group["weight_decay"]) for group in groups]
    assert told == [
        (["head.weight"], 1e-2, 0.1),
        (["scale", "backbone.1.weight", "backbone.1.bias"], 1e-3, 0.0),
        (["head.bias"], 1e-2, 0.0),
    ]
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == NAMES[1:3]
    torch.optim.AdamW(groups)
    apply_rules(model, [Rule("*", frozen=False)])
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("rules", [[], [Rule("head.*", lr_factor=2.0)]])
def test_what_no_rule_mentions_stays_as_the_model_has_it(rules):
    model = Model()
    model.backbone.requires_grad_(False)
    treated = apply_rules(model, rules)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["scale", "head.weight", "head.bias"]
    groups = parameter_groups(model.named_parameters(), treated, lr=1.0, weight_decay=0.1)
    assert sorted(name for group in groups for name in group["names"]) == ["head.bias", "head.weight", "scale"]
    model.train()
    keep_frozen_in_eval(model, treated)
    assert [module.training for module in (model.head, model.backbone, *model.backbone)] == [True] + [False] * 4


def test_a_rule_about_weight_decay_is_obeyed_for_biases_too():
    treated = treatments(Model(), [Rule("head.*", weight_decay=0.3), Rule("backbone.*", weight_decay=0.0)])
    groups = parameter_groups(Model().named_parameters(), treated, lr=1.0, weight_decay=0.1)
    assert {name: g["weight_decay"] for g in groups for name in g["names"] if name != "scale"} == {
        name: 0.3 if name.startswith("head") else 0.0 for name in NAMES[1:]
    }


class Tied(nn.Module):
    """Two heads with one weight."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(2, 2), nn.Linear(2, 2)
        self.right.weight = self.left.weight


@pytest.mark.parametrize("name", ["left", "right"])
def test_a_rule_on_either_name_of_a_tied_parameter_holds_for_it(name):
    model = Tied()
    treated = apply_rules(model, [Rule("*.weight", lr_factor=3.0), Rule(f"{name}.weight", lr_factor=2.0)])
    groups = parameter_groups(model.named_parameters(), treated, lr=1.0, weight_decay=0.1)
    assert [(group["names"], group["lr"]) for group in groups] == [
        (["left.weight"], 2.0),
        (["left.bias", "right.bias"], 1.0),
    ]


def test_of_rules_on_both_names_of_a_tied_parameter_the_later_one_wins():
    model = Tied()
    apply_rules(model, [Rule("left.*", frozen=True), Rule("right.weight", frozen=False)])
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["left.weight", "right.bias"]


@pytest.mark.parametrize("name", ["left", "right"])
def test_a_tied_parameter_begins_anew_with_either_of_its_modules(name):
    model = Tied()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    apply_rules(model, [Rule(f"{name}.*", reset=True)])
    kept = [called for called, p in model.named_parameters() if (p == 7.0).all()]
    assert kept == [f"{'right' if name == 'left' else 'left'}.bias"]


def test_what_is_frozen_stands_still():
    model = Model()
    treated = apply_rules(model, [Rule("backbone.*", frozen=True)])
    model.train()
    keep_frozen_in_eval(model, treated)
    assert [module.training for module in (model, model.head, model.backbone, *model.backbone)] == [True, True] + [
        False
    ] * 4
    statistics = model.backbone[1].running_mean.clone()
    model.backbone(torch.randn(8, 3, 2, 2))
    assert torch.equal(model.backbone[1].running_mean, statistics)
    model = Model()
    keep_frozen_in_eval(model, apply_rules(model, [Rule("backbone.0.*", frozen=True)]))
    assert [module.training for module in model.backbone] == [False, True, True]


def test_what_is_reset_begins_anew():
    model = Model()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    model.backbone[1].running_mean.fill_(3.0)
    apply_rules(model, [Rule("backbone.*", reset=True)])
    assert not (model.backbone[0].weight == 7.0).any()
    assert (model.backbone[1].weight == 1.0).all()
    assert (model.backbone[1].running_mean == 0.0).all()
    assert (model.head.weight == 7.0).all()


def test_what_cannot_begin_anew():
    with pytest.raises(ConfigError, match="has no reset_parameters"):
        apply_rules(Model(), [Rule("scale", reset=True)])
    with pytest.raises(ConfigError, match=r"head\.weight cannot begin anew without head\.bias"):
        apply_rules(Model(), [Rule("head.weight", reset=True)])
