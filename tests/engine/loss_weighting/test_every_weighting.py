"""What holds for every loss weighting: state, names, absent tasks, mistakes."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from coral_mtl import registry
from coral_mtl.engine.loss_weighting.curriculum import Curriculum
from coral_mtl.engine.loss_weighting.dwa import DWA
from coral_mtl.engine.loss_weighting.equal import Equal
from coral_mtl.engine.loss_weighting.famo import FAMO
from coral_mtl.engine.loss_weighting.gls import GLS
from coral_mtl.engine.loss_weighting.gradient_normalised import GradientNormalised
from coral_mtl.engine.loss_weighting.gradnorm import GradNorm
from coral_mtl.engine.loss_weighting.imtl_l import IMTLL
from coral_mtl.engine.loss_weighting.mixture import Mixture
from coral_mtl.engine.loss_weighting.random import Random
from coral_mtl.engine.loss_weighting.si import SI
from coral_mtl.engine.loss_weighting.static import Static
from coral_mtl.engine.loss_weighting.stch import STCH
from coral_mtl.engine.loss_weighting.switch import Switch
from coral_mtl.engine.loss_weighting.uncertainty import Uncertainty
from coral_mtl.engine.loss_weighting.value_normalised import ValueNormalised
from coral_mtl.engine.observation import Needs, Observation
from coral_mtl.engine.strategy import LossWeighting
from coral_mtl.errors import StrategyError
from coral_mtl.schedules import Horizon

TASKS = ("left", "right", "ink")


def begun(strategy):
    strategy.begin(Horizon(steps=14, steps_per_epoch=2))
    return strategy


BUILDERS = {
    "Equal": Equal,
    "Equal-mean": lambda: Equal(reduction="mean"),
    "Static": lambda: Static(weights={"left": 1.0, "right": 0.5, "ink": 2.0}),
    "Static-scheduled": lambda: begun(
        Static(weights={"left": 1.0, "right": {"linear": {"start": 2, "end": 0}}, "ink": 2})
    ),
    "Mixture": lambda: begun(Mixture(term="left", alpha={"cosine": {"start": 0.9, "end": 0.2}})),
    "Curriculum": lambda: begun(Curriculum(plan="complexity_cascade", terms=["ink", "left", "right"], normalise=True)),
    "Switch": lambda: Switch(
        weights=[{"left": 1.0, "right": 1.0, "ink": 1.0}, {"left": 0.5, "right": 1.0, "ink": 2.0}],
        ratio=("left", "ink"),
        thresholds=[30.0],
        dwell=2,
        beta=0.5,
        update_frequency=2,
    ),
    "Random": lambda: Random(seed=3),
    "Uncertainty": lambda: Uncertainty(
        loss_kind={"left": "classification", "right": "classification", "ink": "regression"}
    ),
    "IMTL-L": IMTLL,
    "DWA": DWA,
    "DWA-window": lambda: DWA(window=3),
    "GradNorm": GradNorm,
    "GradNorm-3": lambda: GradNorm(update_frequency=3),
    "GradientNormalised": GradientNormalised,
    "GradientNormalised-2": lambda: GradientNormalised(update_frequency=2, reference="one"),
    "ValueNormalised": ValueNormalised,
    "ValueNormalised-mean": lambda: ValueNormalised(reference="geometric_mean", beta=0.5),
    "SI": SI,
    "GLS": GLS,
    "STCH": lambda: STCH(mu=0.5, warmup_epochs=1),
    "STCH-losses": lambda: STCH(on="losses", preference={"left": 1, "right": 2, "ink": 3}),
    "FAMO": FAMO,
    "FAMO-forward": lambda: FAMO(losses_after="forward"),
}
every = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS.keys())


def scenario(steps=14, seed=0):
    """Steps of a run in which tasks come and go and the losses fall at different rates, with epochs of two steps."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(3, 8)) * [[1.0], [30.0], [0.01]]
    presence = [TASKS, ("ink", "left"), TASKS, ("right", "ink"), ("right",), ("ink", "right", "left"), TASKS]
    for step in range(steps):
        tasks = presence[step % len(presence)]
        chosen = [TASKS.index(task) for task in tasks]
        fall = np.exp(-step * np.array([0.01, 0.1, 0.3]))
        losses = (fall * [1.0, 5.0, 0.2] * generator.uniform(0.8, 1.2, 3))[chosen]
        G = (rows + 0.1 * generator.normal(size=rows.shape))[chosen]
        yield Observation(tasks, losses, G @ G.T, step=step)


def advance(strategy, observation):
    """One step as the engine takes it: decide, train the strategy's own parameters, losses after, end of epoch."""
    weights = dict(zip(observation.tasks, strategy.decide(observation).coefficients.tolist(), strict=True))
    with torch.no_grad():
        for parameter, gradient in strategy.parameter_gradients(observation):
            parameter.sub_(0.1 * gradient)
    if getattr(strategy, "wants_losses_after", False):
        factors = np.array([len(task) / 6 for task in observation.tasks])
        strategy.observe_after(Observation(observation.tasks, observation.losses * factors))
    if observation.step % 2:
        strategy.end_epoch()
    return weights


