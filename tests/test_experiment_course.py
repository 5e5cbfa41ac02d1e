"""From YAML to what a run does about schedules, terms, rules and constraints."""

import re

import pytest
import torch

from coral_mtl import registry
from coral_mtl.config import load_config
from coral_mtl.engine.product import Product
from coral_mtl.engine.reports import Observer
from coral_mtl.engine.stack import Stack
from coral_mtl.errors import ConfigError
from coral_mtl.experiment import build_experiment
from coral_mtl.losses.composite import CompositeHierarchical

YAML = """
data: {type: OverlappingDigits, params: {train_size: 48, validation_size: 16}, batch_size: 8}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
optimizer: {type: AdamW, params: {lr: 0.01}}
trainer: {epochs: 2, device: cpu}
diagnostics: {gradient_every: 1}
"""


@pytest.fixture
def build(tmp_path):
    (tmp_path / "small.yaml").write_text(YAML)
    return lambda *overrides: build_experiment(load_config(tmp_path / "small.yaml", overrides))


class Steps(Observer):
    def __init__(self):
        self.reports = []

    def on_step(self, report):
        self.reports.append(report)


def steps_of(experiment):
    seen = Steps()
    experiment.trainer(observers=[seen]).fit()
    return seen.reports


@pytest.fixture
def two_terms(monkeypatch):
    """A registered loss with a second term, the size of the logits, for the task `left`; it counts its evaluations."""
    table = registry.losses
    table.names()
    monkeypatch.setattr(table, "_classes", dict(table._classes))
    monkeypatch.setattr(table, "_names", dict(table._names))

    @table.register
    class TwoTerms:
        evaluated = 0

        def __init__(self, tasks):
            self.base = CompositeHierarchical(tasks)
            self.terms = ("entropy", "size", "right", "ink")
            self.terms_by_task = {"left": ("entropy", "size"), "right": ("right",), "ink": ("ink",)}

        def __call__(self, predictions, targets, only=None):
            losses = dict(self.base(predictions, targets))
            found = {"entropy": losses.pop("left"), **losses}
            if only is None or "size" in only:
                TwoTerms.evaluated += 1
                found["size"] = predictions["left"].square().mean()
            return found

    return TwoTerms


def test_tasks_are_balanced_and_terms_only_where_asked_to(build, two_terms):
    assert build("loss.type=TwoTerms").objective.terms == ("left", "right", "ink")
    experiment = build("loss.type=TwoTerms", "loss.balance=terms", "loss.weighting_strategy.type=NashMTL")
    assert experiment.objective.terms == ("entropy", "size", "right", "ink")
    reports = steps_of(experiment)
    assert "entropy_vs_size" in reports[0].account.cosines, "do two losses of one task conflict? an ordinary record"


def test_a_scheduled_mixture_within_a_task_does_not_evaluate_what_weighs_nothing(build, two_terms):
    weights = "loss.term_weights={size: {steps: {values: {0: 0.5, 0.5: 0}}}}"
    reports = steps_of(build("loss.type=TwoTerms", weights))
    assert len(reports) == 12
    assert two_terms.evaluated == 6
    assert set(reports[0].account.losses) == set(reports[11].account.losses) == {"left", "right", "ink"}


def test_weightings_multiply_and_stack(build):
    block = "loss.weighting_strategy"
    static = "{type: Static, params: {weights: {left: 1, right: 2, ink: 0.1}}, times: {type: ValueNormalised}}"
    experiment = build(f"{block}={static}")
    assert isinstance(experiment.engine.strategy, Product)
    assert experiment.strategy_name == "Static*ValueNormalised"
    stacked = build(f"{block}={{type: NashMTL, over: {static}}}")
    assert isinstance(stacked.engine.strategy, Stack)
    assert isinstance(stacked.engine.strategy.weighting, Product)
    assert stacked.strategy_name == "Static*ValueNormalised+NashMTL"
    assert set(steps_of(stacked)[0].account.weights) == {"left", "right", "ink"}


def test_a_cycle_that_the_end_cuts_short_is_remarked_on(build):
    (remark,) = build("optimizer.schedule={restarts: {period: 1.5 epochs}}").remarks
    assert "ends at 33% of a cycle" in remark
    assert "cycles end after 1.5 epochs and 3 epochs" in remark
    assert build("optimizer.schedule={restarts: {period: 1 epochs}}").remarks == ()
    assert build().remarks == ()


def test_a_preset_at_another_rate_than_it_is_meant_for_is_remarked_on(build):
    (remark,) = build("optimizer.schedule=fine_tuning").remarks
    assert remark.startswith("optimizer.schedule: fine_tuning is meant for a base learning rate of 1e-05 and sets none")
    assert remark.endswith("optimizer.params.lr is 0.01")
    assert build("optimizer.schedule=fine_tuning", "optimizer.params.lr=1e-5").remarks == ()


