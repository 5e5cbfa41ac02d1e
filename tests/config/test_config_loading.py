import subprocess
import sys
from pathlib import Path

import pytest

from coral_mtl.config import Config, dump_config, load_config
from coral_mtl.options import options_of
from coral_mtl.registry import strategies

BASE = "data: {type: OverlappingDigits}\nmodel: {type: SharedTrunk}\n"

SNIPPETS = {
    "uncertainty": """
loss:
  type: "CompositeHierarchical"
  weighting_strategy:
    type: "Uncertainty"
""",
    "nash": """
loss:
  type: "CompositeHierarchical"
  weighting_strategy:
    type: "NashMTL"
    params:
      solver: "ccp"          # or "iterative" / "auto"
      update_frequency: 10    # reuse weights every 10 steps
      max_norm: 0.0           # optional gradient clipping
""",
    "imgrad": """
loss:
  type: "CompositeHierarchical"
  weighting_strategy:
    type: "IMGrad"
    params:
      solver: "qp"           # or "pgd" / "auto"
""",
    "stacked": """
loss:
  type: "CompositeHierarchical"
  weighting_strategy:
    type: "Uncertainty"
optimizer:
  type: "AdamWPolyDecay"
  use_pcgrad_wrapper: true
  params:
    lr: 6.0e-5
    weight_decay: 0.01
    adam_betas: [0.9, 0.999]
    warmup_ratio: 0.1
    power: 1.0
""",
}


def test_defaults(write):
    config = load_config(write(BASE, "deep/my.reef.yaml"))
    assert config.name == "my.reef"
    assert config.seed == 0
    assert config.loss.type == "CompositeHierarchical"
    assert config.loss.weighting_strategy.type == "Equal"
    assert config.optimizer.type == "AdamWPolyDecay"
    assert config.trainer.epochs == 10
    assert config.trainer.early_stopping is None
    assert config.trainer.output_dir is None
    assert config.diagnostics.record_every == 1


def test_the_snippets_of_the_specification_are_read(write):
    configs = {name: load_config(write(BASE + snippet)) for name, snippet in SNIPPETS.items()}
    strategies_of = {name: config.loss.weighting_strategy for name, config in configs.items()}
    assert {name: strategy.type for name, strategy in strategies_of.items()} == {
        "uncertainty": "Uncertainty",
        "nash": "NashMTL",
        "imgrad": "IMGrad",
        "stacked": "Uncertainty",
    }
    nash = {"solver": "ccp", "update_frequency": 10, "max_norm": 0.0}
    assert strategies_of["nash"].params | nash == strategies_of["nash"].params
    assert strategies_of["imgrad"].params["solver"] == "qp"
    assert [config.optimizer.use_pcgrad_wrapper for config in configs.values()] == [False, False, False, True]
    assert [config.optimizer.params["lr"] for config in configs.values()] == [1e-3, 1e-3, 1e-3, 6e-5]
    assert configs["stacked"].optimizer.params["adam_betas"] == (0.9, 0.999)


@pytest.mark.parametrize("name", ["PCGrad", "pcgrad", "PC_Grad", "pc-grad", "PCGRAD", "_p-c_grad_"])
def test_names_match_whatever_their_case_and_dashes(write, name):
    config = load_config(write(BASE + f"loss: {{weighting_strategy: {{type: {name}}}}}\n"))
    assert config.loss.weighting_strategy.type == "PCGrad"


def test_params_are_what_the_class_is_built_with(write):
    config = load_config(write(BASE + "loss: {weighting_strategy: {type: DWA, params: {window: 7}}}\n"))
    strategy = config.loss.weighting_strategy.build()
    assert (strategy.window, strategy.temperature) == (7, 2.0)


def test_the_settings_cannot_be_changed(write):
    with pytest.raises(ValueError, match="frozen"):
        load_config(write(BASE)).trainer.epochs = 3


def reloaded(config: Config) -> Config:
    path = Path("somewhere/else/config.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dump_config(config), encoding="utf-8")
    return load_config(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: 'on'\nseed: 7\n",
        "name: résumé 6e-5\n",
        "trainer: {output_dir: ../runs/x, max_grad_norm: 1e-30, device: cpu}\n",
        "trainer: {early_stopping: {patience: 2}, metric_mode: min, model_selection_metric: global.loss}\n",
        "trainer: {val_frequency: 40}\n",
        "trainer: {nonfinite: raise}\n",
        "trainer: {use_mixed_precision: true, mixed_precision_dtype: float16, nonfinite: raise}\n",
        "optimizer: {use_pcgrad_wrapper: true, params: {lr: 6.0e-5, adam_betas: [0, 0.5]}}\n",
        "optimizer: {type: sgd, params: {momentum: 0.9}}\n",
        "loss: {weighting_strategy: {type: Static, params: {weights: {left: 1, right: 2.5, ink: 0}}}}\n",
        "loss: {weighting_strategy: {type: Uncertainty, params: {loss_kind: {left: classification, "
        "right: classification, ink: regression}}}}\n",
        "loss: {weighting_strategy: {type: STCH, params: {'on': losses, preference: {left: 1, right: 2, ink: 3}}}}\n",
    ],
)
def test_a_written_configuration_reads_back_equal(write, text):
    config = load_config(write(BASE + text))
    assert reloaded(config) == config


def buildable_by_name() -> list[str]:
    """The package's strategies none of whose options must be given."""
    known = {name: strategies.get(name) for name in strategies.names()}
    return [
        name
        for name, cls in known.items()
        if cls.__module__.startswith("coral_mtl.") and all(o.default is not ... for o in options_of(cls).values())
    ]


@pytest.mark.parametrize("name", buildable_by_name())
def test_a_written_configuration_of_every_strategy_reads_back_equal(write, name):
    config = load_config(write(BASE), [f"loss.weighting_strategy.type={name}"])
    assert config.loss.weighting_strategy.type == name
    assert reloaded(config) == config
    assert load_config(write(BASE), [f"loss.weighting_strategy.type={name.lower()}"]) == config


def test_what_is_written_is_complete(write):
    text = dump_config(load_config(write(BASE)))
    for line in ("warmup_ratio: 0.1", "adam_betas: [0.9, 0.999]", "seed: 0", "output_dir: null", "reduction: sum"):
        assert line in text
    assert "mixed_precision_dtype" not in text  # has no effect, and reading it back would say so


def test_reading_creates_nothing(write):
    path = write(BASE + "trainer: {output_dir: runs/here}\n")
    load_config(path)
    assert list(Path().rglob("*")) == [path]


def test_importing_the_configuration_room_does_not_import_torch():
    script = "import sys, coral_mtl.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
