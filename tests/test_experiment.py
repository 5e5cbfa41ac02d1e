import pytest
import torch

from coral_mtl.config import load_config
from coral_mtl.engine.strategy import Stack
from coral_mtl.errors import ConfigError
from coral_mtl.experiment import build_experiment, choose_device, strategy_name

YAML = """
data: {type: OverlappingDigits, params: {train_size: 50, validation_size: 20}, batch_size: 4}
model: {type: SharedTrunk, params: {width: 2, features: 8}}
loss: {weighting_strategy: {type: Uncertainty}}
trainer: {epochs: 3, device: cpu}
"""


@pytest.fixture
def build(tmp_path):
    (tmp_path / "small.yaml").write_text(YAML)
    return lambda *overrides: build_experiment(load_config(tmp_path / "small.yaml", overrides))


def weights(experiment):
    return torch.cat([parameter.detach().reshape(-1) for parameter in experiment.model.parameters()])


def test_the_seed_decides_the_first_weights_whatever_was_drawn_before(build):
    first = weights(build("seed=1"))
    torch.randn(100)
    assert torch.equal(weights(build("seed=1")), first)
    assert not torch.equal(weights(build("seed=2")), first)


@pytest.mark.parametrize(("accumulation", "steps"), [(1, 13), (3, 5), (13, 1), (100, 1)])
def test_optimiser_steps_are_counted_by_windows(build, accumulation, steps):
    experiment = build(f"trainer.gradient_accumulation_steps={accumulation}")
    assert experiment.total_steps == 3 * steps
    trainer = experiment.trainer()
    trainer.fit()
    assert trainer.step == experiment.total_steps


def test_learned_weights_are_the_optimisers_without_weight_decay(build):
    experiment = build()
    learned = experiment.engine.strategy.parameters()
    groups = [g for g in experiment.optimizer.optimizer.param_groups if any(p is learned[0] for p in g["params"])]
    assert [group["weight_decay"] for group in groups] == [0.0]
    before = [parameter.detach().clone() for parameter in learned]
    experiment.trainer().fit()
    assert all(not torch.equal(one, other) for one, other in zip(before, learned, strict=True))


def test_the_wrapper_stacks_pcgrad_on_the_weighting(build):
    experiment = build("optimizer.use_pcgrad_wrapper=true")
    assert isinstance(experiment.engine.strategy, Stack)
    assert strategy_name(experiment.config) == experiment.strategy_name == "Uncertainty+PCGrad"
    assert strategy_name(build("loss.weighting_strategy.type=nash_mtl").config) == "NashMTL"


def test_devices_that_are_not_here_are_refused():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="no device 'cuda:63'"):
        choose_device("cuda:63")
