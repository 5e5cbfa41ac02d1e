"""What a report makes of files as they come: torn, empty, foreign, missing, several runs in one."""

import json
import sys
from pathlib import Path

import pytest
from pages import Page
from simulated_folders import run_folder, run_folders
from simulated_runs import healthy, write

from coral_mtl.errors import DataError
from coral_mtl.report import runs as reading
from coral_mtl.report.groups import grouped
from coral_mtl.report.pictures import scatter
from coral_mtl.report.report import write_report
from coral_mtl.report.runs import read_runs
from coral_mtl.report.summary import change

FAILURE = {"type": "TrainingError", "message": "step 20: 20 steps in a row were skipped"}


def test_a_torn_last_line_is_told(tmp_path):
    run = run_folder(tmp_path / "run", records=30)
    for name in ("loss_diagnostics.jsonl", "metrics.jsonl"):
        whole = (run / name).read_text()
        (run / name).write_text(whole[:-20])
    page = Page.of(run)
    assert "loss_diagnostics.jsonl:30: a torn last line: skipped" in page.text
    assert "metrics.jsonl:10: a torn last line: skipped" in page.text
    assert len(page.charts["loss-0"]["steps"]) == 29


def test_a_run_without_records_yet_is_told_and_does_not_stand_in_the_way(tmp_path):
    run, empty = run_folder(tmp_path / "run", records=30), run_folder(tmp_path / "empty", seed=1)
    (empty / "loss_diagnostics.jsonl").write_text("")
    page = Page.of(run, empty)
    assert "empty/loss_diagnostics.jsonl: the file is empty" in page.section("verdict")
    assert "1 run, 1 strategy" in page.text


def test_nothing_to_read_is_an_error_that_says_why(tmp_path):
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match=r"empty\.jsonl: the file is empty"):
        read_runs([empty])
    with pytest.raises(DataError, match="there is no such file or folder"):
        read_runs([tmp_path / "nowhere"])


def test_runs_without_validation_say_so(tmp_path):
    run = run_folder(tmp_path / "run", records=30)
    (run / "metrics.jsonl").unlink()
    page = Page.of(run)
    assert "These runs have no validation metrics" in page.section("results")
    assert page.section("validation") is None
    assert not any(key.startswith("validation") for key in page.charts)


def test_records_without_gradients_say_so(tmp_path):
    records = [{"step": step, "unweighted_losses": {"a": 1.0 / step}, "strategy_type": "Equal"} for step in (1, 2, 3)]
    page = Page.of(write(tmp_path / "x.jsonl", records))
    assert "No cosines were recorded" in page.section("conflict")
    assert page.section("norms") is None
    assert list(page.charts) == ["loss-0"]


def test_a_foreign_file_of_several_runs_is_taken_apart(tmp_path):
    records = [
        {key: value for key, value in record.items() if key not in ("schema", "run")}
        for strategy in ("UncertaintyWeightingStrategy", "NashMTLStrategy", "UncertaintyWeightingStrategy")
        for record in healthy(0, tasks=("a", "b"), records=40)
        for record in [record | {"strategy_type": strategy}]
    ]
    page = Page.of(write(tmp_path / "x.jsonl", records))
    names = [line["name"] for line in page.charts["loss-0"]["lines"]]
    assert names == ["Uncertainty(x.jsonl: run 1)", "NashMTL", "Uncertainty(x.jsonl: run 3)"]
    assert page.section("verdict").startswith("Verdict No verdict: ")


def test_runs_with_different_tasks_share_what_they_have(tmp_path):
    first = run_folder(tmp_path / "a", "Equal", tasks=("genus", "health"), records=30)
    second = run_folder(tmp_path / "b", "NashMTL", tasks=("health", "cover"), records=30)
    page = Page.of(first, second)
    lines = {chart["title"]: [line["name"] for line in chart["lines"]] for chart in page.charts.values()}
    losses = {page.charts[f"loss-{k}"]["title"]: page.charts[f"loss-{k}"]["lines"] for k in range(3)}
    assert {task: len(found) for task, found in losses.items()} == {"genus": 1, "health": 2, "cover": 1}
    assert lines["Equal"] == ["genus", "health"]
    assert [line["colour"] for line in page.charts["weight-1"]["lines"]] == [1, 2]