def run(strategy, observations):
    return [advance(strategy, observation) for observation in observations]


def bound(build):
    strategy = build()
    strategy.bind(TASKS)
    return strategy


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_every_registered_loss_weighting_is_in_this_list():
    registered = {n for n in registry.strategies.names() if issubclass(registry.strategies.get(n), LossWeighting)}
    built = {registry.strategies.name_of(type(build())) for build in BUILDERS.values()}
    assert {name for name in registered if registry.strategies.get(name).__module__.startswith("coral_mtl")} == built


@every
@pytest.mark.parametrize("cut", range(1, 14))
def test_resuming_from_a_file_goes_on_bit_for_bit(build, cut):
    observations = list(scenario())
    whole = run(bound(build), observations)
    first = bound(build)
    run(first, observations[:cut])
    resumed = build()
    resumed.load_state_dict(through_a_file(first.state_dict()))
    assert run(resumed, observations[cut:]) == whole[cut:]


@every
def test_reset_forgets_everything(build):
    strategy = bound(build)
    fresh = run(strategy, scenario())
    strategy.reset()
    assert run(strategy, scenario()) == fresh


@every
def test_a_state_dict_is_a_copy(build):
    strategy = bound(build)
    observations = list(scenario())
    run(strategy, observations[:6])
    state = strategy.state_dict()
    wanted = run(strategy, observations[6:])
    strategy.load_state_dict(state)
    assert run(strategy, observations[6:]) == wanted


@every
def test_weights_go_by_name_not_by_position(build):
    strategy = bound(build)
    if not strategy.promises.permutation:
        pytest.skip("its draws go by position")
    observations = list(scenario())
    reordered = [o.subset(np.roll(np.arange(len(o.tasks)), 1)) for o in observations]
    for one, other in zip(run(strategy, observations), run(bound(build), reordered), strict=True):
        assert one.keys() == other.keys()
        assert other == pytest.approx(one, rel=1e-12)


@every
def test_weights_are_finite_and_as_promised(build):
    strategy = bound(build)
    for weights in run(strategy, scenario(steps=40)):
        values = np.array(list(weights.values()))
        assert np.isfinite(values).all()
        assert (values >= 0).all()
        if strategy.promises.simplex:
            assert values.sum() <= 1.0 + 1e-12
            assert weights.keys() < set(TASKS) or values.sum() == pytest.approx(1.0, rel=1e-12)


@every
def test_shared_and_task_specific_gradients_get_the_same_weight(build):
    for observation in scenario():
        decision = bound(build).decide(observation)
        np.testing.assert_array_equal(decision.coefficients, decision.head_coefficients)


@every
def test_a_task_without_a_gradient_harms_nobody(build):
    observations = list(scenario())
    silent = []
    for o in observations:
        gram = np.array(o.gram)
        gram[:, o.tasks.index(o.tasks[-1])] = gram[o.tasks.index(o.tasks[-1])] = 0.0
        silent.append(Observation(o.tasks, o.losses, gram, step=o.step))
    for weights in run(bound(build), silent):
        assert np.isfinite(list(weights.values())).all()


@every
def test_looks_at_no_more_than_it_says(build):
    """The engine leaves out the Gram matrix, and the losses' influence, wherever the needs say so."""
    strategy, twin = bound(build), bound(build)
    for observation in scenario():
        needs = strategy.needs_now(observation.tasks)
        assert needs <= strategy.needs
        poor = observation if needs is Needs.GRAM else replace(observation, gram=None)
        if needs is Needs.NOTHING:
            poor = replace(poor, losses=np.full(len(observation.tasks), 77.0))
        np.testing.assert_array_equal(strategy.decide(poor).coefficients, twin.decide(observation).coefficients)
        if getattr(strategy, "wants_losses_after", False):
            strategy.observe_after(observation)
            twin.observe_after(observation)


NEEDS_POSITIVE_LOSSES = [name for name in BUILDERS if name.split("-")[0] in
                         {"DWA", "GradNorm", "ValueNormalised", "SI", "GLS", "FAMO"} or name == "STCH"]  # fmt: skip


@pytest.mark.parametrize("name", NEEDS_POSITIVE_LOSSES)
def test_a_negative_loss_is_named(name):
    observation = Observation(TASKS, np.array([1.0, -0.5, 2.0]), np.eye(3))
    with pytest.raises(StrategyError, match=r"right = -0\.5"):
        bound(BUILDERS[name]).decide(observation)


@every
def test_a_loss_of_zero_is_no_accident(build):
    strategy = bound(build)
    for losses in ([1.0, 0.0, 3.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]) * 3:
        observation = Observation(TASKS, np.array(losses), np.diag([1.0, 4.0, 9.0]), step=1)
        assert np.isfinite(list(advance(strategy, observation).values())).all()
