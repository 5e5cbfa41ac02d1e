"""GradVac: the rule on coordinates, peers with recorded orders, targets, layers."""

import numpy as np
import pytest
from stateful_values import flat, names, observe, observe_rows, peer_sequences

from coral_mtl.engine.gradient_strategies.grad_vac import GradVac, vaccinate
from coral_mtl.engine.observation import Needs
from coral_mtl.engine.pcgrad import project_conflicts
from coral_mtl.engine.solvers.cosine import cosine_matrix
from coral_mtl.errors import StrategyError


def on_coordinates(G, targets, orders, beta, epsilon=0.0):
    """The paper's algorithm 1 on the gradients themselves; peers add epsilon to norms and denominators."""
    projected, targets = G.copy(), targets.copy()
    for i, order in enumerate(orders):
        for j in order:
            length, other = np.linalg.norm(projected[i]), np.linalg.norm(G[j])
            phi, goal = projected[i] @ G[j] / (length * other + epsilon), targets[i, j]
            if phi < goal:
                gain = length * (goal * np.sqrt(1 - phi**2) - phi * np.sqrt(1 - goal**2))
                projected[i] += gain / (other * np.sqrt(1 - goal**2) + epsilon) * G[j]
            targets[i, j] = (1 - beta) * goal + beta * phi
    return projected, targets


def with_orders(strategy, orders):
    """Have the strategy visit in the order that a peer took."""
    strategy._generator.visiting_orders = lambda count: np.array(orders)
    return strategy


def targets_of(strategy, group="model"):
    return strategy.state_dict()["targets"][group].numpy()


def all_orders(count, generator):
    return np.array([generator.permutation([j for j in range(count) if j != i]) for i in range(count)])


@pytest.mark.parametrize("sequence", peer_sequences("GradVac", ""), ids=lambda sequence: sequence.name)
def test_recorded_orders_give_the_recorded_directions(sequence):
    """To 1e-8, which the peers add to their denominators; with it, the rule on coordinates has their very figures."""
    beta = sequence.params["beta"]
    strategy = GradVac(beta=beta, reduction="sum")
    targets = np.zeros((len(sequence.gradients[0]),) * 2)
    for G, orders, step in zip(sequence.gradients, sequence.params["orders"], sequence.steps, strict=True):
        projected, targets = on_coordinates(G, targets, orders, beta, epsilon=1e-8)
        found = with_orders(strategy, orders).decide(observe(G)).coefficients @ G
        wanted = np.array(step["weights"]) @ G if "weights" in step else np.array(step["direction"])
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(projected.sum(axis=0), wanted, atol=1e-8 * scale)
        np.testing.assert_allclose(found, wanted, atol=1e-8 * scale)
        if "rho_T" in step:
            np.testing.assert_allclose(targets, np.array(step["rho_T"])[:, :, 0], atol=1e-9)
            np.testing.assert_allclose(targets_of(strategy), targets, atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("beta", [0.01, 0.5])
def test_agrees_with_the_rule_on_coordinates(count, beta):
    generator = np.random.default_rng(count)
    strategy = GradVac(beta=beta, reduction="sum")
    targets = np.zeros((count, count))
    base = generator.normal(size=(count, 40))
    for step in range(8):
        G = base + 0.7 * generator.normal(size=(count, 40)) - (0.9 * base.mean(axis=0) if step % 2 else 0.0)
        G *= np.exp(generator.uniform(-5, 5, (count, 1)))
        orders = all_orders(count, generator)
        projected, targets = on_coordinates(G, targets, orders, beta)
        decision = with_orders(strategy, orders).decide(observe(G))
        wanted = projected.sum(axis=0)
        np.testing.assert_allclose(
            decision.coefficients @ G, wanted, atol=1e-11 * np.linalg.norm(projected, axis=1).sum()
        )
        np.testing.assert_allclose(targets_of(strategy), targets, atol=1e-12)
        assert decision.records["gradvac_target"] == pytest.approx(targets.sum() / max(count * (count - 1), 1))


def test_the_first_step_is_pcgrad():
    G = np.random.default_rng(0).normal(size=(6, 4))
    orders = all_orders(6, np.random.default_rng(1))
    decision = with_orders(GradVac(), orders).decide(observe(G))
    np.testing.assert_allclose(decision.coefficients, project_conflicts(G @ G.T, orders).mean(axis=0), rtol=1e-12)


def test_a_correction_brings_the_cosine_up_to_the_target():
    cosines = np.array([[1.0, 0.2], [0.2, 1.0]])
    targets = np.array([[0.0, 0.7], [0.1, 0.0]])
    mixture, learned = vaccinate(cosines, np.ones(2, bool), targets, np.array([[1], [0]]), 0.25)
    p = mixture[0]
    assert cosines[1] @ p / np.sqrt(p @ cosines @ p) == pytest.approx(0.7)
    np.testing.assert_array_equal(mixture[1], [0.0, 1.0])
    assert learned[0, 1] == pytest.approx(0.75 * 0.7 + 0.25 * 0.2), "moved by the cosine before the correction"
    assert learned[1, 0] == pytest.approx(0.75 * 0.1 + 0.25 * 0.2), "moved although nothing was corrected"


def test_targets_near_one_do_not_blow_up():
    strategy = GradVac(beta=1.0)
    same = np.random.default_rng(2).normal(size=(1, 30)).repeat(8, axis=0)
    strategy.decide(observe(same))
    G = np.random.default_rng(3).normal(size=(8, 30))
    with np.errstate(all="raise"):
        coefficients = strategy.decide(observe(G)).coefficients
    assert np.isfinite(coefficients).all()
    assert (coefficients > 0).all()


def test_a_gradient_that_is_projected_away_stays_away():
    G = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 1.0]])
    with np.errstate(all="raise"):
        decision = with_orders(GradVac(reduction="sum"), [[1, 2], [0, 2], [0, 1]]).decide(observe(G))
    np.testing.assert_allclose(decision.coefficients @ G, [0.0, 1.0], atol=1e-12)


