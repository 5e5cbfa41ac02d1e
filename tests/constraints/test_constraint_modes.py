import pytest
import torch
from convex_problem import PEER, Weights, built_problem, exact, reference_problem, train
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from coral_mtl.constraints import (
    AugmentedLagrangian,
    Ball,
    Box,
    LogBarrier,
    NonNegative,
    Penalty,
    Projected,
    Reparametrised,
    Simplex,
)
from coral_mtl.constraints.modes.augmented_lagrangian import augmented_term
from coral_mtl.constraints.modes.log_barrier import barrier_term
from coral_mtl.constraints.modes.penalty import penalty_term
from coral_mtl.errors import CheckpointError, ConfigError, TrainingError
from coral_mtl.registry import constraint_modes
from coral_mtl.schedules import Cosine, Geometric, Horizon

RUN = Horizon(2000, 100)
MODES = {cls.__name__: cls for cls in (AugmentedLagrangian, LogBarrier, Penalty, Projected, Reparametrised)}
NAMES = ["linear.w"]


def adam(model, lr=0.05, steps=2000):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    return optimizer, LambdaLR(optimizer, Cosine(start=1.0, end=0.0, length=1.0).bind(Horizon(steps, 1)))


def minimised(problem, model, constraint):
    """The minimum of loss and term by Newton's method, every step through the constraint's hands."""
    w = model.linear["w"]
    for step in range(200):
        w.grad = None
        value = problem.loss(w) + constraint.term(step)
        (gradient,) = torch.autograd.grad(value, w, create_graph=True)
        hessian = torch.stack([torch.autograd.grad(g, w, retain_graph=True)[0] for g in gradient])
        constraint.before_step()
        with torch.no_grad():
            w -= torch.linalg.solve(hessian, gradient)
        constraint.after_step(step)
    return w.detach()


def test_every_mode_is_here():
    assert sorted(MODES) == constraint_modes.names()


@pytest.mark.parametrize("make", [reference_problem, built_problem])
def test_projection_finds_the_optimum_and_all_its_zeros(make):
    problem = make()
    assert 0.0 <= problem.h.min() <= problem.h.max() <= 1.0
    model = Weights(torch.ones(problem.X.shape[1]))
    constraint = Projected(NonNegative(), model, NAMES, RUN)
    optimizer, rates = adam(model)
    train(problem, model, constraint, steps=2000, optimizer=optimizer, rates=rates)
    w = model.linear["w"].detach()
    assert problem.gap(w) <= 1e-6
    assert torch.equal(w == 0.0, problem.optimum == 0.0)
    assert int((w == 0.0).sum()) == {6: 3, 84: 63}[len(w)]
    figures = constraint.figures()["linear.w"]
    assert figures["violation"] == 0.0
    assert figures["active"] == int((problem.optimum == 0.0).sum())


