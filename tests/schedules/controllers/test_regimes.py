"""Regimes with hysteresis and dwell, and the average they follow, by hand."""

import math

import numpy as np
import pytest

from coral_mtl.schedules.controllers import Average, Regimes


def walked(regimes, figures):
    return [regimes.update(figure) for figure in figures]


def test_without_hysteresis_the_thresholds_decide():
    regimes = Regimes([0.7, 0.85], hysteresis=0.0, dwell=0)
    assert walked(regimes, [-1.0, 0.5, 0.69, 0.7, 0.84, 0.85, 0.95, 0.84, 0.2]) == [0, 0, 0, 1, 1, 2, 2, 1, 0]


def test_a_threshold_is_to_be_passed_by_the_hysteresis_either_way():
    regimes = Regimes([1.0], hysteresis=0.2, dwell=0)
    figures = [0.9, 1.1, 1.19, 1.2, 1.0, 0.81, 0.8, 0.79, 1.1, 1.3]
    assert walked(regimes, figures) == [0, 0, 0, 1, 1, 1, 1, 0, 0, 1]


def test_the_first_figure_is_judged_by_the_bare_thresholds():
    assert Regimes([1.0, 2.0], hysteresis=0.5, dwell=100).update(1.1) == 1


def test_it_stays_for_the_dwell():
    regimes = Regimes([0.0], hysteresis=0.0, dwell=3)
    assert walked(regimes, [-1, 1, 1, 1, 1, -1, -1, -1, -1]) == [0, 0, 0, 1, 1, 1, 1, 0, 0]


def test_infinite_figures_are_beyond_all_thresholds_and_a_nan_is_no_figure():
    regimes = Regimes([0.5, 2.0], hysteresis=0.1, dwell=0)
    assert walked(regimes, [1.0, math.inf, math.nan, -math.inf]) == [1, 2, 2, 0]


def test_the_average_is_that_of_exponential_weights():
    values, beta = np.random.default_rng(0).normal(size=40), 0.9
    average = Average(beta)
    assert average.value is None
    for count, value in enumerate(values, 1):
        average.update(value)
        average.update(math.nan)
        weights = beta ** np.arange(count - 1, -1, -1)
        assert average.value == pytest.approx(float(weights @ values[:count] / weights.sum()), rel=1e-12)
