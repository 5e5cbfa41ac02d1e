"""docs/diagnostics.md says what the code does: fields, findings, thresholds, and examples that read back."""

import json
import re
from pathlib import Path

from coral_mtl.diagnostics.finding import KINDS
from coral_mtl.diagnostics.reader import read_records
from coral_mtl.diagnostics.record import FIELDS
from coral_mtl.diagnostics.thresholds import DEFAULT

PAGE = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text(encoding="utf-8")


def threshold_table():
    rows = [f"| `{name}` | {value} | {unit} | {meaning} |" for name, value, unit, meaning in DEFAULT.table()]
    return "\n".join(["| threshold | default | unit | meaning |", "|---|---|---|---|", *rows])


def documented(heading):
    section = re.search(rf"^##+ {heading}\n(.*?)(?=^##|\Z)", PAGE, re.S | re.M)[1]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def examples():
    return [line for block in re.findall(r"```json\n(.*?)```", PAGE, re.S) for line in block.splitlines()]


def test_every_field_is_documented_once():
    assert sorted(documented("Fields of every record")) == sorted(FIELDS)


def test_every_finding_is_documented_in_order():
    assert documented("Findings") == list(KINDS)


def test_the_threshold_table_is_that_of_the_code():
    assert threshold_table() in PAGE, f"put this table into docs/diagnostics.md:\n{threshold_table()}"


def test_the_examples_are_records_with_documented_fields(tmp_path):
    remarks = []
    path = tmp_path / "examples.jsonl"
    path.write_text("\n".join(examples()) + "\n")
    records = list(read_records(path, lambda line, what: remarks.append((line, what))))
    assert len(records) == len(examples()) == 5
    assert remarks == []
    known = {*FIELDS, *documented("Fields of single strategies")}
    for line in examples():
        assert json.loads(line).keys() <= known
    assert [bool(record.norms) for record in records] == [False, True, True, False, False]
    assert [record.reused for record in records] == [False, False, False, True, False]
    assert records[-1].skipped
