"""The shipped configurations of configs/polygon, configs/perceptual and their like train, on made-up garments."""

import json
from pathlib import Path

import numpy as np
import pytest
from fashion_files import write_fashion_files

from coral_mtl.config import load_config
from coral_mtl.engine.trainer import Outcome
from coral_mtl.experiment import build_experiment
from coral_mtl.running.run import Run
from coral_mtl.study.folder import overrides_of

CONFIGS = Path(__file__).parents[2] / "configs"
SINGLE = [CONFIGS / "polygon" / "outlines.yaml", CONFIGS / "perceptual" / "backbone.yaml"]
COMPARED = [
    CONFIGS / "polygon" / "weighting.yaml",
    CONFIGS / "perceptual" / "judge.yaml",
    CONFIGS / "schedules" / "restarts.yaml",
]
BAPPS = CONFIGS / "perceptual" / "bapps.yaml"
VARIANTS = [(path, name) for path in COMPARED for name in load_config(path, compare=True).compare.variants]
SMALL = [
    *("data.params.train_size=16", "data.params.validation_size=8", "data.batch_size=4"),
    *("trainer.device=cpu", "trainer.val_frequency=1"),
]


@pytest.fixture(scope="session")
def fashion(tmp_path_factory):
    return write_fashion_files(tmp_path_factory.mktemp("fashion"))


@pytest.fixture(scope="session")
def backbone(fashion, tmp_path_factory):
    return trained(SINGLE[1], tmp_path_factory.mktemp("runs") / "backbone", fashion).checkpoints / "best.pt"


def trained(path, folder, fashion, *overrides):
    """The folder of a small run."""
    own = [f"data.params.path={json.dumps(str(fashion))}", f"trainer.output_dir={json.dumps(str(folder))}"]
    run = Run.create(build_experiment(load_config(path, [*SMALL, *own, *overrides])), command=["test"])
    assert run.train() is Outcome.FINISHED
    return run.folder


def test_every_shipped_configuration_has_its_test():
    shipped = {*(CONFIGS / "polygon").glob("*.yaml"), *(CONFIGS / "perceptual").glob("*.yaml")}
    assert shipped <= {*SINGLE, *COMPARED, BAPPS}


def test_outlines(tmp_path, fashion):
    folder = trained(SINGLE[0], tmp_path / "run", fashion)
    last = json.loads(folder.metrics.read_text().splitlines()[-1])["metrics"]
    assert 0.0 < last["tasks.outline.iou"] < 1.0
    record = json.loads(folder.diagnostics.read_text().splitlines()[0])
    assert record["task_weights"] == {"l2": 0.2, "mgiou": 0.8}
    assert set(record["gradient_norm"]) == {"l2", "mgiou"}


def test_judgements_of_people(tmp_path):
    load_config(BAPPS)  # as it is, where there are no data
    write_judgements(tmp_path / "2afc", train=["traditional", "cnn"], val=["cnn", "superres"])
    own = [f"data.params.path={tmp_path / '2afc'}", "data.params.train=[traditional,cnn]", "data.num_workers=0"]
    own += ["data.params.validation=[cnn,superres]", "data.params.size=32", "data.batch_size=4", "trainer.epochs=2"]
    config = load_config(BAPPS, [*own, "trainer.device=cpu", f"trainer.output_dir={tmp_path / 'run'}"])
    run = Run.create(build_experiment(config), command=["test"])
    assert run.train() is Outcome.FINISHED
    last = json.loads(run.folder.metrics.read_text().splitlines()[-1])["metrics"]
    assert 0.0 <= last["tasks.judge.score"] <= last["tasks.judge.oracle"]
    (violations,) = json.loads(run.folder.diagnostics.read_text().splitlines()[0])["constraints"].values()
    assert {each["violation"] for each in violations.values()} == {0.0}


def write_judgements(root, **distortions):
    """A made-up tree of BAPPS, with four triplets of noise for each distortion."""
    draw = np.random.default_rng(0)
    for folder in (root / split / name for split, names in distortions.items() for name in names):
        for role in ("ref", "p0", "p1", "judge"):
            (folder / role).mkdir(parents=True)
        for number in range(4):
            for role in ("ref", "p0", "p1"):
                np.save(folder / role / f"{number:06}.npy", draw.integers(256, size=(40, 40, 3), dtype=np.uint8))
            np.save(folder / "judge" / f"{number:06}.npy", np.array([number % 3 / 2], dtype=np.float32))


@pytest.mark.parametrize(("path", "name"), VARIANTS, ids=[name for _, name in VARIANTS])
def test_variant(path, name, tmp_path, fashion, request):
    settings = load_config(path, compare=True).compare.variants[name]
    own = [*overrides_of(settings), "compare=null"]
    if path.stem == "judge" and "model.params.backbone" not in settings:
        own.append(f"model.params.backbone={json.dumps(str(request.getfixturevalue('backbone')))}")
    if path.stem != "restarts":
        own.append("trainer.epochs=2")
    folder = trained(path, tmp_path / "run", fashion, *own)
    assert folder.metrics.read_text()
