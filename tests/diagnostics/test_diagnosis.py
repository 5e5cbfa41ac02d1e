"""diagnose, to_json and render on whole files: several runs, oddities, hostile names, bounded memory."""

import json
import tracemalloc
from random import Random

import pytest
from simulated_runs import TASKS, conflict, healthy, write

from coral_mtl.diagnostics.diagnosis import diagnose, to_json
from coral_mtl.diagnostics.remarks import Remarks
from coral_mtl.diagnostics.text import render, shown
from coral_mtl.errors import DataError

FOREIGN_NAMES = {"Uncertainty": "UncertaintyWeightingStrategy", "NashMTL": "NashMTLStrategy"}
OURS = ("schema", "run", "micro_step", "epoch", "active_tasks", "inactive_tasks", "skipped", "lr", "descent", "solver")


def foreign(records):
    """The same records as another program would write them: by class name, with fewer fields, and a NaN."""
    for record in records:
        kept = {name: value for name, value in record.items() if name not in OURS}
        kept["strategy_type"] = FOREIGN_NAMES[record["strategy_type"]]
        if record["step"] == 10:
            kept["unweighted_losses"] = dict.fromkeys(kept["unweighted_losses"], float("nan"))
        if record["step"] == 20:
            del kept["step"], kept["task_weights"]
        yield kept


@pytest.fixture
def path(tmp_path):
    return tmp_path / "loss_diagnostics.jsonl"


@pytest.fixture
def two_runs(path):
    first = foreign(healthy(0, "Uncertainty", conflict("genus", "cover"), tasks=TASKS, records=150))
    second = foreign(healthy(1, "NashMTL", tasks=TASKS, records=120))
    write(path, [*first, *second])
    with path.open("a") as file:
        file.write("oops\n" + '{"step": 121, "unwei')
    return path


def test_a_foreign_file_is_diagnosed_a_run_at_a_time(two_runs):
    first, second = diagnose(two_runs)
    assert (first.run, first.statistics.strategy, first.statistics.records) == ("run 1", "Uncertainty", 150)
    assert (second.run, second.statistics.strategy, second.statistics.records) == ("run 2", "NashMTL", 120)
    assert {f.kind for f in first.findings} >= {"conflict", "non_finite"}
    assert "conflict" not in {f.kind for f in second.findings}
    assert first.remarks == (
        f"{two_runs}:10: a bare NaN or Infinity, which is not strict JSON: read as not finite",
        f"{two_runs}:20: no step: numbered after the record before",
    )
    assert [remark.removeprefix(str(two_runs)) for remark in second.remarks] == [
        ":160: a bare NaN or Infinity, which is not strict JSON: read as not finite",
        ":170: no step: numbered after the record before",
        ":271: not JSON: skipped",
        ":272: a torn last line: skipped",
    ]


def test_a_run_folder_is_diagnosed_through_its_file(two_runs):
    assert [d.run for d in diagnose(two_runs.parent)] == ["run 1", "run 2"]
    with pytest.raises(DataError, match="no such file"):
        diagnose("nowhere")


def test_the_json_is_strict_and_holds_what_the_text_says(two_runs):
    diagnoses = diagnose(two_runs)
    found = json.loads(to_json(diagnoses), parse_constant=lambda token: pytest.fail(f"{token} is not strict JSON"))
    assert [entry["run"] for entry in found] == ["run 1", "run 2"]
    for entry, diagnosis in zip(found, diagnoses, strict=True):
        assert entry["strategy_type"] == diagnosis.statistics.strategy
        assert [f["title"] for f in entry["findings"]] == [f.title for f in diagnosis.findings]
        assert {f["severity"] for f in entry["findings"]} <= {"note", "warning", "error"}
        assert entry["advice"]["sentence"] == diagnosis.advice.sentence
        assert len(entry["advice"]["workflow"]) == 4
        assert entry["gradient_cosine_similarity"]["cover_vs_genus"]["records"] == diagnosis.statistics.measured
        text = render(diagnosis)
        assert all(f.title in text and f.advice in text for f in diagnosis.findings)
        assert diagnosis.advice.sentence in text
        assert all(remark in text for remark in diagnosis.remarks)


