"""Curves in buckets against the same figures computed from all values at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coral_mtl.diagnostics.curves import Curves, merged
from coral_mtl.errors import DataError


def expected(steps, values, length):
    """Bucket numbers, counts, means, lows and highs of the finite values, the plain way."""
    by_bucket = {}
    for step, value in zip(steps, values, strict=True):
        if np.isfinite(value):
            by_bucket.setdefault(step // length, []).append(value)
    rows = [(bucket, len(v), np.mean(v), min(v), max(v)) for bucket, v in sorted(by_bucket.items())]
    return np.array(rows).reshape(-1, 5).T


def assert_equal(curve, steps, values):
    rows = expected(steps, values, curve.length)
    for found, wanted in zip((curve.buckets, curve.counts, curve.means, curve.lows, curve.highs), rows, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e6, 1e6) | st.just(np.nan)), max_size=60),
    st.sampled_from([1, 4, 64]),
)
def test_any_steps_in_any_order_give_the_figures_of_their_buckets(points, length):
    curves = Curves()
    for step, value in points:
        curves.add(step, {"x": value})
    steps, values = [p[0] for p in points], [p[1] for p in points]
    assert_equal(curves.curve("x").coarsened(length), steps, values)


@pytest.mark.parametrize("stride", [1, 7, 50])
def test_long_runs_stay_within_512_buckets_and_keep_every_figure(stride):
    rng = np.random.default_rng(stride)
    steps = np.arange(1, 20_000, stride).tolist()
    values = rng.normal(size=len(steps))
    sparse = np.where(np.arange(len(steps)) % 10 == 0, rng.normal(size=len(steps)), np.nan)
    curves = Curves()
    for step, value, other in zip(steps, values, sparse, strict=True):
        curves.add(step, {"x": value} if np.isnan(other) else {"x": value, ("y", "z"): other})
    assert curves.names() == [("y", "z"), "x"] or curves.names() == ["x", ("y", "z")]
    for name, wanted in (("x", values), (("y", "z"), sparse)):
        curve = curves.curve(name)
        assert len(curve.buckets) <= 512
        assert_equal(curve, steps, wanted)
    assert curves.curve("x").counts.sum() == len(steps)


def test_curves_of_several_runs_meet_in_the_longest_buckets():
    rng = np.random.default_rng(0)
    runs, steps, values = [], [], []
    for count in (100, 3000, 700):
        curves = Curves()
        for step in range(count):
            value = rng.normal()
            curves.add(step, {"x": value})
            steps.append(step)
            values.append(value)
        runs.append(curves.curve("x"))
    together = merged(runs)
    assert together.length == 8
    assert_equal(together, steps, values)


def test_what_is_not_there_is_an_empty_curve():
    curves = Curves()
    curves.add(3, {"x": np.inf})
    for curve in (curves.curve("x"), curves.curve("y"), merged([])):
        assert len(curve.buckets) == 0
        assert np.isnan(curve.mean)


def test_ever_new_names_are_refused():
    curves = Curves()
    for step in range(1000):
        curves.add(step, {f"name {step}": 1.0})
    with pytest.raises(DataError, match="different names"):
        curves.add(1000, {"one more": 1.0})