def test_targets_go_by_name():
    generator = np.random.default_rng(4)
    strategy, twin = GradVac(beta=0.5), GradVac(beta=0.5)
    for tasks in (("a", "b"), ("b", "c", "a"), ("c", "a")):
        gradients = dict(zip(tasks, generator.normal(size=(len(tasks), 5)), strict=True))
        strategy.decide(observe(np.array(list(gradients.values())), tasks=tasks))
        sorted_tasks = tuple(sorted(tasks))
        twin.decide(observe(np.array([gradients[t] for t in sorted_tasks]), tasks=sorted_tasks))
    state, other = strategy.state_dict(), twin.state_dict()
    assert state["tasks"] == ["a", "b", "c"] == other["tasks"]
    wanted = state["targets"]["model"][0, 1]
    assert wanted == other["targets"]["model"][0, 1] != 0, "two tasks have one order, whatever was drawn"


def test_layers_are_treated_by_themselves():
    generator = np.random.default_rng(5)
    strategy = GradVac(groups="layer", beta=0.5, reduction="sum")
    targets = {"first": np.zeros((3, 3)), "second": np.zeros((3, 3))}
    columns = {"first": slice(0, 7), "second": slice(7, 10)}
    for _ in range(4):
        G = generator.normal(size=(3, 10)) - 0.3
        orders = all_orders(3, generator)
        decision = with_orders(strategy, orders).decide(observe_rows(G))
        found = flat(decision.direction)
        for layer, part in columns.items():
            projected, targets[layer] = on_coordinates(G[:, part], targets[layer], orders, 0.5)
            np.testing.assert_allclose(found[part], projected.sum(axis=0), rtol=1e-11, atol=1e-12)
            np.testing.assert_allclose(targets_of(strategy, layer), targets[layer], atol=1e-12)


def test_a_layer_that_a_task_does_not_reach_has_no_cosine_with_it():
    G = np.random.default_rng(6).normal(size=(3, 10))
    G[2, 7:] = 0.0
    strategy = GradVac(groups="layer", beta=0.5, reduction="sum")
    orders = [[1, 2], [2, 0], [0, 1]]
    found = flat(with_orders(strategy, orders).decide(observe_rows(G)).direction)
    pair, _ = on_coordinates(G[:2, 7:], np.zeros((2, 2)), [[1], [0]], 0.5)
    np.testing.assert_allclose(found[7:], pair.sum(axis=0), rtol=1e-12)
    assert not targets_of(strategy, "second")[2].any()
    assert not targets_of(strategy, "second")[:, 2].any()


def test_zero_rows_are_passed_over():
    cosines, norms = cosine_matrix(np.diag([1.0, 0.0]))
    mixture, learned = vaccinate(cosines, norms > 0, np.full((2, 2), 0.5), np.array([[1], [0]]), 0.5)
    np.testing.assert_array_equal(mixture, np.eye(2))
    np.testing.assert_array_equal(learned, np.full((2, 2), 0.5))


def test_what_the_groups_need():
    assert GradVac().needs is Needs.GRAM
    assert GradVac(groups="layer").needs is Needs.ROWS
    with pytest.raises(StrategyError, match="update_frequency has no effect"):
        GradVac(groups="layer", update_frequency=2)


def test_draws_from_a_generator_of_its_own():
    G = np.random.default_rng(7).normal(size=(6, 3))

    def first(seed):
        return GradVac(seed=seed).decide(observe(G, tasks=names(6))).coefficients.tolist()

    assert first(1) == first(1) != first(2)
