"""RecordWriter: one run a file, nothing lost before a flush's end, and exact truncation."""

import json
import os

import pytest

from coral_mtl.diagnostics.writer import RecordWriter
from coral_mtl.errors import DataError


def record(step, run="r1"):
    return {"run": run, "step": step, "loss": 1 / step}


def write(path, steps, run="r1"):
    with RecordWriter(path, run) as writer:
        for step in steps:
            writer.append(record(step, run))


def steps_in(path):
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "loss_diagnostics.jsonl"


def test_records_are_buffered_until_a_flush(path):
    writer = RecordWriter(path, "r1")
    writer.append(record(1))
    assert path.read_bytes() == b""
    writer.flush()
    assert steps_in(path) == [1]
    writer.append(record(2))
    writer.close()
    assert steps_in(path) == [1, 2]


def test_a_flush_reaches_the_disk(path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    writer = RecordWriter(path, "r1")
    writer.append(record(1))
    writer.flush()
    assert synced == [path.stat().st_size]
    assert synced[0] > 0


def test_a_run_goes_on_in_its_own_file(path):
    write(path, [1, 2])
    write(path, [3])
    assert steps_in(path) == [1, 2, 3]


def test_the_file_of_another_run_is_refused_and_left_alone(path):
    write(path, [1], run="other")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"jsonl:1: this file belongs to the run 'other', not to 'r1'"):
        RecordWriter(path, "r1")
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", ["not JSON\n", "[1, 2]\n", '{"loss": 1}\n', '{"run": "r1", "step": "1"}\n'])
def test_a_file_that_no_run_wrote_is_refused(path, text):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(DataError, match="jsonl:1: this line is no record"):
        RecordWriter(path, "r1")


@pytest.mark.parametrize(("step", "kept", "dropped"), [(0, [], 5), (3, [1, 2, 3], 2), (5, [1, 2, 3, 4, 5], 0)])
def test_truncation_keeps_the_records_up_to_the_step(path, step, kept, dropped):
    write(path, [1, 2, 3, 4, 5])
    assert RecordWriter(path, "r1").truncate_after(step) == dropped
    assert steps_in(path) == kept


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_cut_off_and_the_run_goes_on_without_a_seam(path, cut):
    write(path, [1, 2, 3])
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    writer = RecordWriter(path, "r1")
    assert writer.truncate_after(3) == 1
    writer.append(record(3))
    writer.close()
    assert path.read_bytes() == whole


def test_nothing_is_appended_to_a_torn_line(path):
    write(path, [1, 2])
    path.write_bytes(path.read_bytes()[:-3])
    before = path.read_bytes()
    with pytest.raises(DataError, match="the last line is torn"):
        RecordWriter(path, "r1").append(record(3))
    assert path.read_bytes() == before


def test_the_only_line_may_be_torn(path):
    write(path, [1])
    path.write_bytes(path.read_bytes()[:7])
    assert RecordWriter(path, "r1").truncate_after(9) == 1
    assert path.read_bytes() == b""


def test_a_damaged_line_before_the_last_is_told_and_the_file_left_alone(path):
    write(path, [1, 2, 3])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0\0\0\n" + lines[2])
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"jsonl:2: this line is no record"):
        RecordWriter(path, "r1").truncate_after(1)
    assert path.read_bytes() == before


def test_a_record_of_another_run_in_the_middle_is_refused(path):
    write(path, [1, 2])
    with path.open("a") as file:
        file.write(json.dumps(record(3, "other")) + "\n")
    with pytest.raises(DataError, match=r"jsonl:3: this file belongs to the run 'other'"):
        RecordWriter(path, "r1").truncate_after(9)


def test_a_crash_during_truncation_leaves_the_old_file(path, monkeypatch):
    write(path, range(1, 2000))
    before = path.read_bytes()

    def crash(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        RecordWriter(path, "r1").truncate_after(100)
    assert path.read_bytes() == before


def test_truncation_copies_files_longer_than_its_buffer(path):
    write(path, range(1, 60_001))
    assert path.stat().st_size > 1 << 21
    assert RecordWriter(path, "r1").truncate_after(59_000) == 1000
    assert steps_in(path) == list(range(1, 59_001))


def test_a_file_that_is_not_there_has_nothing_to_truncate(path):
    assert RecordWriter(path, "r1").truncate_after(5) == 0
