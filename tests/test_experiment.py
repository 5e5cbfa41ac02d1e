import math
from pathlib import Path

import pytest
import torch

from coral_mtl import registry
from coral_mtl.config import ConfigErrors, load_config
from coral_mtl.engine.stack import Stack
from coral_mtl.engine.wrappers import ClippedDirection, WeightAveraging
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


def test_data_whose_seed_is_null_follow_the_seed_of_the_run():
    shipped = Path(__file__).parents[1] / "configs" / "constraints" / "modes.yaml"

    def problem(*overrides):
        return build_experiment(load_config(shipped, ["compare=null", *overrides])).data.train[0][0]

    first = problem("seed=1")
    assert torch.equal(problem("seed=2", "data.params.seed=1"), first)
    assert not torch.equal(problem("seed=2"), first)


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


def test_layers_and_wrappers_come_from_the_strategys_block(build):
    block = "loss.weighting_strategy."
    experiment = build(
        block + "type=NashMTL",
        block + "over={type: uncertainty, params: {initial_log_variance: 1.0}}",
        block + "weight_averaging=0.5",
        block + "clip_direction=2.0",
        block + "rows=stored",
        block + "row_type=bfloat16",
    )
    clipped = experiment.engine.strategy
    assert isinstance(clipped, ClippedDirection)
    assert isinstance(clipped.strategy, WeightAveraging)
    stack = clipped.strategy.strategy
    assert isinstance(stack, Stack)
    assert [type(part).__name__ for part in (stack.weighting, stack.strategy)] == ["Uncertainty", "NashMTL"]
    assert (clipped.max_norm, clipped.strategy.momentum, stack.weighting.initial) == (2.0, 0.5, 1.0)
    assert experiment.strategy_name == "Uncertainty+NashMTL"
    experiment.trainer().fit()


@pytest.mark.parametrize("accumulation", [1, 3])
def test_gradients_are_compared_on_features_where_asked_to(build, accumulation):
    seen = []

    class Watch:
        def on_step(self, report):
            seen.append(report.account.space)

        def on_validation(self, report): ...
        def on_save(self): ...

    experiment = build(
        "loss.weighting_strategy={type: MGDA, gram_on: features}",
        f"trainer.gradient_accumulation_steps={accumulation}",
    )
    experiment.trainer(observers=[Watch()]).fit()
    assert set(seen) == {"features"}


def test_a_model_without_features_is_refused_where_they_are_needed(build):
    experiment = build("loss.weighting_strategy={type: MGDA, gram_on: features}")
    experiment.model.represent = None
    experiment.model.__class__ = torch.nn.Module
    with pytest.raises(ConfigError, match="does not show its shared features"):
        experiment.trainer()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("{type: NashMTL, over: {type: MGDA}}", "MGDA is a gradient strategy, and NashMTL over it would undo"),
        ("{type: Uncertainty, over: {type: DWA}}", "Uncertainty is a loss weighting itself"),
        ("{type: GradDrop, over: {type: DWA}}", "GradDrop works on the gradients' coordinates"),
        ("{type: NashMTL, over: {type: Static, params: {weights: {left: 1, wrong: 2}}}}", 'no task is called "wrong"'),
        ("{type: Uncertainty, gram_on: features}", "Uncertainty does not look at gradients"),
        ("{type: MGDA, gram_on: features, rows: ghost}", "no gradients of parameters by task"),
        ("{type: MGDA, weight_averaging: 1.0}", "less than 1"),
        ("{type: MGDA, clip_direction: 0}", "greater than 0"),
    ],
)
def test_layers_that_cannot_be_are_told(build, override, message):
    with pytest.raises(ConfigErrors, match=message):
        build(f"loss.weighting_strategy={override}")


def test_devices_that_are_not_here_are_refused():
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="no device 'cuda:63'"):
        choose_device("cuda:63")


@pytest.mark.parametrize(
    ("block", "generators"),
    [
        ("{type: Random}", lambda s: [s]),
        ("{type: Random, params: {seed: null}}", lambda s: [s]),
        ("{type: PCGrad, over: {type: Random}}", lambda s: [s.strategy, s.weighting]),
        ("{type: Equal, times: {type: Random}}", lambda s: [s.parts["second"]]),
    ],
)
def test_randomness_of_a_strategy_follows_the_seed_of_the_run(build, block, generators):
    def seeds(*overrides):
        strategy = build(f"loss.weighting_strategy={block}", *overrides).engine.strategy
        return [part.seed for part in generators(strategy)]

    assert set(seeds("seed=7")) == {7}
    assert set(seeds("seed=8")) == {8}


def test_a_seed_of_its_own_wins(build):
    block = "loss.weighting_strategy={type: Random, params: {seed: 3}}"
    assert build(block, "seed=7").engine.strategy.seed == 3
    wrapped = build("optimizer.use_pcgrad_wrapper=true", "loss.weighting_strategy={type: Equal}", "seed=7")
    assert wrapped.engine.strategy.strategy.seed == 7


class Unusual(torch.nn.Module):
    """A trunk that it freezes itself, and two heads that share one weight."""

    def __init__(self, input_shape, tasks, *, width: int = 8):
        """Set the size.

        Args:
            width: of the trunk (default 8).
        """
        super().__init__()
        self.trunk = torch.nn.Sequential(torch.nn.Linear(math.prod(input_shape), width), torch.nn.BatchNorm1d(width))
        self.trunk.requires_grad_(False)
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(width, task.size) for name, task in tasks.items()})
        self.heads["right"].weight = self.heads["left"].weight

    def forward(self, inputs):
        shared = self.trunk(inputs.flatten(1)).tanh()
        return {name: head(shared) for name, head in self.heads.items()}


@pytest.fixture
def unusual(build, monkeypatch):
    registry.models.names()
    for table in ("_classes", "_names"):
        monkeypatch.setattr(registry.models, table, dict(getattr(registry.models, table)))
    registry.models.register(Unusual)
    return lambda *overrides: build("model={type: Unusual}", *overrides)


def test_what_a_model_freezes_itself_stands_still(unusual):
    experiment = unusual()
    before = {name: tensor.clone() for name, tensor in experiment.model.trunk.state_dict().items()}
    experiment.trainer().fit()
    assert all(torch.equal(before[name], tensor) for name, tensor in experiment.model.trunk.state_dict().items())
    thawed = unusual("parameters=[{pattern: trunk.*, frozen: false}]")
    thawed.trainer().fit()
    assert not torch.equal(thawed.model.trunk[0].weight, before["0.weight"])
    assert thawed.model.trunk[1].num_batches_tracked > 0


@pytest.mark.parametrize("name", ["left", "right"])
def test_tied_weights_are_trained_and_meant_by_each_of_their_names(unusual, name):
    experiment = unusual(f"parameters=[{{pattern: heads.{name}.weight, lr_factor: 0.5}}]")
    group = next(g for g in experiment.optimizer.optimizer.param_groups if "heads.left.weight" in g["names"])
    assert group["lr"] == pytest.approx(0.5 * experiment.config.optimizer.params["lr"] * experiment.optimizer.factor(0))
    before = experiment.model.heads["left"].weight.detach().clone()
    experiment.trainer().fit()
    assert not torch.equal(experiment.model.heads["left"].weight, before)
    assert experiment.model.heads["right"].weight is experiment.model.heads["left"].weight
