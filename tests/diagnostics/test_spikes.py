"""Spikes: episodes are counted once each, and neither trends nor noise nor restarts are any."""

import math

import numpy as np
import pytest

from coral_mtl.diagnostics.spikes import Spikes


def spikes_in(values, rates=None):
    found = Spikes(ratio=3.0, noise=6.0)
    for step, value in enumerate(values, 1):
        found.add(step, {"a": float(value)}, None if rates is None else float(rates[step - 1]))
    return found


def bumps(length, starts, width=12):
    values = np.zeros(length)
    for start in starts:
        values[start : start + width] += math.log(10.0)
    return values


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("slope", [0.0, -0.02])
def test_each_episode_counts_once(noise, slope):
    rng = np.random.default_rng(0)
    for starts in ([], [50], [50, 120, 190]):
        values = bumps(250, starts) + noise * rng.normal(size=250) + slope * np.arange(250)
        found = spikes_in(values)
        assert found.counts.get("a", 0) == len(starts)
        if starts:
            assert 2.3 - 20 * abs(slope) - 0.1 <= found.heights["a"] <= 2.6  # a trend leads the level by 20 steps
            assert found.steps["a"] == (starts[0] + 3, starts[-1] + 3)  # the third value moves the median of five


def test_outliers_of_one_or_two_steps_and_a_new_level_are_no_series_of_spikes():
    values = np.where(np.arange(400) % 40 < 2, 5.0, 0.0)
    assert spikes_in(values).counts == {}
    assert spikes_in(bumps(400, [100], width=300)).counts == {"a": 1}


@pytest.mark.parametrize("kind", ["normal", "outliers", "random walk"])
def test_noise_is_no_spike(kind):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        values = {
            "normal": rng.normal(size=500),
            "outliers": 0.3 * rng.normal(size=500) + 5.0 * (rng.random(500) < 0.01),
            "random walk": np.cumsum(0.05 * rng.normal(size=500)),
        }[kind]
        assert spikes_in(values).counts.get("a", 0) <= (kind == "random walk"), seed


def test_a_rising_learning_rate_makes_it_learn_the_level_anew():
    values = bumps(300, [0, 100, 200], width=15)
    rates = np.concatenate([np.linspace(1.0, 0.1, 100)] * 3)
    assert spikes_in(values, rates).counts == {}
    assert spikes_in(values, np.linspace(1.0, 0.0, 300)).counts == {"a": 2}
