import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from coral_mtl.data.known_optimum import KnownOptimum
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.errors import ConfigError, DataError
from coral_mtl.metrics.optimality_gap import OptimalityGap


@pytest.fixture
def measured():
    """Returns the figures of weights made from those of the optimum."""
    data = KnownOptimum(seed=1)
    targets = {name: value[None] for name, value in data.validation[0][1].items()}
    metrics = OptimalityGap(data.tasks)

    def figures(change):
        metrics.reset()
        metrics.update({"votes": change(targets["optimum"])}, targets)
        return [metrics.compute()[f"tasks.votes.{name}"] for name in ("gap", "violation", "zeros")]

    return figures


def test_the_optimum_itself_and_one_that_is_cut_off_to_it(measured):
    assert measured(lambda w: w) == [0.0, 0.0, 63.0]
    gap, violation, zeros = measured(lambda w: torch.where(w == 0.0, -0.25, w))
    assert (gap, violation, zeros) == (0.0, 0.25, 0.0)


def test_other_weights_have_a_gap(measured):
    data = KnownOptimum(seed=1)
    X, votes = data.train[0][0].double(), data.train[0][1]["votes"]
    optimum = data.validation[0][1]["optimum"]
    losses = [binary_cross_entropy_with_logits(X @ w, votes).item() for w in (optimum + 0.01, optimum)]
    gap, violation, zeros = measured(lambda w: w + 0.01)
    assert gap == pytest.approx(losses[0] - losses[1])
    assert gap > 1e-4
    assert (violation, zeros) == (0.0, 0.0)


def test_a_weight_that_is_zero_where_the_optimum_is_not_does_not_count(measured):
    assert measured(torch.zeros_like)[2] == 63.0


def test_figures_of_nothing_and_of_other_data():
    metrics = OptimalityGap({"a": TaskSpec("regression", 2)})
    assert metrics.names == ("tasks.a.gap", "tasks.a.violation", "tasks.a.zeros")
    assert all(math.isnan(figure) for figure in metrics.compute().values())
    with pytest.raises(DataError, match="on the data set KnownOptimum alone"):
        metrics.update({"a": torch.zeros(1, 2)}, {"a": torch.zeros(1, 2)})
    with pytest.raises(ConfigError, match="not for a, b"):
        OptimalityGap(dict.fromkeys("ab", TaskSpec("regression", 2)))
