"""What holds for every closed-form, stateful and raw strategy: state, names, one task, idle tasks, scales, promises."""

import numpy as np
import pytest
import torch
from gradient_families import SOLVABLE, STATIONARY, draws, extended
from stateful_values import flat, observe, observe_rows, through_a_file

from coral_mtl.engine.gradient_strategies.aligned_mtl import AlignedMTL
from coral_mtl.engine.gradient_strategies.config_direction import ConFIG
from coral_mtl.engine.gradient_strategies.db_mtl import DBMTL
from coral_mtl.engine.gradient_strategies.excess_mtl import ExcessMTL
from coral_mtl.engine.gradient_strategies.grad_drop import GradDrop
from coral_mtl.engine.gradient_strategies.grad_vac import GradVac
from coral_mtl.engine.gradient_strategies.imtl_g import IMTLG
from coral_mtl.engine.gradient_strategies.moco import MoCo
from coral_mtl.engine.gradient_strategies.modo import MoDo
from coral_mtl.engine.gradient_strategies.ntkmtl import NTKMTL
from coral_mtl.engine.gradient_strategies.pcd import PCD
from coral_mtl.engine.gradient_strategies.sdmgrad import SDMGrad
from coral_mtl.engine.observation import Needs

TASKS = ("left", "right", "ink", "depth")
PREFERENCE = {"left": 1.0, "right": 2.0, "ink": 0.5, "depth": 1.0}

BUILDERS = {
    "IMTL-G": IMTLG,
    "IMTL-G-2": lambda: IMTLG(update_frequency=2),
    "ConFIG": ConFIG,
    "ConFIG-preference": lambda: ConFIG(preference=PREFERENCE),
    "Aligned-MTL": AlignedMTL,
    "Aligned-MTL-median": lambda: AlignedMTL(scale_mode="median", preference=PREFERENCE),
    "Aligned-MTL-rmse": lambda: AlignedMTL(scale_mode="rmse", reduction="sum"),
    "Aligned-MTL-smooth": lambda: AlignedMTL(smoothing=1e-3),
    "NTKMTL": NTKMTL,
    "PCD": PCD,
    "PCD-ink": lambda: PCD(primary="ink", tau=0.5, beta=0.9),
    "GradVac": lambda: GradVac(beta=0.3, seed=1),
    "GradVac-3": lambda: GradVac(beta=0.3, update_frequency=3),
    "GradVac-layer": lambda: GradVac(beta=0.3, groups="layer"),
    "GradDrop": lambda: GradDrop(seed=2, leak={"ink": 0.5}),
    "MoCo": MoCo,
    "MoDo": lambda: MoDo(gamma=0.01),
    "MoDo-2": lambda: MoDo(gamma=0.01, update_frequency=2),
    "SDMGrad": lambda: SDMGrad(lr=0.5, preference=PREFERENCE),
    "ExcessMTL": lambda: ExcessMTL(lr=0.5),
    "ExcessMTL-2": lambda: ExcessMTL(lr=0.5, update_frequency=2),
    "DB-MTL": DBMTL,
    "DB-MTL-decay": lambda: DBMTL(beta=0.5, decay=0.5),
    "DB-MTL-gram": lambda: DBMTL(beta=0.0, update_frequency=2),
}


def those(choose=lambda strategy: True):
    """Mark a test to run for the strategies that `choose` takes."""
    chosen = {name: build for name, build in BUILDERS.items() if choose(build())}
    return pytest.mark.parametrize("build", chosen.values(), ids=chosen.keys())


def names_tasks(strategy):
    return getattr(strategy, "preference", None) or getattr(strategy, "primary", None)


every = those()
every_blind_to_order = those(lambda strategy: strategy.promises.permutation)


def bound(build):
    strategy = build()
    strategy.bind(TASKS)
    return strategy


def scenario(strategy, steps=14, *, idle=(), seed=0):
    """Steps of a run in which tasks come and go, with as many batches as the strategy asks for."""
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(4, 10)) * [[1.0], [30.0], [0.01], [1.0]]
    presence = [TASKS, ("ink", "left"), TASKS, ("right", "ink", "depth"), ("right",), tuple(reversed(TASKS)), TASKS]
    for step in range(steps):
        tasks = presence[step % len(presence)]
        chosen = [TASKS.index(task) for task in tasks]
        noisy = [base[chosen] * generator.normal(1.0, 0.7, (len(chosen), 10)) for _ in range(strategy.batches)]
        for batch in noisy:
            batch[[task in idle for task in tasks]] = 0.0
        yield observe_rows(*noisy, losses=generator.uniform(0.5, 2.0, len(chosen)), tasks=tasks)


def run(strategy, observations):
    """Coefficients and direction of every step, as lists."""
    outcomes = []
    for observation in observations:
        decision = strategy.decide(observation)
        direction = [] if decision.direction is None else flat(decision.direction).tolist()
        outcomes.append((decision.coefficients.tolist(), direction))
    return outcomes


def shared_direction(decision, observation):
    if decision.direction is not None:
        return flat(decision.direction)
    rows = np.array([flat(observation.rows.gradients(i)) for i in range(len(observation.tasks))])
    return decision.coefficients @ rows


@every
@pytest.mark.parametrize("cut", [1, 5, 8, 13])
def test_resuming_from_a_file_goes_on_bit_for_bit(build, cut):
    observations = list(scenario(build()))
    whole = run(bound(build), observations)
    first = bound(build)
    run(first, observations[:cut])
    resumed = bound(build)
    resumed.load_state_dict(through_a_file(first.state_dict()))
    assert run(resumed, observations[cut:]) == whole[cut:]


