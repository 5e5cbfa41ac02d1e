"""Regularisers and constraints in the order of a step, by hand and through the trainer."""

import math

import pytest
import torch
from torch import nn
from toy import Toy
from toy_training import TASKS, NoiseSplits, make_trainer

from coral_mtl.constraints import AugmentedLagrangian, LogBarrier, NonNegative, Penalty, Projected, Reparametrised
from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.restraints import Regularisation, Restraints
from coral_mtl.errors import ConfigError, TrainingError
from coral_mtl.losses.regularisers import L1, L2, Entropy
from coral_mtl.schedules import Horizon

RUN = Horizon(steps=10, steps_per_epoch=5)


class Pair(nn.Module):
    def __init__(self, *values):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(values, dtype=torch.float64))


def stepped(model, restraints, gradient, *, lr=0.5, steps=1):
    """Plain gradient steps on a loss with a constant gradient, in the order of a training step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for step in range(steps):
        model.zero_grad()
        (model.w * torch.tensor(gradient)).sum().backward()
        restraints.add_gradients(step)
        restraints.before_step()
        optimizer.step()
        restraints.after_step(step, optimizer)
    return model.w.tolist()


def test_a_term_is_added_to_the_gradient_and_follows_its_schedule():
    model = Pair(1.0, -2.0)
    factor = {"steps": {"values": {"0": 1.0, "1 steps": 0.0}}}
    regularisation = Regularisation(L2(weight=0.1), model, ["w"], RUN, factor=factor)
    found = stepped(model, Restraints({"small": regularisation}), [1.0, 0.0], steps=2)
    assert found == pytest.approx([1.0 - 0.5 * (1.0 + 0.2) - 0.5 * 1.0, -2.0 + 0.5 * 0.4])
    assert regularisation.term(0) is not None
    assert regularisation.term(5) is None, "with the factor 0 nothing is computed"


def test_shrinking_comes_after_the_projection():
    model = Pair(0.2, 1.0)
    restraints = Restraints(
        {"sparse": Regularisation(L1(weight=1.0), model, ["w"], RUN)},
        {"positive": Projected(NonNegative(), model, ["w"], RUN)},
    )
    assert stepped(model, restraints, [1.0, 0.0], lr=0.3) == pytest.approx([0.0, 0.7]), (
        "-0.1 is no weight of -0.1 + 0.3"
    )


def test_the_same_price_as_a_term_finds_no_exact_zero():
    def zeros(apply):
        model = Pair(0.7, 3.0)
        restraints = Restraints({"sparse": Regularisation(L1(weight=1.0), model, ["w"], RUN, apply=apply)})
        return stepped(model, restraints, [0.0, 0.0], lr=0.3, steps=4).count(0.0)

    assert (zeros("proximal"), zeros("term")) == (1, 0)


def test_a_barrier_holds_the_steps_inside():
    model = Pair(0.1, 1.0)
    barrier = LogBarrier(NonNegative(), model, ["w"], RUN, mu=1e-6)
    found = stepped(model, Restraints({}, {"inside": barrier}), [10.0, 0.0], lr=1.0)
    assert found[0] == pytest.approx(0.1 * 0.005)


def test_figures_are_by_name():
    model = Pair(-0.5, 1.0)
    restraints = Restraints(
        {"small": Regularisation(L2(weight=2.0), model, ["w"], RUN, factor=0.5)},
        {"bound": AugmentedLagrangian(NonNegative(), model, ["w"], RUN, rho=4.0)},
    )
    restraints.after_step(0, torch.optim.SGD(model.parameters(), lr=0.1))
    assert restraints.figures(0) == {
        "regularisers": {"small": pytest.approx(1.25)},
        "constraints": {"bound": {"w": {"violation": 0.5, "active": 1, "multiplier": 2.0}}},
    }
    again = Restraints({}, {"bound": AugmentedLagrangian(NonNegative(), model, ["w"], RUN, rho=4.0)})
    again.load_state_dict(restraints.state_dict())
    assert again.figures(0)["constraints"] == restraints.figures(0)["constraints"]
    assert Restraints().figures(0) == {}


def test_a_term_that_is_not_finite_harms_no_parameter():
    model = Pair(1.0, float("inf"))
    restraints = Restraints({"small": Regularisation(L2(weight=0.1), model, ["w"], RUN)})
    with pytest.raises(TrainingError, match="step 3: regulariser 'small' is inf on its parameters"):
        restraints.add_gradients(2)
    assert model.w.grad is None


def test_a_regulariser_and_a_constraint_of_one_name_both_act():
    model = Pair(-1.0, 2.0)
    price = Regularisation(L2(weight=0.5), model, ["w"], RUN)
    bound = Penalty(NonNegative(), model, ["w"], RUN, rho=3.0)
    restraints = Restraints({"same": price}, {"same": bound})
    restraints.add_gradients(0)
    assert model.w.grad.tolist() == pytest.approx([2 * 0.5 * -1.0 + 2 * 3.0 * -1.0, 2 * 0.5 * 2.0])
    found = restraints.figures(0)
    assert found["regularisers"]["same"] == pytest.approx(2.5)
    assert found["constraints"]["same"]["w"]["violation"] == 1.0


def test_the_scale_of_a_gradient_scaler_comes_off_again():
    model = Pair(1.0, -2.0)
    Restraints({"small": Regularisation(L2(weight=0.1), model, ["w"], RUN)}).add_gradients(0, lambda term: 1024 * term)
    assert (model.w.grad / 1024).tolist() == pytest.approx([0.2, -0.4])


def test_what_would_have_no_effect_is_refused():
    model = Pair(1.0, 2.0)
    with pytest.raises(ConfigError, match="Entropy has no map"):
        Regularisation(Entropy(weight=1.0), model, ["w"], RUN, apply="proximal")
    Reparametrised(NonNegative(), model, ["w"], RUN)
    with pytest.raises(ConfigError, match="reparametrised"):
        Regularisation(L1(weight=1.0), model, ["w"], RUN)
    Regularisation(L1(weight=1.0), model, ["w"], RUN, apply="term")
    frozen = Pair(-1.0)
    frozen.w.requires_grad_(False)
    with pytest.raises(ConfigError, match="none of its parameters is trained"):
        Regularisation(L2(weight=1.0), frozen, ["w"], RUN)
    for mode in (Penalty, Projected, Reparametrised):
        with pytest.raises(ConfigError, match=f"{mode.__name__}: none of its parameters is trained"):
            mode(NonNegative(), frozen, ["w"], RUN)
    assert frozen.w.tolist() == [-1.0], "and left alone"


def trained(build, **options):
    """A run of the toy model with the restraints that `build` makes for it."""
    model = Toy(TASKS)
    trainer, diary = make_trainer(Equal(), model=model, data=NoiseSplits(20), lr=1e-3, **options)
    trainer.restraints = build(model)
    trainer.fit()
    return model, diary


def test_strategies_do_not_see_a_regulariser_and_the_update_does():
    def build(model):
        names = [name for name, _ in model.named_parameters()]
        return Restraints({"small": Regularisation(L2(weight=10.0), model, names, RUN)})

    plain, without = trained(lambda model: Restraints(), epochs=1)
    small, within = trained(build, epochs=1)
    first, twin = without.steps[0].account, within.steps[0].account
    assert first.norms == twin.norms
    assert first.weights == twin.weights
    length = sum(p.square().sum() for p in small.parameters())
    assert length < sum(p.square().sum() for p in plain.parameters())


def test_micro_batches_have_one_term_and_not_several():
    def build(model):
        names = [name for name, _ in model.named_parameters()]
        return Restraints({"small": Regularisation(L2(weight=0.3), model, names, RUN)})

    whole, _ = trained(build, epochs=1, batch_size=10)
    parts, _ = trained(build, epochs=1, batch_size=5, gradient_accumulation_steps=2)
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-9)


def test_figures_come_where_gradients_are_measured():
    def build(model):
        name = next(name for name, _ in model.named_parameters())
        return Restraints({}, {"bound": Projected(NonNegative(), model, [name], RUN)})

    _, diary = trained(build, epochs=2)
    measured = [report.number for report in diary.steps if report.restraints]
    assert measured == [1], "every 50 steps"
    (figures,) = diary.steps[0].restraints["constraints"]["bound"].values()
    assert figures["violation"] == 0.0
    assert math.isfinite(figures["movement"])
