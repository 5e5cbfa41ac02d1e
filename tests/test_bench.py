"""Costs are those of the steps they are told of."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from coral_mtl.bench.costs import FREQUENCIES, _kinds, measure_costs
from coral_mtl.bench.memory import peak_bytes
from coral_mtl.bench.published import bars_table, engine_summary, engine_table
from coral_mtl.bench.repeated import Repeated
from coral_mtl.bench.table import costs_table
from coral_mtl.bench.timing import in_turns, unprepared
from coral_mtl.cli import app
from coral_mtl.config import load_config

CPU = torch.device("cpu")
CONFIG = """\
data: {type: OverlappingDigits, batch_size: 32, params: {train_size: 100, validation_size: 20}}
model: {type: SharedTrunk}
"""


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG)
    return path


def test_peak_counts_what_lives_at_one_time():
    kept = torch.zeros(1000)

    def run():
        first = kept + 1
        second = first * 2
        del first
        half = second.view(2, 500)[0]
        del second
        half += 1
        return torch.cat([half, half])

    assert peak_bytes(run, CPU) == 2 * 4000


def test_peak_of_a_backward_pass():
    """The result, the gradient that the pass begins with, and the one that it ends with."""
    x = torch.ones(1000, requires_grad=True)
    assert peak_bytes(lambda: (x * 2).backward(torch.ones(1000)), CPU) == 3 * 4000
    assert torch.equal(x.grad, 2 * torch.ones(1000))


def test_turns_are_counted_from_the_second_and_preparation_is_not_timed():
    done = []

    def prepare(name):
        done.append(f"prepare {name}")
        return lambda: done.append(name)

    def stopwatch(run):
        before = len(done)
        run()
        return float(len(done) - before)

    seconds = in_turns({name: lambda name=name: prepare(name) for name in "abc"}, 4, stopwatch)
    assert seconds == {name: [1.0] * 4 for name in "abc"}
    assert sorted(done) == sorted([*"abc", *(f"prepare {name}" for name in "abc")] * 5)
    assert in_turns({"run": unprepared(done.clear)}, 1, lambda run: 7.0) == {"run": [7.0]}


def parameters_after(repeated, steps):
    repeated.steps(steps)
    return [parameter.detach().clone() for parameter in repeated._trainer.model.parameters()]


def test_plain_steps_train_on_the_sum_of_the_losses(config):
    settings = load_config(config, ["optimizer.type=SGD"])
    equal, plain = Repeated(settings), Repeated(settings, plain=True)
    assert plain.samples == 32
    assert plain.tasks == ("left", "right", "ink")
    for ours, theirs in zip(parameters_after(equal, 3), parameters_after(plain, 3), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_step_takes_all_micro_batches(config):
    repeated = Repeated(load_config(config, ["trainer.gradient_accumulation_steps=3"]), plain=True)
    assert repeated.samples == 96
    repeated.steps(5)
    assert repeated._trainer.micro_step == 15


@pytest.mark.parametrize(
    ("overrides", "passes"),
    [
        (["loss.weighting_strategy.type=NashMTL"], [3, 1]),
        (["loss.weighting_strategy.type=DWA"], [1]),
        (["optimizer.use_pcgrad_wrapper=true"], [3]),
    ],
)
def test_kinds_of_steps_by_their_backward_passes(config, overrides, passes):
    settings = load_config(config, overrides)
    found = []
    for repeated in _kinds(settings):
        repeated.steps(1)
        counted = []
        first = next(repeated._trainer.model.parameters())
        first.register_hook(counted.append)
        repeated.steps(4)
        found.append(len(counted) / 4)
    assert found == passes


def test_costs(config):
    costs = measure_costs(config, [], ["NashMTL(max_norm=1),Uncertainty+PCGrad", "MoCo"], 1)
    assert [each.name for each in costs.strategies] == ["NashMTL(max_norm=1)", "Uncertainty+PCGrad", "MoCo"]
    nash, pcgrad, moco = costs.strategies
    assert moco.reuse is None
    assert moco.mean == {}
    assert moco.refresh.peak > costs.plain.peak > 0
    for each in (nash, pcgrad):
        assert list(each.mean) == list(FREQUENCIES)
        assert each.mean[10] == pytest.approx((each.refresh.milliseconds + 9 * each.reuse.milliseconds) / 10)
        assert each.refresh.peak > each.reuse.peak
    assert {layer for layer, _ in nash.rows.stored} | set(nash.rows.ghost) == {"trunk.0.0", "trunk.1.0", "trunk.3"}


def call(*arguments):
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


def test_the_command_prints_a_table_or_json(config):
    shown = call(config, "trainer.use_mixed_precision=true", "--strategies", "NashMTL", "--steps", "1")
    assert shown.exit_code == 0, shown.output
    assert "NashMTL, refresh" in shown.output
    assert "3 tasks, 32 samples a step, bfloat16, on cpu" in shown.output
    printed = call(config, "--json", "--steps", "1")
    assert printed.exit_code == 0, printed.output
    figures = json.loads(printed.output)
    assert [each["name"] for each in figures["strategies"]] == ["Equal"]
    assert figures["strategies"][0]["rows"] is None
    assert sorted(path.name for path in config.parent.iterdir()) == ["small.yaml"]


def test_the_command_refuses_what_is_wrong(config):
    for arguments, message in (
        (["--strategies", "Nash"], 'no strategy called "Nash"'),
        (["--strategies", "NashMTL(max_norm=-1)"], "max_norm"),
        (["trainer.epoch=3"], "epoch"),
    ):
        result = call(config, *arguments)
        assert result.exit_code == 2
        assert message in result.output


def test_layers_are_counted_by_reason(config):
    costs = measure_costs(config, [], ["NashMTL", "PCGrad", "Equal"], 1)
    lines = [str(part) for part in costs_table(costs).renderables[1:]]
    assert lines[-2:] == [
        "NashMTL, PCGrad: 0.2 MiB of gradients by task",
        "    3 layers (trunk.0.0 ... trunk.3) with one per task: its stored rows are cheaper",
    ]


def test_published_tables():
    times = (("plain", 10.0), ("stored", 29.0), ("auto", 28.0))
    case = {
        "net": "lenet",
        "tasks": 3,
        "backward": {name: {"min": time, "rounds": 5} for name, time in times},
        "peers": {"plain": {"min": 8.0}, "TorchJD": {"min": 40.0}},
        "peak": {"plain": 2**20, "stored": 3 * 2**20, "auto": 2**21},
    }
    bar = {"what": "reuse", "net": "lenet", "tasks": 3, "figure": 1.05, "median": 1.06, "limit": 1.04, "met": False}
    results = {
        "cases": [case],
        "clock": "CPU time",
        "date": "2026-01-01",
        "environment": {"coral-mtl": "0", "torch": "2", "threads": "1", "processor": "some"},
        "bars": [bar],
    }
    table = engine_table(results)
    assert "| lenet | 3 | 10.0 ms, 1 | 2.90, 3 | 2.80, 2 |  |  |  | 5.00 |  |  |" in table
    assert "up to 5 runs" in table
    case_of_two = {**case, "tasks": 2}
    assert engine_summary(results | {"cases": [case_of_two, case]}).splitlines()[2:4] == [
        "| lenet | 3 | 10.0 ms, 1 | 2.80, 2 |  |  | 5.00 |  |",
        "",
    ]
    assert "| reuse | lenet | 3 | 1.05 | 1.06 | 1.04 | missed |" in bars_table(results)


def test_turns_end_early():
    """Three rounds at the least, whatever they take."""
    assert in_turns({"run": unprepared(int)}, 9, lambda run: 1.0, within=0.0) == {"run": [1.0] * 3}
