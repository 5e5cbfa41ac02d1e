"""read_records on our own files and on what other programs write."""

import json
import math

import pytest

from coral_mtl.diagnostics import lines
from coral_mtl.diagnostics.lines import find_file
from coral_mtl.diagnostics.reader import read_records
from coral_mtl.errors import DataError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "loss_diagnostics.jsonl"


def read(path):
    remarks = []
    return list(read_records(path, lambda line, what: remarks.append((line, what)))), remarks


def foreign(**fields):
    return {"step": 1, "strategy_type": "IMGradStrategy", "unweighted_losses": {"a": 1.0, "b": 2.0}} | fields


def write(path, *objects):
    path.write_text("".join((o if isinstance(o, str) else json.dumps(o)) + "\n" for o in objects))


def test_a_foreign_record_is_brought_into_normal_form(path):
    write(
        path,
        foreign(
            step=5,
            epoch=2.0,
            task_weights={"a": 0.5, "b": 1},
            gradient_norm={"a": 3.0, "b": 4.0},
            gradient_cosine_similarity={"b_vs_a": -0.25},
            gradient_update_norm=2.5,
            imgrad_cos_theta=0.75,
            comment="text",
            flag=True,
        ),
    )
    [record], remarks = read(path)
    assert remarks == []
    assert (record.strategy, record.step, record.epoch, record.run) == ("IMGrad", 5, 2, "run 1")
    assert record.weights == {"a": 0.5, "b": 1.0}
    assert record.norms == {"a": 3.0, "b": 4.0}
    assert record.cosines == {("a", "b"): -0.25}
    assert record.scalars == {"gradient_update_norm": 2.5, "imgrad_cos_theta": 0.75}
    assert record.descent == {}
    assert record.skipped is None


def test_bare_nan_and_infinity_are_read_as_not_finite_and_told(path):
    write(path, '{"step": 1, "unweighted_losses": {"a": NaN, "b": -Infinity}}', foreign(step=2))
    records, remarks = read(path)
    assert math.isnan(records[0].losses["a"])
    assert records[0].losses["b"] == -math.inf
    assert remarks == [(1, "a bare NaN or Infinity, which is not strict JSON: read as not finite")]


def test_null_is_not_finite_in_our_records_and_not_measured_in_foreign_ones(path):
    figures = {"unweighted_losses": {"a": None}, "gradient_update_norm": None}
    write(path, {"schema": 1, "run": "r", "step": 1, **figures}, {"step": 1, **figures})
    (ours, theirs), remarks = read(path)
    assert math.isnan(ours.losses["a"])
    assert math.isnan(ours.scalars["gradient_update_norm"])
    assert theirs.losses == {}
    assert theirs.scalars == {}
    assert remarks == []


def test_foreign_zeros_for_what_was_not_measured_are_told_and_left_out(path):
    zeros = {"gradient_norm": {"a": 0.0, "b": 0.0}, "gradient_cosine_similarity": {"a_vs_b": 0.0}}
    write(path, foreign(**zeros, gradient_update_norm=0.0), foreign(step=2, gradient_norm={"a": 0.0, "b": 1.0}))
    (first, second), remarks = read(path)
    assert (first.norms, first.cosines, first.scalars) == ({}, {}, {})
    assert second.norms == {"a": 0.0, "b": 1.0}
    assert remarks == [(1, "all gradient norms are 0: taken as not measured")]


def test_runs_are_told_apart_by_steps_that_restart_and_by_strategy(path):
    write(
        path,
        *(foreign(step=step) for step in (1, 2, 3, 1, 2)),
        *(foreign(step=step, strategy_type="Equal") for step in (3, 4)),
    )
    records, remarks = read(path)
    assert [record.run for record in records] == ["run 1"] * 3 + ["run 2"] * 2 + ["run 3"] * 2
    assert remarks == []


def test_runs_are_told_apart_by_their_ids_also_where_lines_alternate(path):
    ours = {"schema": 1, "strategy_type": "Equal", "unweighted_losses": {"a": 1.0}}
    write(
        path,
        *(ours | {"run": run, "step": step} for step in (1, 2) for run in ("x", "y")),
        ours | {"run": "x", "step": 1},
    )
    records, _ = read(path)
    assert [record.run for record in records] == ["x", "y", "x", "y", "x (run 3 of this file)"]


def test_steps_counted_by_epoch_are_one_run(path):
    write(path, *(foreign(step=step, epoch=epoch) for epoch in (0, 1, 2) for step in (0, 1)))
    records, remarks = read(path)
    assert {record.run for record in records} == {"run 1"}
    assert remarks[0] == (3, "steps start again with an epoch: taken as the same run")


def test_steps_counted_by_epoch_are_one_run_though_a_line_leaves_the_epoch_out(path):
    write(path, foreign(step=0, epoch=0), foreign(step=1), foreign(step=0, epoch=1), foreign(step=0, epoch=1, run="x"))
    records, _ = read(path)
    assert [record.run for record in records] == ["run 1", "run 1", "run 1", "x"]


def test_a_repeated_step_is_the_same_run(path):
    write(path, foreign(step=3), foreign(step=3))
    records, _ = read(path)
    assert {record.run for record in records} == {"run 1"}


def test_missing_fields_are_filled_from_the_line_before(path):
    bare = {"unweighted_losses": {"a": 1.0}}
    write(path, bare, foreign(step=4), bare, bare | {"step": 9})
    records, remarks = read(path)
    assert [record.step for record in records] == [1, 4, 5, 9]
    assert [record.strategy for record in records] == ["unknown", "IMGrad", "IMGrad", "IMGrad"]
    assert {record.run for record in records} == {"run 1"}
    assert [line for line, what in remarks if what.startswith("no step")] == [1, 3]