def test_the_reference_optimum_and_its_value():
    problem, peer = reference_problem(), PEER["nonnegative_logistic"]
    assert problem.loss(problem.optimum).item() == pytest.approx(peer["nonnegative_lbfgsb"]["value"], abs=1e-12)
    assert problem.loss(exact(peer["unconstrained"]["w"])).item() == pytest.approx(
        peer["unconstrained"]["value"], abs=1e-12
    )
    torch.testing.assert_close(exact(peer["nonnegative_cvxpy"]["w"]), problem.optimum, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("peer", PEER["penalty"], ids=lambda peer: f"rho={peer['rho']}")
def test_penalty(peer):
    problem, model = reference_problem(), Weights(torch.ones(6))
    constraint = Penalty(NonNegative(), model, NAMES, RUN, rho=peer["rho"])
    w = minimised(problem, model, constraint)
    torch.testing.assert_close(w, exact(peer["w"]), rtol=0.0, atol=1e-6)
    assert problem.loss(w).item() == pytest.approx(peer["objective_without_penalty"], abs=1e-6)
    assert constraint.figures()["linear.w"]["violation"] == pytest.approx(peer["largest_violation"], abs=1e-6)


@pytest.mark.parametrize("peer", PEER["barrier"], ids=lambda peer: f"mu={peer['mu']}")
def test_barrier(peer):
    problem, model = reference_problem(), Weights(torch.full((6,), 0.1))
    w = minimised(problem, model, LogBarrier(NonNegative(), model, NAMES, RUN, mu=peer["mu"]))
    torch.testing.assert_close(w, exact(peer["w"]), rtol=0.0, atol=1e-6)
    assert problem.loss(w).item() == pytest.approx(peer["objective_without_barrier"], abs=1e-6)


def test_a_falling_barrier_ends_near_the_optimum_with_adam():
    problem, model = reference_problem(), Weights(torch.ones(6))
    constraint = LogBarrier(NonNegative(), model, NAMES, RUN)
    optimizer, rates = adam(model)
    train(problem, model, constraint, steps=2000, optimizer=optimizer, rates=rates)
    assert problem.gap(model.linear["w"]) == pytest.approx(3 * 1e-4, rel=0.2)  # mu for each of three active bounds
    assert constraint.figures()["linear.w"]["violation"] == 0.0


@pytest.mark.parametrize("allowed", [NonNegative(), Box(low=0.0, high=3.0), Ball(radius=3.0)])
def test_steps_of_any_size_stay_inside_the_barrier(allowed):
    generator = torch.Generator().manual_seed(0)
    model = Weights(torch.ones(6))
    constraint = LogBarrier(allowed, model, NAMES, RUN, mu=0.01)
    w = model.linear["w"]
    for step in range(200):
        before = w.detach().clone()
        wanted = before + 10.0 ** torch.randint(-3, 4, (1,), generator=generator) * torch.randn(6, generator=generator)
        constraint.before_step()
        with torch.no_grad():
            w.copy_(wanted)
        constraint.after_step(step)
        left, kept = -allowed.violation(before), -allowed.violation(w.detach())
        assert (kept > 0.0).all()
        assert (kept >= 0.005 * left - 1e-12).all()
        far_enough = (-allowed.violation(wanted) >= 0.005 * left).all(dim=0)
        if allowed.violation(before).ndim == 2:  # bounds of single coordinates: the others go where they wanted
            assert torch.equal(w.detach()[far_enough], wanted[far_enough])
        else:
            moved, whole = w.detach() - before, wanted - before
            share = moved.norm() / whole.norm()
            torch.testing.assert_close(moved, share * whole, rtol=0.0, atol=1e-12)


def test_augmented_lagrangian_step_by_step_with_cooper():
    problem, model = reference_problem(), Weights(torch.ones(6))
    constraint = AugmentedLagrangian(NonNegative(), model, NAMES, RUN, rho=1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    done = 0
    for peer in PEER["cooper_augmented_lagrangian"]["trace"]:
        train(problem, model, constraint, steps=peer["step"] - done, optimizer=optimizer)
        done = peer["step"]
        torch.testing.assert_close(model.linear["w"].detach(), exact(peer["w"]), rtol=0.0, atol=1e-12)
        torch.testing.assert_close(
            constraint.multipliers["linear.w"][0], exact(peer["multiplier"]), rtol=0.0, atol=1e-12
        )
    torch.testing.assert_close(constraint.multipliers["linear.w"][0], problem.multipliers, rtol=0.0, atol=1e-6)
    assert problem.gap(model.linear["w"]) <= 1e-6
    figures = constraint.figures()["linear.w"]
    assert figures["active"] == 3
    assert figures["multiplier"] == pytest.approx(0.112403305, abs=1e-6)


def test_contributions_of_augmented_lagrangian_and_penalty_against_cooper():
    peer = PEER["augmented_contribution"]
    violation, rho = exact(peer["violation"]).requires_grad_(), peer["penalty_coefficient"]
    term = augmented_term({"w": violation}, {"w": exact(peer["multiplier"])}, rho)
    assert term.item() == pytest.approx(peer["value"], abs=1e-12)
    assert torch.autograd.grad(term, violation)[0].tolist() == pytest.approx(peer["gradient"], abs=1e-12)
    halved = penalty_term({"w": violation}, rho / 2)  # cooper's has a factor 1/2
    assert halved.item() == pytest.approx(peer["quadratic_penalty_value"], abs=1e-12)


def test_barrier_term_by_hand():
    violations = {"a": exact([-0.5, -2.0]), "b": exact([-1.0])}
    assert barrier_term(violations, 0.1).item() == pytest.approx(0.0, abs=1e-15)
    assert barrier_term({"a": exact([-0.1])}, 2.0).item() == pytest.approx(2.0 * 2.302585092994046)


def test_augmented_lagrangian_for_a_total():
    """A quadratic over the simplex: the two bounds of the total share one multiplier between them."""
    target, model = exact([0.9, -0.4, 0.3]), Weights([0.3, 0.3, 0.3])
    constraint = AugmentedLagrangian(Simplex(), model, NAMES, RUN, rho=2.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for step in range(2000):
        optimizer.zero_grad()
        (0.5 * (model.linear["w"] - target).square().sum() + constraint.term(step)).backward()
        optimizer.step()
        constraint.after_step(step)
    torch.testing.assert_close(model.linear["w"].detach(), Simplex().project(target), rtol=0.0, atol=1e-6)


def test_reparametrisation_stays_inside_and_reaches_no_zero():
    problem, model = reference_problem(), Weights(torch.ones(6))
    constraint = Reparametrised(NonNegative(), model, NAMES, RUN)
    optimizer, rates = adam(model)
    train(problem, model, constraint, steps=2000, optimizer=optimizer, rates=rates)
    w = constraint.tensors()["linear.w"].detach()
    assert (w > 0.0).all()
    assert 1e-6 < problem.gap(w) < 5e-3
    assert [name for name, _ in model.named_parameters()] == ["linear.parametrizations.w.original"]
    assert constraint.figures()["linear.w"] == {"violation": 0.0, "active": 0}


@pytest.mark.parametrize("allowed", [Box(low=-1.0, high=2.0), Simplex(radius=3.0), Ball(radius=2.0)])
def test_reparametrisation_keeps_the_value_it_found(allowed):
    start = exact([0.5, 0.75, 1.75])
    model = Weights(start)
    Reparametrised(allowed, model, NAMES, RUN)
    torch.testing.assert_close(model.linear["w"], start)


@pytest.mark.parametrize(
    ("allowed", "start"),
    [(NonNegative(), [0.0, 1.0]), (Box(low=0.0, high=1.0), [0.5, 1.0]), (Ball(radius=1.0), [1.0, 0.0])],
)
@pytest.mark.parametrize("mode", [Reparametrised, LogBarrier])
def test_modes_that_need_the_inside_refuse_the_boundary(mode, allowed, start):
    with pytest.raises(ConfigError, match=r"linear\.w starts on or outside the boundary"):
        mode(allowed, Weights(start), NAMES, RUN)


@pytest.mark.parametrize("start", [[0.5, 0.6], [1.5, -0.5], [1.0, 0.0]])
def test_a_map_onto_the_simplex_starts_on_it(start):
    with pytest.raises(ConfigError, match="starts on or outside the boundary of Simplex"):
        Reparametrised(Simplex(), Weights(start), NAMES, RUN)


def test_a_simplex_has_no_barrier():
    with pytest.raises(ConfigError, match="a Simplex has no inside to stay in"):
        LogBarrier(Simplex(), Weights([0.5, 0.5]), NAMES, RUN)


def test_a_barrier_wants_to_know_where_a_step_began():
    constraint = LogBarrier(NonNegative(), Weights([0.5]), NAMES, RUN, mu=1.0)
    with pytest.raises(TrainingError, match="after_step without before_step"):
        constraint.after_step(0)


@pytest.mark.parametrize("mode", MODES.values())
def test_a_constraint_on_nothing(mode):
    with pytest.raises(ConfigError, match="a constraint on no parameter has no effect"):
        mode(NonNegative(), Weights([0.5]), [], RUN)


@pytest.mark.parametrize(("mode", "option"), [(Penalty, "rho"), (AugmentedLagrangian, "rho"), (LogBarrier, "mu")])
def test_prices_are_above_zero_and_may_be_schedules(mode, option):
    with pytest.raises(ConfigError, match=option):
        mode(NonNegative(), Weights([0.5]), NAMES, RUN, **{option: 0.0})
    start = [0.5] if mode is LogBarrier else [-0.5]
    scheduled = mode(NonNegative(), Weights(start), NAMES, RUN, **{option: Geometric(start=8.0, end=2.0)})
    plain = {price: mode(NonNegative(), Weights(start), NAMES, RUN, **{option: price}) for price in (8.0, 2.0)}
    assert scheduled.term(0).item() == plain[8.0].term(0).item()
    assert scheduled.term(1999).item() == plain[2.0].term(5).item()


def test_only_the_named_parameters_are_touched():
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 1, 1))
    for parameter in model.parameters():
        nn.init.constant_(parameter, -1.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    constraint = Projected(NonNegative(), model, ["1.weight"], RUN)
    constraint.after_step(0)
    changed = [not torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True)]
    assert changed == [False, False, True, False]
    assert constraint.figures()["1.weight"]["movement"] == 0.0


def test_projection_tells_how_far_it_moved():
    model = Weights([-3.0, 1.0, -4.0])
    constraint = Projected(NonNegative(), model, NAMES, RUN)
    assert model.linear["w"].tolist() == [0.0, 1.0, 0.0]
    assert constraint.figures() == {"linear.w": {"violation": 0.0, "active": 2, "movement": 5.0}}


def test_multipliers_survive_a_checkpoint():
    problem = reference_problem()

    def begin():
        model = Weights(torch.ones(6))
        constraint = AugmentedLagrangian(NonNegative(), model, NAMES, RUN, rho=1.0)
        return model, constraint, torch.optim.SGD(model.parameters(), lr=0.5)

    model, constraint, optimizer = begin()
    train(problem, model, constraint, steps=60, optimizer=optimizer)
    resumed, again, other = begin()
    resumed.load_state_dict(model.state_dict())
    again.load_state_dict(constraint.state_dict())
    train(problem, model, constraint, steps=60, optimizer=optimizer)
    train(problem, resumed, again, steps=60, optimizer=other)
    assert torch.equal(model.linear["w"], resumed.linear["w"])
    assert torch.equal(constraint.multipliers["linear.w"], again.multipliers["linear.w"])
    with pytest.raises(CheckpointError, match="has multipliers of other"):
        again.load_state_dict({"multipliers": {"other": torch.zeros(1, 6)}})
