"""ValueNormalised: the bias-corrected average against pandas' figures, references, bounds."""

import numpy as np
import pytest

from coral_mtl.engine.loss_weighting.si import SI
from coral_mtl.engine.loss_weighting.value_normalised import ValueNormalised
from coral_mtl.engine.observation import Observation

VALUES = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0]
PANDAS_EWM = [3.0, 1.9473684210526319, 2.7047970479704797, 2.209072404768828, 2.8906009621254665, 4.194470706997411]
"""pandas 3.1.1: Series(VALUES).ewm(alpha=0.1, adjust=True).mean()"""


def weigh(strategy, **losses):
    return strategy.weigh(Observation(tuple(losses), np.array(list(losses.values()), dtype=float)))


def test_weights_are_the_inverse_of_pandas_average():
    strategy = ValueNormalised(beta=0.9)
    weights = [weigh(strategy, a=value, b=1.0) for value in VALUES]
    np.testing.assert_allclose([w[0] for w in weights], 1 / np.array(PANDAS_EWM), rtol=1e-13)
    np.testing.assert_allclose([w[1] for w in weights], 1.0, rtol=1e-13)


def test_an_absent_task_keeps_its_average():
    """pandas 3.1.1, ewm(alpha=0.1, ignore_na=True), on 3, 1, nan, 1, nan, 9."""
    strategy = ValueNormalised(beta=0.9)
    for losses in ({"a": 3.0}, {"a": 1.0}, {"b": 1.0}, {"a": 1.0, "b": 1.0}, {"b": 1.0}):
        weigh(strategy, **losses)
    assert weigh(strategy, a=9.0)[0] == pytest.approx(1 / 3.750218086653097, rel=1e-13)


def test_without_memory_it_is_si():
    losses = {"a": 0.3, "b": 12.0}
    np.testing.assert_allclose(weigh(ValueNormalised(beta=0.0), **losses), weigh(SI(), **losses), rtol=1e-14)


def test_geometric_mean_keeps_the_overall_size():
    weights = weigh(ValueNormalised(reference="geometric_mean"), a=0.1, b=10.0, c=8.0)
    np.testing.assert_allclose(weights * [0.1, 10.0, 8.0], 2.0, rtol=1e-13)


def test_a_vanished_loss_has_the_largest_weight_allowed():
    assert weigh(ValueNormalised(max_weight=70.0), a=0.0, b=0.5).tolist() == [70.0, 2.0]
    weights = weigh(ValueNormalised(reference="geometric_mean", max_weight=70.0), a=0.0, b=0.5, c=2.0)
    np.testing.assert_allclose(weights, [70.0, 2.0, 0.5], rtol=1e-13)
