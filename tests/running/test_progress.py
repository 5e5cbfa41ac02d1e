"""What a run shows of itself, on a terminal and in a pipe."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from coral_mtl.config import load_config
from coral_mtl.engine.reports import Observer
from coral_mtl.experiment import build_experiment
from coral_mtl.running.progress import cost, describe, memory, progress_on

YAML = """
data: {type: OverlappingDigits, params: {train_size: 60, validation_size: 20}, batch_size: 2}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
trainer: {epochs: 2, device: cpu}
"""


def experiment(tmp_path, *overrides):
    (tmp_path / "shown.yaml").write_text(YAML)
    return build_experiment(load_config(tmp_path / "shown.yaml", overrides))


def shown(built, *, terminal):
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=200)
    with progress_on(console, built) as observers:
        built.trainer(observers=observers).fit()
    return stream.getvalue()


def test_a_pipe_gets_plain_lines_every_so_many_steps(tmp_path):
    lines = shown(experiment(tmp_path), terminal=False).splitlines()
    assert lines[0] == "shown: left (classification), right (classification), ink (regression)"
    assert lines[4].startswith("memory: ")
    assert [line.split("  ")[0] for line in lines[5:]] == ["epoch 1/2", "step 50/60", "epoch 2/2"]
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_a_bar_that_goes_away(tmp_path):
    text = shown(experiment(tmp_path), terminal=True)
    assert "60/60" in text
    assert "epoch 2/2" in text
    assert "step 50/60" not in text


def test_a_validation_is_told_by_the_metrics_that_there_are(tmp_path):
    assert "  global.score " in shown(experiment(tmp_path), terminal=False)
    shipped = Path(__file__).parents[2] / "configs" / "constraints" / "modes.yaml"
    without_global = build_experiment(load_config(shipped, ["compare=null", "data.params.train_size=5"]))
    assert "epoch 1/1  votes.gap " in shown(without_global, terminal=False)


def test_parameters_are_counted_by_owner(tmp_path):
    built = experiment(tmp_path)
    built.trainer().fit()
    sizes = {name: parameter.numel() for name, parameter in built.model.named_parameters()}
    trunk = sum(size for name, size in sizes.items() if name.startswith("trunk."))
    assert describe(built)[1] == f"parameters: {trunk:,} shared; 90 of left, 90 of right, 9 of ink"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ([], "one backward pass a batch (3 at one step in 50, for the diagnostics)"),
        (["loss.weighting_strategy.type=NashMTL"], "3 backward passes a batch"),
        (
            ["loss.weighting_strategy={type: NashMTL, params: {update_frequency: 10}}"],
            "3 backward passes a batch at one step in 10, one at the others",
        ),
        (
            ["loss.weighting_strategy.type=SI", "trainer.gradient_accumulation_steps=2"],
            "3 backward passes a batch",
        ),
    ],
    ids=["known", "gram", "reused", "losses accumulated"],
)
def test_the_cost_is_told(tmp_path, overrides, words):
    assert cost(experiment(tmp_path, *overrides)) == words


def test_skipped_steps_are_told_at_once(tmp_path):
    text = shown(experiment(tmp_path, "data.params.ink_scale=1e30", "trainer.max_nonfinite_steps=1000"), terminal=False)
    assert text.count("skipped: non-finite loss of task 'ink'") == 60


def test_memory_is_that_of_activations_and_of_rows(tmp_path):
    built = experiment(tmp_path, "model.params.width=4")
    seen = []

    class Watch(Observer):
        def on_step(self, report):
            seen.append(report)

    built.trainer(observers=[Watch()]).fit()
    sizes = {name: parameter.numel() for name, parameter in built.model.named_parameters()}
    trunk = sum(size for name, size in sizes.items() if name.startswith("trunk."))
    inputs = next(iter(built.data.train))[0].numel() * 2 * 4
    assert seen[0].saved_bytes == seen[-1].saved_bytes > inputs
    rows = f"{3 * trunk * 4 / 1024:.1f} KiB of gradients by task where they are measured (rows: auto)"
    assert memory(built, 3 * 2**20) == f"memory: 3.0 MiB kept by each forward pass; {rows}"
    features = experiment(tmp_path, "loss.weighting_strategy={type: MGDA, gram_on: features}")
    assert memory(features, None) == "memory: as plain training (gram_on: features)"