def test_the_tables_show_every_task_and_pair(two_runs):
    lines = render(diagnose(two_runs)[0]).splitlines()
    for task in TASKS:
        assert any(line.startswith(task) for line in lines)
    [row] = [line for line in lines if line.startswith("cover and genus ")]
    assert row.split()[3] == "-0.60"


def test_many_tasks_show_their_twenty_worst_pairs(path):
    tasks = tuple(f"t{place}" for place in range(8))
    text = render(diagnose(write(path, healthy(0, tasks=tasks, records=30)))[0])
    assert sum(" and t" in line and line.startswith("t") for line in text.splitlines()) == 20
    assert "... and 8 more pairs" in text


def test_hostile_task_names_are_text_and_nothing_else(path):
    tasks = ("<script>alert(1)</script>", "\x1b[31mred\x1b[0m\nAdvice: forged", "[bold]x[/bold]", "\ud800", "n" * 5000)
    [diagnosis] = diagnose(write(path, healthy(0, "Equal", conflict(*tasks[:2]), tasks=tasks, records=60)))
    text = render(diagnosis)
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if line.startswith("Advice:")] == [
        f"Advice: {shown(diagnosis.advice.sentence)}"
    ]
    assert "<script>alert(1)</script>" in text
    assert "[bold]x[/bold]" in text
    text.encode()
    assert set(json.loads(to_json([diagnosis]))[0]["tasks"]) == set(tasks)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(path):
    peaks = []
    records = list(healthy(0, tasks=TASKS, records=500))
    for copies in (2, 8):
        write(path, (record | {"step": 500 * k + record["step"]} for k in range(copies) for record in records))
        tracemalloc.start()
        diagnose(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 4_000_000
    assert peaks[1] < 1.2 * peaks[0]


def test_remarks_are_counted_by_kind_with_their_first_line(tmp_path):
    remarks, others = Remarks(tmp_path), Remarks(tmp_path)
    remarks.add(3, "odd")
    others.add(5, "odd")
    others.add(6, "odd")
    others.add(7, "even")
    remarks.take_over(others)
    assert remarks.texts() == (f"{tmp_path}:3: odd (3 times)", f"{tmp_path}:7: even")
    assert others.texts() == ()


ODD_VALUES = (
    *(None, True, 0, -1, 1e308, -1e308, 5e-324, 10**400, float("nan"), float("inf"), "x", "", [], {}, [1]),
    *({"genus": 1}, {"genus": "x"}, {"genus": None, "cover": 1e308}, {"genus_vs_cover": 2}, {"": 0}, {"genus": -0.0}),
)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_a_record_holds_is_read_or_refused_politely(path, seed):
    random = Random(seed)
    rate = random.choice([0.005, 0.05, 0.3])
    records = []
    for record in healthy(seed, tasks=TASKS, records=30):
        changed = {name: random.choice(ODD_VALUES) if random.random() < rate else v for name, v in record.items()}
        if seed % 2:
            changed.pop("schema")
        records.append({name: v for name, v in changed.items() if random.random() >= rate / 2})
    values = (*ODD_VALUES, 0.5, 0.5, 0.5, 2.0)
    write(
        path.with_name("metrics.jsonl"),
        (
            {"run": "simulated", "step": step, "metrics": {f"tasks.{t}.loss": random.choice(values) for t in TASKS}}
            for step in range(1, 30)
        ),
    )
    try:
        diagnoses = diagnose(write(path, records))
    except DataError:
        return
    json.loads(to_json(diagnoses), parse_constant=lambda token: pytest.fail(f"{token} is not strict JSON"))
    assert all(render(diagnosis) for diagnosis in diagnoses)