def test_fields_of_the_wrong_type_are_left_out_and_told(path):
    wrong = foreign(
        step="7",
        epoch=1.5,
        run=3,
        unweighted_losses={"a": "low", "b": True, "c": 1.0},
        task_weights=[1, 2],
        gradient_norm={"a": -1.0, "b": 2.0},
        gradient_cosine_similarity={"a_vs_b": 1.5, "a and b": 0.1, "a_vs_a": 1.0},
        gradient_update_norm="big",
        solver="ccp",
        strategy_type=5,
        skipped=True,
    )
    write(path, wrong)
    [record], remarks = read(path)
    assert record.losses == {"c": 1.0}
    assert record.norms == {"b": 2.0}
    assert (record.weights, record.cosines, record.scalars, record.status) == ({}, {}, {}, None)
    assert (record.step, record.epoch, record.strategy, record.skipped) == (1, None, "unknown", "no reason given")
    told = " ".join(what for _, what in remarks)
    for word in (
        "step: not a whole",
        "epoch: not a whole",
        "run: not a text",
        "strategy_type: not a text",
        "solver: not",
    ):
        assert word in told
    for word in ("unweighted_losses: a figure", "task_weights: not an object", "negative norm", "beyond -1 and 1"):
        assert word in told
    assert '"a_vs_b": left out' in told
    assert "gradient_update_norm: not a number" in told


def test_numbers_too_large_for_a_float_are_infinite(path):
    write(path, '{"step": 1, "unweighted_losses": {"a": 1' + "0" * 400 + "}}", foreign(step=10**400))
    records, _ = read(path)
    assert records[0].losses == {"a": math.inf}
    assert records[1].step == 2


def test_task_names_may_hold_the_separator_of_pairs(path):
    losses = {"a_vs_b": 1.0, "c": 1.0}
    write(path, foreign(unweighted_losses=losses, gradient_cosine_similarity={"a_vs_b_vs_c": 0.5}))
    [record], _ = read(path)
    assert record.cosines == {("a_vs_b", "c"): 0.5}


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("not JSON", "not JSON: skipped"),
        ("[1, 2]", "JSON, but not an object: skipped"),
        ("[" * 100_000, "not JSON: skipped"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON: skipped"),
        ('{"loss": 1}', "no field of a diagnostics record: skipped"),
    ],
)
def test_lines_that_are_no_records_are_skipped_and_told(path, line, what):
    write(path, foreign(), line, "", foreign(step=2))
    records, remarks = read(path)
    assert [record.step for record in records] == [1, 2]
    assert remarks == [(2, what)]


def test_a_torn_last_line_is_skipped_and_told(path):
    path.write_text(json.dumps(foreign()) + "\n" + json.dumps(foreign(step=2))[:-5])
    records, remarks = read(path)
    assert [record.step for record in records] == [1]
    assert remarks == [(2, "a torn last line: skipped")]


def test_a_last_line_without_its_line_end_is_read_where_it_is_whole(path):
    path.write_text(json.dumps(foreign()))
    assert len(read(path)[0]) == 1


def test_a_line_longer_than_any_record_is_skipped_without_being_held_in_memory(path, monkeypatch):
    monkeypatch.setattr(lines, "_LONGEST", 1 << 20)
    write(path, foreign(), '{"x": "' + "y" * (5 << 20) + '"}', foreign(step=2))
    records, remarks = read(path)
    assert [record.step for record in records] == [1, 2]
    assert remarks == [(2, "a line longer than 1 MiB: skipped")]


def test_a_byte_order_mark_and_carriage_returns_are_read(path):
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(foreign()).encode() + b"\r\n")
    assert len(read(path)[0]) == 1


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        (b"", r"jsonl: the file is empty"),
        (b"\n\n", r"jsonl: the file is empty"),
        (b"\x89PNG\0\0\0", r"jsonl: this is a binary file"),
        (b"\x80\x81\x82\n", r"jsonl:1: not JSON: skipped; and there is no record"),
        (b'{"step": 1, "metrics": {}}\n', r"jsonl:1: no field of a diagnostics record"),
        (b'{"schema": 2, "step": 1, "skipped": null}\n', r"jsonl:1: schema 2 is newer"),
    ],
)
def test_files_without_records_are_refused_politely(path, contents, told):
    path.write_bytes(contents)
    with pytest.raises(DataError, match=told) as refusal:
        read(path)
    assert "\n    " in str(refusal.value)  # what to do next


def test_a_file_whose_steps_go_back_and_forth_without_end_is_refused(path):
    write(path, *(foreign(step=-step) for step in range(1100)))
    with pytest.raises(DataError, match="more than 1000 runs"):
        read(path)


def test_a_run_folder_holds_the_file_in_one_of_two_places(tmp_path):
    with pytest.raises(DataError, match=r"this folder holds no loss_diagnostics\.jsonl"):
        find_file(tmp_path)
    within = tmp_path / "validation" / "loss_diagnostics.jsonl"
    within.parent.mkdir()
    within.touch()
    assert find_file(tmp_path) == within
    above = tmp_path / "loss_diagnostics.jsonl"
    above.touch()
    assert find_file(tmp_path) == above
    assert find_file(above) == above


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        find_file(tmp_path / "none.jsonl")
