import pytest
from simulated_runs import healthy, write

from coral_mtl.diagnostics.diagnosis import diagnose
from coral_mtl.diagnostics.timeline import Timeline


def timeline_of(path):
    timeline = Timeline()
    diagnose(path, also=timeline.add)
    return timeline


def test_every_figure_of_a_record_has_its_curve(tmp_path):
    records = list(healthy(0, tasks=("a", "b", "c"), records=100))
    curves = timeline_of(write(tmp_path / "x.jsonl", records)).curves
    assert curves.curve(("loss", "b")).means.tolist() == [r["unweighted_losses"]["b"] for r in records]
    assert curves.curve(("weight", "b")).means.tolist() == [r["task_weights"]["b"] for r in records]
    assert curves.curve(("norm", "c")).means.tolist() == [r["gradient_norm"]["c"] for r in records]
    cosines = [r["gradient_cosine_similarity"]["a_vs_b"] for r in records]
    assert curves.curve(("cosine", ("a", "b"))).means.tolist() == cosines
    norms = [r["gradient_norm"].values() for r in records]
    assert curves.curve("imbalance").means.tolist() == pytest.approx([max(n) / min(n) for n in norms])
    below = [sum(c < 0 for c in r["gradient_cosine_similarity"].values()) / 3 for r in records]
    assert curves.curve("conflict").means.tolist() == pytest.approx(below)
    assert curves.curve("lr").mean == pytest.approx(1e-3)
    assert curves.curve("reused").mean == 0.0


def test_steps_that_start_again_with_an_epoch_are_counted_on(tmp_path):
    records = [
        {"step": step, "epoch": epoch, "unweighted_losses": {"a": 1.0}} for epoch in (0, 1) for step in (1, 2, 3)
    ]
    curve = timeline_of(write(tmp_path / "x.jsonl", records)).curves.curve(("loss", "a"))
    assert curve.buckets.tolist() == [1, 2, 3, 4, 5, 6]


def test_of_very_many_tasks_the_first_are_kept(tmp_path):
    tasks = tuple(f"task {number:02d}" for number in range(40))
    curves = timeline_of(write(tmp_path / "x.jsonl", healthy(0, tasks=tasks, records=3))).curves
    kinds = [name[0] for name in curves.names() if isinstance(name, tuple)]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"loss": 32, "weight": 32, "norm": 32, "cosine": 120}
