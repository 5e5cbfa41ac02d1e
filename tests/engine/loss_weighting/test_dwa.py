"""DWA: periods, names, the first two periods, tasks that come and go."""

import numpy as np
import pytest

from coral_mtl.engine.loss_weighting.dwa import DWA
from coral_mtl.engine.observation import Observation


def observe(**losses):
    return Observation(tuple(losses), np.array(list(losses.values()), dtype=float))


def softmax(values):
    return np.exp(values) / np.exp(values).sum()


def test_epoch_means_not_last_values_make_the_rates():
    strategy = DWA(temperature=0.5)
    for losses in ({"a": 4.0, "b": 1.0}, {"a": 2.0, "b": 3.0}):
        assert strategy.weigh(observe(**losses)).tolist() == [1.0, 1.0]
    strategy.end_epoch()
    for losses in ({"a": 1.0, "b": 1.0}, {"a": 2.0, "b": 1.0}):
        assert strategy.weigh(observe(**losses)).tolist() == [1.0, 1.0]
    strategy.end_epoch()
    rates = np.array([1.5 / 3.0, 1.0 / 2.0])
    np.testing.assert_allclose(strategy.weigh(observe(a=9, b=9)), 2 * softmax(rates / 0.5), rtol=1e-14)


def test_windows_of_steps_take_the_place_of_epochs():
    windows, epochs = DWA(window=3), DWA()
    losses = np.random.default_rng(0).uniform(0.1, 2.0, (12, 2))
    for step, (a, b) in enumerate(losses):
        if step and step % 3 == 0:
            epochs.end_epoch()
        windows.end_epoch()
        assert windows.weigh(observe(a=a, b=b)).tolist() == epochs.weigh(observe(a=a, b=b)).tolist()
    assert not np.array_equal(epochs.weigh(observe(a=1, b=1)), [1.0, 1.0])


def test_a_task_in_few_batches_is_averaged_over_those():
    strategy = DWA()
    for epoch in ([{"a": 1.0, "b": 4.0}, {"a": 3.0}, {"a": 2.0}], [{"a": 1.0}, {"a": 1.0, "b": 1.0}]):
        for losses in epoch:
            strategy.weigh(observe(**losses))
        strategy.end_epoch()
    wanted = 2 * softmax(np.array([1.0 / 2.0, 1.0 / 4.0]) / 2.0)
    np.testing.assert_allclose(strategy.weigh(observe(b=1, a=1)), wanted[::-1], rtol=1e-14)
    np.testing.assert_allclose(strategy.weigh(observe(b=1)), wanted[1:], rtol=1e-14)


def test_a_new_task_has_weight_one_until_it_has_a_rate():
    strategy = DWA()
    for epoch in range(3):
        strategy.weigh(observe(a=2.0**-epoch, b=1.0, **({"late": 1.0} if epoch == 2 else {})))
        strategy.end_epoch()
    weights = strategy.weigh(observe(late=1, a=1, b=1))
    assert weights[0] == 1.0
    assert weights[1:].sum() == pytest.approx(2.0)
    assert weights[1] < weights[2], "the loss that falls faster gets less"


def test_a_task_absent_for_a_whole_epoch_keeps_its_rate():
    strategy = DWA()
    for losses in ({"a": 2.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, {"b": 1.0}):
        strategy.weigh(observe(**losses))
        strategy.end_epoch()
    np.testing.assert_allclose(strategy.weigh(observe(a=1, b=1)), 2 * softmax(np.array([0.25, 0.5])), rtol=1e-14)
