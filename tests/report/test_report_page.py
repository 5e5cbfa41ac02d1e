"""What a report says and draws, read back from its HTML."""

import json
import re
import statistics

import pytest
from pages import Page
from simulated_folders import STRATEGIES, TASKS, run_folder, run_folders

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


def records_of(run):
    return [json.loads(line) for line in (run / "loss_diagnostics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def page(small):
    return Page.of(*small)


def test_the_page_loads_and_runs_nothing_but_what_it_holds(page):
    for tag, attributes in page.elements:
        assert tag not in ("iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name != "style"
            if name in ("src", "href", "action", "data"):
                assert value.startswith("#") or value == "data:,"
    (policy,) = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert "Permission is hereby granted" in page.html  # of uPlot's licence


def test_the_verdict_is_that_of_the_comparison_paired_by_seed(page):
    assert "Clear winner: NashMTL, over 3 seeds" in page.section("verdict")
    assert "Better than Equal: Static, Uncertainty and NashMTL." in page.section("verdict")


def test_a_single_run_is_judged_by_its_records_and_the_workflow_is_shown(small):
    verdict = Page.of(small[0]).section("verdict")
    assert "No gradient strategy is called for" in verdict
    assert "Are gradient norms persistently orders of magnitude apart? no" in verdict


def test_runs_that_cannot_be_compared_get_no_verdict_but_the_reason(tmp_path):
    first = run_folder(tmp_path / "a", "Equal", 0)
    second = run_folder(tmp_path / "b", "NashMTL", 1, records=80)
    page = Page.of(first, second)
    assert page.section("verdict").startswith("Verdict No verdict: the strategies have no seed in common")
    assert "The runs took between 80 and 100 steps." in page.section("verdict")


def test_the_table_of_results_has_mean_and_deviation_of_the_last_validation(page, small):
    scores = [json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["metrics"] for run in small[:3]]
    values = [score["tasks.health.accuracy"] for score in scores]
    figures = f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.2g}"
    assert figures in page.section("results")
    assert "30.00 ± 10" in page.section("results")  # ms a step: 2, 3 and 4 seconds of processor time over 100 steps


def test_who_pays_is_told_task_by_task_against_equal_weighting(page):
    text = page.section("validation")
    assert "Last validation against Equal" in text
    for gain in ("+0.0500", "+0.100", "+0.150"):
        assert text.count(f"▲ {gain}") == len(TASKS)
    assert "▼" not in text.partition("average")[2]


def test_every_kind_of_chart_is_there_with_a_line_for_each_strategy_or_task(page):
    names = {key: [line["name"] for line in chart["lines"]] for key, chart in page.charts.items()}
    for key in ("loss-0", "loss-2", "validation-0", "conflict", "imbalance", "update", "lr"):
        assert names[key] == list(STRATEGIES)
    for place in range(4):
        assert names[f"norm-{place}"] == names[f"weight-{place}"] == list(TASKS)
        assert len(names[f"cosine-{place}"]) == 3
    assert [page.charts[key]["log"] for key in ("norm-0", "imbalance", "update", "loss-0")] == [True, True, True, False]


def test_lines_are_means_over_runs_and_bands_run_from_the_lowest_run_to_the_highest(page, small):
    chart = page.charts["loss-1"]
    assert chart["title"] == "health"
    assert chart["length"] == 1
    runs = [records_of(run) for run in small[3:6]]
    line = chart["lines"][1]
    for place in (0, 42, 99):
        losses = [run[place]["unweighted_losses"]["health"] for run in runs]
        found = line["m"][place], line["l"][place], line["h"][place]
        assert found == pytest.approx((statistics.mean(losses), min(losses), max(losses)), rel=1e-3)
    assert chart["steps"] == list(range(1, 101))


def test_a_single_runs_bands_run_from_the_lowest_record_to_the_highest(tmp_path):
    run = run_folder(tmp_path / "run", records=1000)
    chart = Page.of(run).charts["loss-0"]
    records = records_of(run)
    assert chart["length"] == 8
    place = chart["steps"].index(480)
    losses = [record["unweighted_losses"]["genus"] for record in records if 480 <= record["step"] < 488]
    line = chart["lines"][0]
    found = line["m"][place], line["l"][place], line["h"][place]
    assert found == pytest.approx((statistics.mean(losses), min(losses), max(losses)), rel=1e-3)


def test_a_restart_of_the_learning_rate_is_marked_and_its_warm_up_is_not(tmp_path):
    page = Page.of(run_folder(tmp_path / "run", records=300, restart=True))
    assert page.charts["lr"]["marks"] == page.charts["norm-0"]["marks"] == [151]
    assert "the learning rate was started again" in page.section("updates")
    warm = run_folder(tmp_path / "warm", records=300)
    lines = records_of(warm)
    for line in lines:
        line["lr"] = 1e-3 * min(line["step"] / 30, (301 - line["step"]) / 270)
    (warm / "loss_diagnostics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert Page.of(warm).charts["lr"]["marks"] == []


def test_configurations_are_held_against_each_other_and_told_apart_by_what_differs(tmp_path):
    runs = [run_folder(tmp_path / f"{lr}", seed=0, optimizer={"params": {"lr": lr}}) for lr in (0.1, 0.01)]
    page = Page.of(*runs)
    assert [line["name"] for line in page.charts["lr"]["lines"]] == ["Equal(lr=0.1)", "Equal(lr=0.01)"]
    assert "optimizer.params.lr 0.1 0.01" in page.section("configuration")
    assert "trainer.epochs" not in page.section("configuration")


def test_the_command_and_the_environment_are_there_for_every_run(page, small):
    text = page.section("configuration")
    for run in small:
        assert f"coral-mtl train {run}/config.yaml trainer.output_dir={run}_again" in text
    assert text.count("coral-mtl train reef.yaml seed=2") == 4
    assert text.count("torch 2.13.0") == 12


def test_names_are_data_wherever_they_stand(tmp_path):
    names = (EVIL, "{{ 7 * 7 }}", "a\u202e\x00b")
    runs = run_folders(tmp_path, ("Equal", "NashMTL"), (0, 1, 2), tasks=names, records=30)
    page = Page.of(*runs)
    assert [tag for tag, _ in page.elements].count("script") == 4
    assert not any(tag == "img" for tag, _ in page.elements)
    assert page.charts["loss-0"]["title"].startswith("</script><script>alert(1)")
    assert "49" not in re.findall(r"\b49\b(?=\s*loss)", page.text)
    assert "a\\u202e\\x00b" in page.text
    assert not set("\u202e\x00") & set(page.html)
    clean = Page.of(*run_folders(tmp_path / "clean", ("Equal", "NashMTL"), (0, 1, 2), records=30))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in clean.elements]


def test_many_tasks_are_cut_and_it_is_said(tmp_path):
    tasks = tuple(f"task {number}" for number in range(30))
    page = Page.of(run_folder(tmp_path / "run", tasks=tasks, records=40))
    assert len(page.charts["norm-0"]["lines"]) == 12
    assert "The first 12 of 30 lines." in page.text
    assert "The 12 of 435 pairs with the lowest mean cosine in any run." in page.text
    assert "Only the first 24 tasks are shown." in page.text


def test_a_task_without_gradient_is_told_on_the_logarithmic_axis(tmp_path):
    run = run_folder(tmp_path / "run", records=30)
    lines = records_of(run)
    for line in lines[10:]:
        line["gradient_norm"]["health"] = 0.0
    (run / "loss_diagnostics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    page = Page.of(run)
    (health,) = [line for line in page.charts["norm-0"]["lines"] if line["name"] == "health"]
    assert [figure is None for figure in health["m"]] == [False] * 10 + [True] * 20
    assert "Figures of 0 cannot be shown on a logarithmic axis." in page.text
