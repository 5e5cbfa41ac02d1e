import math

import numpy as np
import pytest
import torch

from coral_mtl.data.tasks import TaskSpec
from coral_mtl.metrics import MetricSet

UNLABELLED = 3  # an ignored class is among those that a model can predict
TASKS = {
    "genus": TaskSpec("classification", 4, ignore_index=UNLABELLED),
    "depth": TaskSpec("regression", 1),
    "sky": TaskSpec("regression", 2),
}


def batches(sizes):
    generator = torch.Generator().manual_seed(7)
    for size in sizes:
        labels = torch.randint(4, (size,), generator=generator)
        labels[torch.rand(size, generator=generator) < 0.3] = UNLABELLED
        predictions = {
            "genus": torch.randn(size, 4, generator=generator),
            "depth": 40 + 3 * torch.randn(size, 1, generator=generator),
            "sky": torch.randn(size, 2, generator=generator),
        }
        truth = {"depth": predictions["depth"] + torch.randn(size, 1, generator=generator)}
        yield (
            predictions,
            {"genus": labels, **truth, "sky": torch.tensor([0.0, 9.0]) + torch.randn(size, 2, generator=generator)},
        )


def streamed(sizes):
    metrics = MetricSet(TASKS)
    for predictions, targets in batches(sizes):
        metrics.update(predictions, targets)
    return metrics


def brute_force(sizes):
    """The definitions, on everything at once."""
    rows = list(batches(sizes))
    z, y = (
        {task: np.concatenate([row[part][task].double().numpy() for row in rows]) for task in TASKS} for part in (0, 1)
    )
    labels = y["genus"].astype(int)
    z_genus, labels = z["genus"][labels != UNLABELLED], labels[labels != UNLABELLED]
    own = np.log(np.exp(z_genus).sum(axis=1)) - z_genus[np.arange(len(labels)), labels]
    figures = {"tasks.genus.accuracy": np.mean(z_genus.argmax(axis=1) == labels), "tasks.genus.loss": own.mean()}
    for task in ("depth", "sky"):
        error = z[task] - y[task]
        figures[f"tasks.{task}.mae"] = np.abs(error).mean()
        figures[f"tasks.{task}.rmse"] = np.sqrt((error**2).mean())
        figures[f"tasks.{task}.r2"] = 1 - (error**2).sum() / ((y[task] - y[task].mean(axis=0)) ** 2).sum()
        figures[f"tasks.{task}.loss"] = (error**2).mean()
    figures["global.loss"] = sum(figures[f"tasks.{task}.loss"] for task in TASKS)
    scores = ("tasks.genus.accuracy", "tasks.depth.r2", "tasks.sky.r2")
    figures["global.score"] = np.mean([figures[score] for score in scores])
    return figures


@pytest.mark.parametrize("sizes", [[64], [1, 1, 30, 2, 30], [5] * 12 + [4], [0, 40, 0, 24]])
def test_streaming_equals_the_definitions_on_everything_at_once(sizes):
    assert streamed(sizes).compute() == pytest.approx(brute_force(sizes), rel=1e-6)


def test_agrees_with_scikit_learn():
    reference = pytest.importorskip("sklearn.metrics")
    figures = streamed([50, 13]).compute()
    rows = list(batches([50, 13]))
    z, y = (torch.cat([row[part]["sky"] for row in rows]).numpy() for part in (0, 1))
    assert figures["tasks.sky.r2"] == pytest.approx(reference.r2_score(y, z, multioutput="variance_weighted"), rel=1e-5)
    assert figures["tasks.sky.mae"] == pytest.approx(reference.mean_absolute_error(y, z), rel=1e-5)


def test_names_are_known_before_there_are_data():
    names = MetricSet(TASKS).names
    assert names == MetricSet(TASKS).names
    assert names[:3] == ("tasks.genus.accuracy", "tasks.genus.loss", "tasks.depth.mae")
    assert set(streamed([8]).compute()) == set(names) == set(MetricSet(TASKS).compute())


