"""A run watched while it is written, and after its end."""

import io
import json
import threading
import time

import pytest
from rich.console import Console
from simulated_runs import healthy

from coral_mtl.running.folder import RunFolder
from coral_mtl.running.watch import sparkline, view, watch
from coral_mtl.running.watched import Watched

TASKS = ("genus", "health", "cover")


def lines(count=60):
    return [json.dumps(record) + "\n" for record in healthy(0, "NashMTL", tasks=TASKS, records=count)]


@pytest.fixture
def folder(tmp_path):
    facts = {"name": "reef", "strategy": "NashMTL", "seed": 0, "total_steps": 200}
    return RunFolder.create(tmp_path / "run", "seed: 0\n", facts, ["coral-mtl", "train"])


def shown(watched, width=120):
    stream = io.StringIO()
    Console(file=stream, width=width).print(view(watched))
    return stream.getvalue()


def test_a_run_without_records_says_so(folder):
    assert "reef, NashMTL, seed 0: running" in shown(Watched(folder.path))
    assert "no record yet" in shown(Watched(folder.path))


def test_the_view_has_losses_weights_norms_conflict_and_validation(folder):
    folder.diagnostics.write_text("".join(lines()))
    folder.metrics.write_text(
        json.dumps({"step": 60, "metrics": {"tasks.genus.accuracy": 0.5, "global.loss": 3.0}}) + "\n"
    )
    text = shown(Watched(folder.path))
    records = [json.loads(line) for line in lines()]
    loss = sum(record["unweighted_losses"]["genus"] for record in records[-50:]) / 50
    row = next(line.split() for line in text.splitlines() if line.split()[:1] == ["genus"])
    assert row[1] == f"{loss:.4g}"
    assert row[3:5] == [f"{records[-1][key]['genus']:.4g}" for key in ("task_weights", "gradient_norm")]
    assert row[5:] == ["0", "%"]  # NashMTL hurts no task
    below = sum(record["gradient_cosine_similarity"]["genus_vs_health"] < 0 for record in records[-50:]) / 50
    pair = next(line for line in text.splitlines() if line.strip().startswith("genus and health"))
    assert pair.rstrip().endswith(f"{100 * below:.3g} %")
    assert "step 60 of 200" in text
    assert "validation after step 60: genus.accuracy 0.5" in text
    assert "to go" in text


def test_it_follows_the_file_as_it_grows_and_as_a_resumed_run_replaces_it(folder):
    content = lines()
    folder.diagnostics.write_text("".join(content[:20]))
    watched = Watched(folder.path)
    assert watched.step == 20
    with folder.diagnostics.open("a") as file:
        file.writelines(content[20:50])
    watched.read()
    assert (watched.step, len(watched.recent)) == (50, 50)
    other = folder.path / "other"
    other.write_text("".join(content[:30]))
    other.replace(folder.diagnostics)
    watched.read()
    assert (watched.step, len(watched.recent)) == (30, 30)


def test_skipped_steps_are_told(folder):
    records = [json.loads(line) for line in lines(30)]
    records[-2] |= {"skipped": "non-finite loss of task 'genus'", "unweighted_losses": {"genus": None}}
    folder.diagnostics.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert "1 step skipped, the last because: non-finite loss of task 'genus'" in shown(Watched(folder.path))


def test_names_cannot_act_on_the_terminal(folder):
    evil = "[bold red]x[/]\x1b[31m"
    for record in healthy(0, tasks=(evil, "b"), records=5):
        with folder.diagnostics.open("a") as file:
            file.write(json.dumps(record) + "\n")
    text = shown(Watched(folder.path))
    assert "\x1b" not in text
    assert "[bold red]x[/]\\x1b[31m" in text


def test_a_terminal_is_kept_up_to_date_until_the_run_ends(folder):
    content, stream = lines(40), io.StringIO()
    folder.diagnostics.write_text("".join(content[:10]))

    def train():
        await_words(stream, "step 10 of 200")
        with folder.diagnostics.open("a") as file:
            file.writelines(content[10:])
        await_words(stream, "step 40 of 200")
        folder.record("finished")

    training = threading.Thread(target=train)
    training.start()
    watch(folder.path, Console(file=stream, force_terminal=True, width=120, height=50), every=0.02)
    training.join()
    for words in ("step 10 of 200", "step 40 of 200", "reef, NashMTL, seed 0: finished"):
        assert words in stream.getvalue()


def await_words(stream, words):
    """Wait until the words were printed, half a minute at most, so that a broken `watch` fails and does not hang."""
    deadline = time.monotonic() + 30
    while words not in stream.getvalue() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_sparkline_goes_from_the_lowest_to_the_highest(folder):
    folder.diagnostics.write_text("".join(lines(60)))
    curves = Watched(folder.path).timeline.curves
    falling = sparkline(curves.curve(("loss", "genus")))
    assert len(falling) <= 24
    assert (falling.count("█"), falling.count("▁")) >= (1, 1)
    assert sparkline(curves.curve("nothing")) == ""
    assert set(sparkline(curves.curve("lr"))) == {"▁"}
