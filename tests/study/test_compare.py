"""A comparison from its definition to its result, with real runs made in this process."""

import json
import shlex

import pytest
from small_studies import YAML, Compared, train, written

from coral_mtl.config import load_config
from coral_mtl.errors import ConfigError, TrainingError
from coral_mtl.study.compare import Comparison
from coral_mtl.study.definition import define
from coral_mtl.study.measured import read_run
from coral_mtl.study.request import Request


@pytest.fixture
def compared(monkeypatch):
    return Compared(monkeypatch)


def finished(comparison):
    """The result of a comparison that was begun."""
    return comparison.run(1, tell=lambda line: None, stop=lambda: False)


def content(folder):
    return json.loads((folder / "comparison.json").read_text())


def test_every_strategy_starts_from_the_same_weights_and_data_and_takes_the_same_steps(compared, tmp_path):
    result = compared(written(tmp_path), tmp_path / "c", "MGDA,Uncertainty+PCGrad", seeds=2)
    assert {row.strategy for row in result.rows} == {"Equal", "Random", "MGDA", "Uncertainty+PCGrad"}
    runs = [read_run(path) for path in (tmp_path / "c/runs").iterdir()]
    assert len(runs) == 8
    for seed in range(2):
        same = [run for run in runs if run.seed == seed]
        assert len({run.fingerprints["weights"] for run in same}) == 1
        assert len({run.fingerprints["data"] for run in same}) == 1
    assert len({run.fingerprints["weights"] for run in runs}) == 2
    assert len({run.fingerprints["data"] for run in runs}) == 2
    assert {run.steps for run in runs} == {2}
    assert compared.lines[0].startswith("run 1/8: Equal, seed 0: global.score 0.")


def test_the_result_is_in_the_folder_with_all_that_made_it(compared, tmp_path):
    result = compared(written(tmp_path), tmp_path / "c", "MGDA")
    found = content(tmp_path / "c")
    assert found["status"] == "finished"
    assert found["definition"]["seeds"] == [0, 1, 2]
    assert found["result"]["verdict"]["text"] == result.verdict.text
    assert found["environment"]["torch"]
    assert len(found["runs"]) == 9
    assert all((tmp_path / "c" / run["folder"] / "run.json").exists() for run in found["runs"])
    assert found["runs"][0] == {"strategy": "Equal", "task": None, "seed": 0, "folder": "runs/00_Equal_s0"}


def test_a_run_of_a_comparison_is_an_ordinary_run(compared, tmp_path):
    compared(written(tmp_path), tmp_path / "c", "MGDA")
    alone = train(written(tmp_path), tmp_path / "alone", "loss.weighting_strategy.type=MGDA", "seed=1")
    there = tmp_path / "c/runs/02_MGDA_s1"
    assert read_run(there).metrics == read_run(alone).metrics


def test_finished_runs_are_never_repeated(compared, tmp_path):
    first = compared(written(tmp_path), tmp_path / "c", "MGDA", seeds=1)
    assert len(compared.trained) == 3
    again = Comparison.reopen(tmp_path / "c").run(1, tell=compared.lines.append, stop=lambda: False)
    assert len(compared.trained) == 3
    assert again == first


