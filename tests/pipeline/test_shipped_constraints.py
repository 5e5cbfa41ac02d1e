"""The shipped comparison of configs/constraints trains in every variant, and projection finds the optimum."""

import json
from pathlib import Path

import pytest

from coral_mtl.config import load_config
from coral_mtl.engine.trainer import Outcome
from coral_mtl.experiment import build_experiment
from coral_mtl.running.run import Run
from coral_mtl.study.folder import overrides_of

FOLDER = Path(__file__).parents[2] / "configs" / "constraints"
MODES = FOLDER / "modes.yaml"
VARIANTS = load_config(MODES, compare=True).compare.variants


def figures(folder, variant, *overrides):
    """The gap, the violation and the number of exact zeros at the end of a variant's run."""
    own = ["compare=null", *overrides_of(VARIANTS[variant]), f"trainer.output_dir={json.dumps(str(folder))}"]
    run = Run.create(build_experiment(load_config(MODES, [*own, *overrides])), command=["test"])
    assert run.train() is Outcome.FINISHED
    last = json.loads(run.folder.metrics.read_text().splitlines()[-1])["metrics"]
    return [last[f"tasks.votes.{name}"] for name in ("gap", "violation", "zeros")]


def test_every_shipped_configuration_has_its_test():
    assert [*FOLDER.glob("*.yaml")] == [MODES]


@pytest.mark.parametrize("seed", [0, 1])
def test_projection_finds_the_optimum_and_all_its_zeros(seed, tmp_path):
    gap, violation, zeros = figures(tmp_path / "run", "projected", f"seed={seed}")
    assert abs(gap) <= 1e-6
    assert (violation, zeros) == (0.0, 63.0)


@pytest.mark.parametrize("variant", sorted({*VARIANTS} - {"projected"}))
def test_the_other_variants_reach_no_zeros(variant, tmp_path):
    gap, violation, zeros = figures(tmp_path / "run", variant, "data.params.train_size=200")
    assert gap > 0.0
    assert (violation > 0.0) == (variant not in ("reparametrised", "log barrier"))
    assert zeros == 0.0
