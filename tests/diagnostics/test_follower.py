"""A diagnostics file that grows while it is read."""

import json

from simulated_runs import healthy

from coral_mtl.diagnostics.follower import Follower

RECORDS = [json.dumps(record) for record in healthy(0, tasks=("a", "b"), records=40)]


def steps(found):
    return [record.step for record in found[1]]


def test_each_record_comes_once_and_only_when_it_is_whole(tmp_path):
    path = tmp_path / "x.jsonl"
    follower = Follower(path)
    assert follower.new() == (False, [])
    with path.open("w") as file:
        file.write("\n".join(RECORDS[:3]) + "\n" + RECORDS[3][:50])
        file.flush()
        assert steps(follower.new()) == [1, 2, 3]
        assert steps(follower.new()) == []
        file.write(RECORDS[3][50:])
        file.flush()
        assert steps(follower.new()) == []
        file.write("\nnot JSON\n" + RECORDS[4] + "\n")
    assert steps(follower.new()) == [4, 5]


def test_a_file_that_is_begun_anew_is_read_anew(tmp_path):
    path, other = tmp_path / "x.jsonl", tmp_path / "y.jsonl"
    path.write_text("\n".join(RECORDS[:10]) + "\n")
    follower = Follower(path)
    assert len(follower.new()[1]) == 10
    other.write_text("\n".join(RECORDS[:4]) + "\n")  # as a resumed run replaces it, records after its checkpoint gone
    other.replace(path)
    anew, records = follower.new()
    assert (anew, len(records)) == (True, 4)
    path.write_text(RECORDS[0] + "\n")
    anew, records = follower.new()
    assert (anew, len(records)) == (True, 1)


def test_of_a_large_file_only_the_end_is_read(tmp_path):
    path = tmp_path / "x.jsonl"
    filler = json.dumps({"note": "x" * 1000}) + "\n"
    path.write_text(RECORDS[0] + "\n" + filler * 9000 + "\n".join(RECORDS[1:5]) + "\n")
    assert steps(Follower(path).new()) == [2, 3, 4, 5]