def test_the_command_is_kept_for_whoever_repeats_it(compared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    command = ["coral-mtl", "compare", "small.yaml", "--strategies", "Static(weights={left: 2})", "--seeds", "1"]
    request = Request(strategies=("MGDA",), seeds=1, output=tmp_path / "c")
    request.begin(["small.yaml"], command).run(1, tell=compared.lines.append, stop=lambda: False)
    kept = content(tmp_path / "c")["command"]
    folder, again = kept.split(" && ")
    assert shlex.split(folder) == ["cd", str(tmp_path)]
    assert shlex.split(again) == command
    Request().begin(["c"], ["coral-mtl", "compare", "c"]).run(1, tell=compared.lines.append, stop=lambda: False)
    assert content(tmp_path / "c")["command"] == kept


def test_the_same_runs_can_be_judged_by_another_metric(compared, tmp_path):
    compared(written(tmp_path), tmp_path / "c", "MGDA", seeds=2)
    before = content(tmp_path / "c")
    result = Request(metric="global.loss").begin([str(tmp_path / "c")])
    runs = [read_run(tmp_path / "c" / run["folder"]) for run in before["runs"] if run["strategy"] == "MGDA"]
    row = next(row for row in result.rows if row.strategy == "MGDA")
    assert row.mean == pytest.approx(sum(run.metrics["global.loss"] for run in runs) / 2)
    assert result.rows[0].mean == min(row.mean for row in result.rows), "a loss is better where it is smaller"
    assert len(compared.trained) == 6
    assert content(tmp_path / "c") == before


def test_a_metric_that_the_runs_do_not_have_is_refused(compared, tmp_path):
    compared(written(tmp_path), tmp_path / "c", "MGDA", seeds=1)
    with pytest.raises(ConfigError, match=r"no metric called ensemble\.global\.loss\n.*global\.score"):
        Request(metric="ensemble.global.loss").begin([str(tmp_path / "c")])


def test_an_interrupted_comparison_goes_on(compared, tmp_path):
    config = written(tmp_path)
    asked = iter([False] * 2)
    assert compared(config, tmp_path / "c", "MGDA", seeds=2, stop=lambda: next(asked, True)) is None
    assert content(tmp_path / "c")["status"] == "interrupted"
    assert 0 < len(list((tmp_path / "c/runs").iterdir())) < 6
    result = compared(config, tmp_path / "c", "MGDA", seeds=2)
    whole = compared(config, tmp_path / "whole", "MGDA", seeds=2)
    assert [row.figures for row in result.rows] == [row.figures for row in whole.rows]


def test_another_comparison_does_not_get_the_folder(compared, tmp_path):
    config = written(tmp_path)
    compared(config, tmp_path / "c", "MGDA", seeds=1)
    with pytest.raises(ConfigError, match="holds another comparison"):
        compared(config, tmp_path / "c", "MGDA", seeds=2)
    with pytest.raises(ConfigError, match="holds another comparison"):
        compared(written(tmp_path, YAML.replace("epochs: 1", "epochs: 2")), tmp_path / "c", "MGDA", seeds=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/precious").touch()
    with pytest.raises(ConfigError, match="not empty"):
        compared(config, tmp_path / "full", "MGDA")
    with pytest.raises(ConfigError, match=r"cannot be written: .*\n.*--output"):
        compared(config, tmp_path / "full/precious", "MGDA")


def test_nothing_is_made_where_a_strategy_cannot_be_run(compared, tmp_path):
    with pytest.raises(ConfigError, match='did you mean "update_frequency"'):
        compared(written(tmp_path), tmp_path / "c", "MGDA, NashMTL(update_freq=3)")
    with pytest.raises(ConfigError, match=r"optimizer\.params\.lr"):
        compared(written(tmp_path), tmp_path / "c", "MGDA", tune=["lr=1e-3,fast"])
    with pytest.raises(ConfigError, match=r"no metric called \"tasks\.sea\.rmse\""):
        compared(written(tmp_path), tmp_path / "c", "MGDA", metric="tasks.sea.rmse")
    assert not (tmp_path / "c").exists()


def test_diverged_runs_are_counted_and_not_dropped(compared, tmp_path):
    text = YAML.replace("epochs: 1", "epochs: 2, max_nonfinite_steps: 1") + "optimizer: {type: SGD, params: {lr: 0.01}}"
    explosive = "Static(weights={left: 1.0, right: 1.0, ink: 1e30})"
    result = compared(written(tmp_path, text), tmp_path / "c", explosive, seeds=2)
    rows = {row.strategy: row for row in result.rows}
    assert rows[explosive].diverged == 2
    assert rows["Equal"].diverged == 0
    assert any("diverged: " in line for line in compared.lines)
    assert rows[explosive].mean <= min(rows["Equal"].mean, rows["Random"].mean)


def test_the_others_can_be_judged_where_the_runs_of_one_fail_again_and_again(compared, tmp_path):
    compared.failing = "MGDA"
    config, folder = written(tmp_path), tmp_path / "c"
    with pytest.raises(TrainingError, match=r"2 runs failed(.|\n)*coral-mtl compare .*/c --without MGDA$"):
        compared(config, folder, "MGDA,DWA", seeds=2)
    found = content(folder)
    assert (found["status"], found["without"], found["result"]) == ("failed", [], None)
    assert "MGDA, seed 0" in found["failure"]
    assert len(compared.trained) == 6

    result = finished(Request(without=("MGDA",)).begin([str(folder)]))
    assert {row.strategy for row in result.rows} == {"Equal", "Random", "DWA"}
    assert "MGDA was left out (--without): the verdict is about the others" in result.notes
    found = content(folder)
    assert (found["status"], found["without"], found["failure"]) == ("finished", ["MGDA"], None)
    assert {run["folder"] for run in found["runs"] if run["strategy"] == "DWA"} == {"runs/03_DWA_s0", "runs/03_DWA_s1"}
    assert len(compared.trained) == 6, "what is done stays"
    assert finished(Request().begin([str(folder)])) == result, "who was left out stays out"
    assert Request(without=("MGDA",), metric="global.loss").begin([str(folder)]).metric == "global.loss"
    compared.failing = "nothing"
    whole = compared(config, folder, "MGDA,DWA", seeds=2)
    assert {row.strategy for row in whole.rows} == {"Equal", "Random", "MGDA", "DWA"}, "the whole command takes it back"
    figures = {row.strategy: row.figures for row in whole.rows}
    assert {row.strategy: row.figures for row in result.rows}.items() < figures.items()


def test_a_contender_whose_tuning_fails_can_be_left_out_too(compared, tmp_path):
    compared.failing = "MGDA, seed 10"
    with pytest.raises(TrainingError, match=r"--without MGDA$"):
        compared(written(tmp_path), tmp_path / "c", "MGDA", seeds=1, tune=["lr=1e-3,1e-1"])
    result = finished(Request(without=("MGDA",)).begin([str(tmp_path / "c")]))
    assert {row.strategy for row in result.rows} == {"Equal", "Random"}


def test_what_cannot_be_left_out_is_told(compared, tmp_path):
    compared.failing = "only"
    config, folder = written(tmp_path), tmp_path / "c"
    with pytest.raises(TrainingError):
        compared(config, folder, "MGDA", seeds=1, single_task=True)
    for without, message in {
        ("MGDDA",): 'nothing here is called "MGDDA"',
        ("Equal",): "it takes Equal and another one",
        ("MGDA", "Random"): "it takes Equal and another one",
    }.items():
        with pytest.raises(ConfigError, match=message):
            Request(without=without).begin([str(folder)])
    with pytest.raises(ConfigError, match="--without has no effect"):
        Request(without=("MGDA",)).begin([str(config)])
    result = finished(Request(without=("only ink",)).begin([str(folder)]))
    assert result.delta_m_baseline == "Equal", "nor is the rest of the runs on one task alone of use"


def test_a_comparison_that_cannot_be_made_says_so_in_its_file(compared, tmp_path, monkeypatch):
    prints = iter(range(100))
    monkeypatch.setattr("coral_mtl.running.run.fingerprints", lambda _: {"weights": str(next(prints)), "data": "d"})
    with pytest.raises(TrainingError):
        compared(written(tmp_path), tmp_path / "c", "MGDA")
    assert content(tmp_path / "c")["status"] == "failed"
    assert "does not start from the same weights" in content(tmp_path / "c")["failure"]


def test_without_names_the_strategy_is_the_one_of_the_file_as_it_stands_there(compared, tmp_path):
    block = "{type: Static, params: {weights: {left: 2.0, right: 1.0, ink: 1.0}}, times: {type: ValueNormalised}}"
    config = written(tmp_path, YAML.replace("{type: Uncertainty}", block))
    result = finished(Request(output=tmp_path / "c", seeds=1).begin([str(config)]))
    assert {row.strategy for row in result.rows} == {"Equal", "Random", "Static*ValueNormalised"}
    (folder,) = (tmp_path / "c/runs").glob("*Static*")
    own = load_config(folder / "config.yaml").loss.weighting_strategy
    assert own == load_config(config).loss.weighting_strategy
    again = Request().begin([str(tmp_path / "c")])
    assert finished(again) == result


def test_early_stopping_is_left_out(compared, tmp_path):
    text = YAML.replace("epochs: 1", "epochs: 3, early_stopping: {patience: 1, min_delta: 1.0}")
    compared(written(tmp_path, text), tmp_path / "c", "MGDA", seeds=1)
    assert {read_run(path).steps for path in (tmp_path / "c/runs").iterdir()} == {6}


def test_runs_that_do_not_start_alike_are_an_error(compared, tmp_path, monkeypatch):
    prints = iter(range(100))
    monkeypatch.setattr("coral_mtl.running.run.fingerprints", lambda _: {"weights": str(next(prints)), "data": "d"})
    with pytest.raises(TrainingError, match="Random, seed 0 does not start from the same weights as Equal, seed 0"):
        compared(written(tmp_path), tmp_path / "c", "MGDA")


def test_single_task_runs_are_what_delta_m_is_relative_to(compared, tmp_path):
    result = compared(written(tmp_path), tmp_path / "c", "MGDA", seeds=1, single_task=True)
    assert result.delta_m_baseline == "single-task runs"
    assert set(result.single_task) == {"left", "right", "ink"}
    assert "only ink" not in [row.strategy for row in result.rows]
    alone = load_config(tmp_path / "c/runs/05_only_ink_s0/config.yaml")
    assert alone.loss.weighting_strategy.params["weights"] == {"left": 0.0, "right": 0.0, "ink": 1.0}


def test_tuning_has_seeds_of_its_own_and_the_same_budget_for_all(compared, tmp_path):
    result = compared(written(tmp_path), tmp_path / "c", "MGDA", seeds=2, tune=["lr=1e-3,1e-1"])
    tuning = content(tmp_path / "c")["tuning"]
    assert set(tuning) == {"Equal", "Random", "MGDA"}
    for label, each in tuning.items():
        assert [list(tried["figures"]) for tried in each["tried"]] == [["1000000", "1000001"]] * 2
        means = [sum(tried["figures"].values()) / 2 for tried in each["tried"]]
        best = each["tried"][means.index(max(means))]
        assert each["chosen"] == best["overrides"]
        lr = float(best["overrides"][-1].partition("=")[2])
        for path in (tmp_path / "c/runs").glob(f"*_{label}_s*"):
            assert load_config(path / "config.yaml").optimizer.params["lr"] == lr
        chosen = each["chosen"][-1]
        assert f"{label} was tuned: {chosen}, best of 2 on the seeds 1000000, 1000001" in result.notes
    assert len(list((tmp_path / "c/tuning").iterdir())) == 12


def test_the_static_grid_is_tuned_and_takes_part(compared, tmp_path):
    result = compared(written(tmp_path), tmp_path / "c", "MGDA", seeds=1, static_grid=True)
    assert "Static grid" in [row.strategy for row in result.rows]
    tuning = content(tmp_path / "c")["tuning"]
    assert list(tuning) == ["Static grid"]
    assert len(tuning["Static grid"]["tried"]) == 6


def test_what_is_not_the_folder_of_a_comparison_is_told(tmp_path):
    for text in ("", "{}", '{"definition": {"seeds": 3}}'):
        (tmp_path / "comparison.json").write_text(text)
        with pytest.raises(ConfigError, match="not the folder of a comparison"):
            Comparison.reopen(tmp_path)


def test_a_definition_reads_the_metric_and_the_grid(tmp_path):
    config = load_config(written(tmp_path))
    found = define(config, ["A,B(x=1)", "C"], 4, "tasks.ink.rmse", tune=["lr=1e-3, 3e-3,1e-3", "data.batch_size=5,10"])
    assert found.strategies == ("A", "B(x=1)", "C")
    assert found.seeds == (0, 1, 2, 3)
    assert not found.target.larger_is_better
    assert found.grid == {"optimizer.params.lr": ("1e-3", "3e-3"), "data.batch_size": ("5", "10")}
    assert not set(found.tuning_seeds) & set(found.seeds)
    with pytest.raises(ConfigError, match="cannot read the grid"):
        define(config, ["A"], 3, tune=["lr=1e-3"])
    with pytest.raises(ConfigError, match="larger or smaller"):
        define(config, ["A"], 3, "tasks.ink.weather")
