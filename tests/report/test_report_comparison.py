"""A comparison.json, as `coral-mtl compare` leaves it, in a report."""

import json
from dataclasses import asdict

import pytest
from pages import Page
from simulated_folders import run_folder, run_folders

from coral_mtl.diagnostics.strict import dumps
from coral_mtl.errors import DataError
from coral_mtl.report import groups, runs
from coral_mtl.report.comparison import read_comparison
from coral_mtl.report.runs import read_runs
from coral_mtl.study.compare import COMPARISON, SCHEMA
from coral_mtl.study.existing import compare_runs

NAMES = ("Equal", "NashMTL")


def comparison(folder, *, finished=True, schema=SCHEMA):
    """A folder with two strategies of three seeds, and a run on one task alone."""
    runs = run_folders(folder / "runs", NAMES, records=40)
    alone = run_folder(folder / "runs" / "alone", "Static", 0, records=40)
    listed = [
        {"strategy": f"{run.name[:-3]}(x=1)", "task": None, "seed": int(run.name[-1]), "folder": f"runs/{run.name}"}
        for run in runs
    ]
    listed.append({"strategy": "only health", "task": "health", "seed": 0, "folder": f"runs/{alone.name}"})
    result = asdict(compare_runs(runs))
    for row in result["rows"]:
        row["strategy"] += "(x=1)"
    result["single_task"] = {"health": {"metric": "tasks.health.accuracy", "mean": 0.75, "spread": 0.125}}
    content = {"schema": schema, "runs": listed if finished else [], "result": result if finished else None}
    content["command"] = "cd /reef && coral-mtl compare reef.yaml --strategies NashMTL"
    (folder / COMPARISON).write_text(dumps(content))
    return folder


def test_its_verdict_table_and_labels_are_taken_over(tmp_path):
    page = Page.of(comparison(tmp_path))
    verdict = page.section("verdict")
    assert "Clear winner: NashMTL, over 3 seeds" in verdict
    assert "Last validation, mean and standard deviation over the seeds 0, 1, 2; larger is better." in verdict
    assert "health alone: tasks.health.accuracy 0.7500 ± 0.12" in verdict
    assert [line["name"] for line in page.charts["loss-0"]["lines"]] == ["Equal(x=1)", "NashMTL(x=1)"]
    rows = page.html[page.html.index("<tbody>") : page.html.index("</tbody>")]
    assert rows.index("NashMTL(x=1)") < rows.index("Equal(x=1)")  # best first
    again = "how to run this again The comparison was started as cd /reef &amp;&amp; coral-mtl compare reef.yaml --str"
    assert again in page.section("configuration")
    assert rows.count("whisker") == 1  # the interval of the one that is not the baseline


def test_who_pays_is_told_against_the_comparisons_own_baseline(tmp_path):
    folder = comparison(tmp_path)
    content = json.loads((folder / COMPARISON).read_text())
    content["result"]["baseline"] = "NashMTL(x=1)"
    (folder / COMPARISON).write_text(json.dumps(content))
    assert "Last validation against NashMTL(x=1)" in Page.of(folder).section("validation")


def test_what_was_written_is_read_back_whole(tmp_path):
    found = read_comparison(comparison(tmp_path) / COMPARISON)
    again = compare_runs(sorted(found.runs))
    assert found.assessment.verdict == again.verdict
    differences = [[row.difference for row in each.rows if row.difference] for each in (found.assessment, again)]
    assert differences[0][0].mean == pytest.approx(differences[1][0].mean)
    assert tuple(differences[0][0].interval) == pytest.approx(differences[1][0].interval)


def test_one_that_is_not_finished_is_reported_as_far_as_it_is(tmp_path):
    page = Page.of(comparison(tmp_path, finished=False) / COMPARISON)
    assert "No verdict: the comparison is not finished." in page.section("verdict")
    assert "7 runs" in page.text


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema": "x"}', '{"schema": 1, "runs": [{}], "result": null}'])
def test_what_is_no_comparison_is_told(tmp_path, content):
    (tmp_path / COMPARISON).write_text(content)
    with pytest.raises(DataError, match=r"comparison\.json: this is no comparison"):
        read_runs([tmp_path])


def test_a_newer_one_and_an_empty_one_are_told(tmp_path):
    content = {"schema": SCHEMA + 1, "runs": [], "result": None}
    (tmp_path / COMPARISON).write_text(json.dumps(content))
    with pytest.raises(DataError, match="newer than this version knows"):
        read_runs([tmp_path])
    (tmp_path / COMPARISON).write_text(json.dumps(content | {"schema": SCHEMA}))
    with pytest.raises(DataError, match="no run was begun yet"):
        read_runs([tmp_path])


def test_of_many_runs_the_first_of_each_strategy_are_drawn_and_all_are_told(tmp_path, monkeypatch):
    folder = comparison(tmp_path)
    assert "Curves are of the first" not in Page.of(folder).text
    for module in (groups, runs):
        monkeypatch.setattr(module, "MOST_RUNS", 5)
    page = Page.of(folder)
    assert "Curves are of the first 2 runs of each strategy; verdict and tables are of all runs." in page.text
    assert "6 runs, 2 strategies" in page.text
    line = page.charts["loss-0"]["lines"][0]
    losses = [
        json.loads((folder / f"runs/Equal_s{seed}/loss_diagnostics.jsonl").read_text().splitlines()[7])
        for seed in (0, 1)
    ]
    expected = sum(record["unweighted_losses"]["genus"] for record in losses) / 2
    assert line["m"][7] == pytest.approx(expected, rel=1e-3)
    assert "Equal(x=1) 3 40" in page.section("results")