def test_figures_that_are_not_finite_leave_gaps_and_a_finding(tmp_path):
    run = run_folder(tmp_path / "run", records=60)
    lines = [json.loads(line) for line in (run / "loss_diagnostics.jsonl").read_text().splitlines()]
    for line in lines[10:20]:
        line["unweighted_losses"]["genus"] = None
    (run / "loss_diagnostics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    page = Page.of(run)
    assert len(page.charts["loss-0"]["steps"]) == 50
    assert "the loss of genus was not finite in 10 of 60 records" in page.section("health")


def test_more_runs_than_a_page_can_show_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MOST_RUNS", 3)
    with pytest.raises(DataError, match="more than 3 runs"):
        read_runs(run_folders(tmp_path, ("Equal", "NashMTL"), (0, 1), records=5))


def test_a_comparison_beside_runs_is_told_and_left_out(tmp_path):
    runs = run_folders(tmp_path, ("Equal", "NashMTL"), (0, 1), records=5)
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "comparison.json").write_text("{}")
    for study in ("study", "compared"):
        (tmp_path / study).mkdir(exist_ok=True)
    found = read_runs(sorted(path for path in tmp_path.iterdir()))
    assert {run.path for run in found.runs} == set(runs)
    assert [line.partition("\n")[0] for line in found.left_out] == [
        f"{tmp_path / 'compared'}: a comparison is reported by itself",
        f"{tmp_path / 'study'}: this folder holds no loss_diagnostics.jsonl",
    ]


def test_a_run_is_called_by_its_folder_however_it_is_named(tmp_path, monkeypatch):
    run = run_folder(tmp_path / "run", records=5)
    monkeypatch.chdir(run)
    assert write_report([Path()]).page.resolve() == run / "report.html"
    assert f"trainer.output_dir={run}_again" in (run / "report.html").read_text()


def test_the_last_validation_of_a_run_that_failed_is_no_result(tmp_path):
    runs = run_folders(tmp_path, ("Equal", "NashMTL"), (0, 1, 2), records=30)
    facts = json.loads((runs[5] / "run.json").read_text())
    (runs[5] / "run.json").write_text(json.dumps(facts | {"status": "failed", "failure": FAILURE}))
    lines = (runs[5] / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    last["metrics"] = dict.fromkeys(last["metrics"], 1000.0)
    (runs[5] / "metrics.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    equal, nash = grouped(read_runs(runs).runs)
    assert [len(group.metric("global.score")) for group in (equal, nash)] == [3, 2]
    assert change(nash, equal, "global.score").changes.values == pytest.approx((0.15, 0.15))
    assert sum(not point.label for point in scatter([equal, nash], "global.score").points) == 5
    page = Page.of(*runs)
    assert "NashMTL 3, 1 failed 30" in page.section("results")
    assert "over the runs that did not fail" in page.section("results")
    assert page.section("results").count("1000") == page.section("results").partition("All metrics")[2].count("1000")


def test_a_damaged_run_file_is_told(tmp_path):
    run = run_folder(tmp_path / "run", records=5)
    (run / "run.json").write_text("{")
    with pytest.raises(DataError, match=r"run\.json: cannot be read"):
        read_runs([run])


def test_the_page_goes_where_it_is_asked_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = run_folders(tmp_path, ("Equal",), (0, 1), records=5)
    assert write_report(runs[:1]).page == runs[0] / "report.html"
    assert write_report(runs).page.resolve() == tmp_path / "report.html"
    asked = tmp_path / "new" / "page.html"
    assert write_report(runs, asked).page == asked
    assert asked.read_text().startswith("<!doctype html>")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="reads the peak of its memory with the module resource")
def test_a_large_file_is_streamed(tmp_path):
    """The peak of 50 MB is that of 5 MB, up to 8 MB; held whole, they would differ by hundreds."""
    small, large = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
    lines = [json.dumps(record) for record in healthy(0, tasks=("a", "b", "c"), records=6000)]
    with small.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)
    with large.open("w") as file:
        for turn in range(10):
            for line in lines:
                record = json.loads(line)
                file.write(json.dumps(record | {"step": record["step"] + 6000 * turn}) + "\n")
    assert large.stat().st_size > 45e6
    peaks = [_peak(path) for path in (small, large)]
    assert peaks[1] - peaks[0] < 8e6


def _peak(path):
    """Bytes of memory at the peak of a process that reports on a file."""
    import subprocess

    program = (
        "import resource, sys; from pathlib import Path; from coral_mtl.report.report import write_report;"
        "write_report([Path(sys.argv[1])], Path(sys.argv[1] + '.html'));"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout) * (1 if sys.platform == "darwin" else 1024)