def test_rules_make_groups_whose_ratio_every_schedule_keeps(build):
    experiment = build(
        "parameters=[{pattern: trunk.0.*, frozen: true}, {pattern: heads.*, lr_factor: 10.0}]",
        "optimizer.schedule={cosine: {start: 1, end: 0.1}}",
    )
    frozen = experiment.model.trunk[0][0].weight.detach().clone()
    optimizer = experiment.optimizer.optimizer
    ratios = []
    optimizer.register_step_post_hook(lambda *_: ratios.append({round(g["lr"], 9) for g in optimizer.param_groups}))
    steps_of(experiment)
    assert torch.equal(experiment.model.trunk[0][0].weight, frozen)
    assert all(max(rates) == pytest.approx(10 * min(rates), rel=1e-5) for rates in ratios)
    assert min(ratios[0]) == pytest.approx(0.01)
    assert min(ratios[-1]) == pytest.approx(0.001)


@pytest.mark.parametrize("rows", ["auto", "stored", "ghost"])
def test_shared_parameters_may_be_reparametrised(build, rows):
    experiment = build(
        "constraints={positive: {set: {ball: {radius: 50}}, parameters: [trunk.3.weight], mode: reparametrised}}",
        f"loss.weighting_strategy={{type: MGDA, rows: {rows}}}",
    )
    before = experiment.model.trunk[3].weight.detach().clone()
    reports = steps_of(experiment)
    assert "trunk.3.parametrizations.weight.original" in experiment.engine.shared_parameters()
    assert not torch.equal(experiment.model.trunk[3].weight, before)
    assert reports[0].restraints["constraints"]["positive"]["trunk.3.weight"]["violation"] == 0.0


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("constraints={c: {set: non_negative, parameters: [hads.*]}}", r"c\.parameters: no parameter is called 'hads"),
        (
            "constraints={c: {set: non_negative, parameters: [heads.*], mode: log_barrier}}",
            r"constraints\.c\.mode: LogBarrier: heads.* starts on or outside",
        ),
        ("parameters=[{pattern: '*', frozen: true}]", "every parameter is frozen"),
        ("parameters=[{pattern: neck.*, lr_factor: 2.0}]", "no parameter is called 'neck"),
        ("optimizer.schedule={warmup: {length: 12 steps, then: 1.0}}", "a warm-up of 12 steps does not fit into 12"),
        (
            "optimizer.schedule={steps: {values: {0: 1, 2 steps: 0.5, 0.1 epochs: 0.1}}}",
            "the times must increase, but 0 of the run is step 0, 2 steps is step 2, 0.1 epochs is step 0.6",
        ),
        ("trainer.stages=[{begin: 12 steps, lr_factor: 0.5}]", "before the end, step 12"),
    ],
)
def test_what_only_the_model_or_the_data_can_tell(build, override, told):
    with pytest.raises(ConfigError, match=told):
        build(override)


DATA = "data: {type: OverlappingDigits, params: {train_size: 24, validation_size: 8}}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "model: {type: SharedTrunk}\nparameters:\n  - {pattern: heads.*, lr_factor: 2.0}\n  - pattern: neck.*\n"
            "    frozen: true\n",
            "5:5: parameters.1.pattern: no parameter is called 'neck.*'",
        ),
        (
            "model: {type: SharedTrunk}\nparameters: [{pattern: '*', frozen: true}]\n",
            "3:1: parameters: every parameter is frozen: there is nothing to train",
        ),
        (
            "model: {type: SharedTrunk}\nconstraints:\n  positive:\n    set: non_negative\n"
            "    parameters: [heads.ink.*]\n    mode: reparametrised\n",
            "7:5: constraints.positive.mode: Reparametrised: heads.ink.weight starts on or outside the boundary of "
            "NonNegative, where no finite value stands for it",
        ),
        (
            "model: {type: SharedTrunk}\nregularisers:\n  few:\n    penalty: {l1: {weight: 1e-4}}\n"
            "    parameters: [heads.*, hads.*]\n",
            "6:5: regularisers.few.parameters: no parameter is called 'hads.*'",
        ),
        (
            "model:\n  type: SharedTrunk\n  params: {depth: 9}\n",
            "4:12: model.params.depth: SharedTrunk with depth 9 takes inputs (channels, height, width) of 512 pixels "
            "or more a side, and this data set's have the shape (1, 10, 12)",
        ),
        (
            "model: {type: SharedTrunk}\noptimizer:\n  type: AdamW\n  schedule: desperate_escape\n",
            "5:3: optimizer.schedule: Restarts: with 1 steps to the epoch a cycle of 1 epochs is over at once, and the "
            "value never leaves its peak",
        ),
    ],
    ids=["rule", "all rules", "constraint", "regulariser", "model", "schedule"],
)
def test_what_only_the_model_can_tell_has_its_place(tmp_path, text, told):
    path = tmp_path / "placed.yaml"
    path.write_text(DATA + text)
    config = load_config(path)
    with pytest.raises(ConfigError) as problem:
        build_experiment(config)
    assert str(problem.value).splitlines()[0] == f"{path}:{told}"
    without_file = type(config).model_validate(config.model_dump())
    with pytest.raises(ConfigError, match=re.escape(told.partition(": ")[2])):
        build_experiment(without_file)
