"""Tally and Trend against the same figures computed from all values at once."""

import numpy as np
import pytest

from coral_mtl.diagnostics import tally
from coral_mtl.diagnostics.tally import Averages, Counts, Tally, Trend
from coral_mtl.errors import DataError


@pytest.mark.parametrize("records", [1, 31, 32, 33, 1000])
def test_figures_are_those_of_all_values_at_once(records):
    rng = np.random.default_rng(records)
    values = rng.normal(size=(records, 3))
    values[rng.random(values.shape) < 0.1] = np.nan
    values[rng.random(values.shape) < 0.1] = -np.inf
    present = rng.random((records, 3)) < 0.8
    running = Tally([0.0, -1.0])
    for step in range(records):
        running.add(10 + step, {f"t{i}": values[step, i] for i in range(3) if present[step, i]})
    found = running.figures()
    for i in range(3):
        if not present[:, i].any():
            assert f"t{i}" not in found
            continue
        seen = np.flatnonzero(present[:, i])
        finite = seen[np.isfinite(values[seen, i])]
        figures = found[f"t{i}"]
        assert (figures.count, figures.nonfinite) == (len(finite), len(seen) - len(finite))
        odd = seen[~np.isfinite(values[seen, i])]
        assert figures.nonfinite_steps == ((10 + odd[0], 10 + odd[-1]) if len(odd) else None)
        if len(finite):
            assert figures.mean == pytest.approx(values[finite, i].mean(), rel=1e-12)
            assert (figures.low, figures.high) == (values[finite, i].min(), values[finite, i].max())
        for level, bound in enumerate((0.0, -1.0)):
            hit = finite[values[finite, i] < bound]
            assert figures.hits[level] == len(hit)
            assert figures.first[level] == (10 + hit[0] if len(hit) else None)
            assert figures.last[level] == (10 + hit[-1] if len(hit) else None)


def test_figures_can_be_asked_for_at_any_time():
    running = Tally([1.0], beyond=np.greater_equal)
    running.add(1, {"a": 1.0})
    assert running.figures()["a"].share() == 1.0
    running.add(2, {"a": 0.0, "b": 5.0})
    assert running.figures()["a"].share() == 0.5
    assert running.figures()["b"].count == 1


def test_a_series_without_any_finite_value_has_no_share():
    running = Tally([0.0])
    running.add(1, {"a": float("nan")})
    assert running.figures()["a"].share() == 0.0
    assert np.isnan(running.figures()["a"].mean)


def test_ever_new_names_are_refused(monkeypatch):
    monkeypatch.setattr(tally, "_MAX_NAMES", 10)
    running = Tally()
    running.add(1, dict.fromkeys(range(11), 1.0))
    with pytest.raises(DataError, match="more than 10 different names"):
        running.figures()


@pytest.mark.parametrize("count", [1, 2, 16, 17, 33, 100, 1000])
def test_a_trend_is_the_means_of_equal_blocks(count):
    values = np.random.default_rng(count).normal(size=count)
    trend = Trend()
    for value in values:
        trend.add(value)
    length = next(2**k for k in range(20) if count <= 16 * 2**k)
    blocks = [values[start : start + length] for start in range(0, count, length)]
    blocks = [block for block in blocks if 2 * len(block) >= length]
    np.testing.assert_allclose(trend.means(), [block.mean() for block in blocks], rtol=1e-10, atol=1e-12)
    assert len(blocks) <= 16
    if length > 1:
        errors = [block.var() / (len(block) - 1 or 1) for block in blocks]
        assert trend.standard_error() == pytest.approx(np.sqrt(np.mean(errors)), rel=1e-6)
        np.testing.assert_allclose(trend.errors(), np.sqrt(errors), rtol=1e-6)


def test_a_trend_survives_figures_whose_squares_overflow():
    trend = Trend()
    for value in (1e308, -1e308, 1.0):
        trend.add(value)
    assert np.isfinite(trend.standard_error())


def test_the_deviation_of_a_trend_is_that_of_its_noise_whatever_its_slope():
    rng = np.random.default_rng(0)
    trend = Trend()
    for step in range(4096):
        trend.add(0.3 * rng.normal() + 1e-4 * step)
    assert trend.deviation() == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("window", [1, 10])
def test_averages_are_weighted_by_age_and_start_from_the_first_value(window):
    values = np.random.default_rng(window).normal(size=50)
    weights = (1.0 - 1.0 / window) ** np.arange(50)
    averages = Averages(window)
    for k, value in enumerate(values):
        found = averages.add({"a": value, "b": 2.0 * value})
        wanted = np.average(values[: k + 1], weights=weights[: k + 1][::-1])
        assert found == {"a": pytest.approx(wanted), "b": pytest.approx(2.0 * wanted)}


def test_averages_forget_what_is_not_finite():
    averages = Averages(4)
    averages.add({"a": 1.0})
    assert not np.isfinite(averages.add({"a": float("nan")})["a"])
    assert averages.add({"a": 1.0}) == {"a": pytest.approx(1.0)}


def test_counts_know_their_steps(monkeypatch):
    counts = Counts()
    for step, text in ((5, "a"), (3, "b"), (9, "a")):
        counts.add(text, step)
    assert dict(counts) == {"a": 2, "b": 1}
    assert (counts.total(), counts.steps("a"), counts.steps("b"), counts.steps()) == (3, (5, 9), (3, 3), (3, 9))
    monkeypatch.setattr(tally, "_MOST_TEXTS", 2)
    counts.add("c", 11)
    counts.add("d", 10)
    assert counts["others"] == 2
    assert counts.steps("others") == (10, 11)