def test_without_data_every_figure_is_nan():
    assert all(math.isnan(figure) for figure in MetricSet(TASKS).compute().values())


def test_reset_forgets():
    metrics = streamed([20])
    metrics.reset()
    predictions, targets = next(batches([9]))
    metrics.update(predictions, targets)
    assert metrics.compute() == streamed([9]).compute()


def test_global_figures_leave_out_tasks_that_were_never_labelled():
    metrics = MetricSet(TASKS)
    for predictions, targets in batches([10, 10]):
        targets["genus"][:] = UNLABELLED
        metrics.update(predictions, {"genus": targets["genus"], "depth": targets["depth"]})
    figures = metrics.compute()
    assert math.isnan(figures["tasks.genus.accuracy"])
    assert math.isnan(figures["tasks.sky.r2"])
    assert figures["global.score"] == figures["tasks.depth.r2"]
    assert figures["global.loss"] == figures["tasks.depth.loss"]


def test_a_diverged_task_is_not_left_out():
    metrics = MetricSet(TASKS)
    predictions, targets = next(batches([10]))
    predictions["depth"][3] = math.nan
    metrics.update(predictions, targets)
    figures = metrics.compute()
    assert math.isnan(figures["global.score"])
    assert math.isnan(figures["global.loss"])
    assert not math.isnan(figures["tasks.sky.r2"])


@pytest.mark.parametrize("size", [1, 10])
def test_a_model_that_predicts_no_number_has_no_accuracy(size):
    metrics = MetricSet({"genus": TASKS["genus"]})
    logits, labels = torch.zeros(size, 4), torch.zeros(size, dtype=torch.long)
    logits[0] = math.nan
    metrics.update({"genus": logits}, {"genus": labels})
    assert all(math.isnan(figure) for figure in metrics.compute().values())


def test_what_is_predicted_where_there_is_no_label_is_of_no_interest():
    metrics = MetricSet({"genus": TASKS["genus"]})
    logits = torch.tensor([[math.nan] * 4, [0.0, 0.0, 9.0, 0.0]])
    metrics.update({"genus": logits}, {"genus": torch.tensor([UNLABELLED, 2])})
    assert metrics.compute()["tasks.genus.accuracy"] == 1.0


def test_r2_keeps_its_digits_beside_a_large_mean():
    generator = torch.Generator().manual_seed(3)
    target = 1e9 + torch.randn(1000, 1, generator=generator, dtype=torch.float64)
    metrics = MetricSet({"depth": TaskSpec("regression", 1)})
    for rows in target.split(37):
        metrics.update({"depth": rows + 0.5}, {"depth": rows})
    expected = 1 - 0.25 * 1000 / ((target - target.mean()) ** 2).sum().item()
    assert metrics.compute()["tasks.depth.r2"] == pytest.approx(expected, rel=1e-6)


def test_constant_targets_have_no_explained_variance():
    metrics = MetricSet({"depth": TaskSpec("regression", 1)})
    metrics.update({"depth": torch.ones(5, 1)}, {"depth": torch.zeros(5, 1)})
    figures = metrics.compute()
    assert math.isnan(figures["tasks.depth.r2"])
    assert figures["tasks.depth.rmse"] == 1.0


def test_maps_count_each_pixel():
    generator = torch.Generator().manual_seed(5)
    target, prediction = torch.randn(2, 3, 2, 4, 5, generator=generator).double()
    metrics = MetricSet({"normal": TaskSpec("regression", 2)})
    metrics.update({"normal": prediction}, {"normal": target})
    spread = ((target - target.mean(dim=(0, 2, 3), keepdim=True)) ** 2).sum()
    figures = metrics.compute()
    assert figures["tasks.normal.r2"] == pytest.approx(1 - (((prediction - target) ** 2).sum() / spread).item())
    assert figures["tasks.normal.mae"] == pytest.approx((prediction - target).abs().mean().item())