@every
def test_reset_forgets_everything(build):
    strategy = bound(build)
    observations = list(scenario(strategy))
    fresh = run(strategy, observations)
    strategy.reset()
    assert run(strategy, observations) == fresh


@every
def test_a_state_dict_is_a_copy(build):
    strategy = bound(build)
    observations = list(scenario(strategy))
    run(strategy, observations[:6])
    state = strategy.state_dict()
    wanted = run(strategy, observations[6:])
    strategy.load_state_dict(state)
    assert run(strategy, observations[6:]) == wanted


@every_blind_to_order
def test_results_go_by_name_not_by_position(build):
    strategy, twin = bound(build), bound(build)
    for observation in scenario(strategy):
        order = np.roll(np.arange(len(observation.tasks)), 1)
        reordered = observation.subset(order)
        one, other = strategy.decide(observation), twin.decide(reordered)
        scale = np.abs(one.coefficients).max()
        np.testing.assert_allclose(other.coefficients, one.coefficients[order], rtol=1e-9, atol=1e-9 * scale)
        a, b = shared_direction(one, observation), shared_direction(other, reordered)
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-9 * np.abs(a).max())


@every_blind_to_order
def test_a_task_without_a_gradient_changes_nothing_for_the_others(build):
    strategy, twin = bound(build), bound(build)
    for observation in scenario(strategy, idle=("right",)):
        active = np.flatnonzero(observation.norms)
        if active.size:
            decision, alone = strategy.decide(observation), twin.decide(observation.subset(active))
            wanted = np.zeros(len(observation.tasks))
            wanted[active] = alone.coefficients
            np.testing.assert_allclose(decision.coefficients, wanted, rtol=1e-12)


@every
def test_no_task_with_a_gradient_is_no_task(build):
    strategy = bound(build)
    batches = [np.zeros((2, 10))] * strategy.batches
    assert strategy.decide(observe_rows(*batches, tasks=("ink", "left"))).coefficients.tolist() == [0.0, 0.0]


@every
def test_one_task_keeps_its_direction(build):
    strategy = bound(build)
    rows = [np.random.default_rng(1).normal(size=(1, 10))] * strategy.batches
    for _ in range(3):
        observation = observe_rows(*rows, losses=[2.0], tasks=("left",))
        decision = strategy.decide(observation)
        direction = shared_direction(decision, observation)
        if getattr(strategy, "primary", None) == "ink":
            assert not direction.any()
        else:
            cosine = direction @ rows[0][0] / np.linalg.norm(direction) / np.linalg.norm(rows[0])
            assert cosine == pytest.approx(1.0, abs=1e-12)


@every
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_duplicated_tasks_and_extreme_norms_are_finite(build, scale):
    strategy = bound(build)
    generator = np.random.default_rng(2)
    for _ in range(5):
        batches = [generator.normal(size=(4, 10)) * scale for _ in range(strategy.batches)]
        for batch in batches:
            batch[2] = batch[0]
            batch[3] *= 1e-12 / scale
        observation = observe_rows(*batches, tasks=TASKS)
        decision = strategy.decide(observation)
        assert np.isfinite(decision.coefficients).all()
        assert np.isfinite(shared_direction(decision, observation)).all()
        if strategy.promises.simplex:
            assert decision.coefficients.sum() == pytest.approx(1.0, abs=1e-12)
            assert (decision.coefficients >= 0.0).all()


@those(lambda strategy: strategy.promises.scale != "none")
def test_a_common_scale_does_not_matter_where_that_is_promised(build):
    strategy, twin = bound(build), bound(build)
    for plain in scenario(strategy, steps=4):
        scaled = observe_rows(
            *[1e3 * batch_of(plain, b) for b in range(strategy.batches)], losses=plain.losses, tasks=plain.tasks
        )
        one, other = strategy.decide(plain), twin.decide(scaled)
        a, b = shared_direction(one, plain), shared_direction(other, scaled)
        if a.any():
            assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(1.0, abs=1e-9)


def batch_of(observation, batch):
    several = batch if observation.rows._batches[1:] else None
    return np.array([flat(observation.rows.gradients(i, several)) for i in range(len(observation.tasks))])


@those(lambda strategy: strategy.needs is Needs.GRAM and not names_tasks(strategy))
@pytest.mark.parametrize("family", SOLVABLE + STATIONARY, ids=lambda family: family.__name__)
def test_promises_on_matrices_that_are_hard(build, family):
    for tasks in (2, 3, 8, 20):
        for gradients in draws(family, tasks, 2):
            strategy = build()
            with np.errstate(all="raise", under="ignore"):
                decision = strategy.decide(observe(gradients))
            assert np.isfinite(decision.coefficients).all()
            check_promises(strategy.promises, gradients, decision.coefficients)


def check_promises(promises, gradients, coefficients):
    gradients, direction = extended(gradients), extended(coefficients) @ extended(gradients)
    length = np.sqrt(direction @ direction)
    products = gradients @ direction / np.sqrt((gradients * gradients).sum(axis=1))
    mean = gradients.mean(axis=0)
    if promises.non_conflicting:
        assert products.min() >= -1e-9 * length
    if promises.descends_mean:
        assert mean @ direction >= -1e-9 * length * np.sqrt(mean @ mean)
    if promises.nonnegative:
        assert (coefficients >= 0.0).all()


@every
def test_states_are_plain(build):
    strategy = bound(build)
    run(strategy, scenario(strategy))

    def check(value):
        if isinstance(value, dict):
            for key, item in value.items():
                assert isinstance(key, str)
                check(item)
        elif isinstance(value, list):
            for item in value:
                check(item)
        else:
            assert value is None or isinstance(value, (int, float, str, torch.Tensor))

    check(strategy.state_dict())
