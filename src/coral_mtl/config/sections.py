"""Every key of a configuration, with its type, range, default and meaning.

A section with `type` and `params` is a block: the type is a name of its registry, and the params are the options of the
class of that name, checked in blocks.py. The help texts here are what CONFIGS_README.md and editors show.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, StringConstraints

from coral_mtl import registry as registries
from coral_mtl.config.bases import Block, Section
from coral_mtl.config.compare import Compare
from coral_mtl.config.course import EarlyStopping, Plateau, Stage
from coral_mtl.config.restraints import Constraint, ParameterRule, Regulariser
from coral_mtl.config.study import Study
from coral_mtl.documents.places import Places
from coral_mtl.options import NonNegativeInt, OpenFraction, Positive, PositiveInt
from coral_mtl.schedules import AnySchedule, NonNegativeSchedule


class Data(Block):
    """What to train and validate on."""

    registry = registries.data

    type: str = Field(description="Name of a data set; case, `_` and `-` do not count, as in every `type`.")
    batch_size: PositiveInt = Field(default=64, description="Samples in a batch.")
    num_workers: NonNegativeInt = Field(
        default=0, description="Processes that load batches; 0 loads in the training process."
    )


class Augmentations(Block):
    """Random changes of the training items, for data sets that take them."""

    registry = registries.augmentations

    type: str = Field(default="Augmentations", description="Name of a set of augmentations.")


class Model(Block):
    """The network: a trunk that tasks share, and a head for each."""

    registry = registries.models

    type: str = Field(description="Name of a model.")


class Factor(Block):
    """A second loss weighting, whose weights multiply the first one's; both look at the losses as they are."""

    registry = registries.strategies

    type: str = Field(description="Name of a loss weighting, see `coral-mtl strategies list`.")


class LossWeighting(Block):
    """A loss weighting underneath a gradient strategy, which then balances the gradients of the weighted losses."""

    registry = registries.strategies

    type: str = Field(description="Name of a loss weighting, see `coral-mtl strategies list`.")
    times: Factor | None = Field(default=None, description="Loss weighting that multiplies this one; null for none.")


class WeightingStrategy(Block):
    """How the tasks' losses or gradients are balanced."""

    registry = registries.strategies

    type: str = Field(default="Equal", description="Name of a strategy, see `coral-mtl strategies list`.")
    over: LossWeighting | None = Field(
        default=None, description="Loss weighting underneath a gradient strategy; null balances the plain losses."
    )
    times: Factor | None = Field(
        default=None, description="Loss weighting whose weights multiply this one's; null for none."
    )
    weight_averaging: OpenFraction | None = Field(
        default=None, description="Momentum of a moving average of the coefficients (CR-MOGM); null does not average."
    )
    clip_direction: Positive | None = Field(
        default=None, description="Longest direction on the shared parameters; null does not clip it."
    )
    gram_on: Literal["parameters", "features"] = Field(
        default="parameters",
        description="Where gradients are compared: on the shared `parameters`, or on the trunk's `features`, which "
        "costs one backward of the trunk instead of one per task.",
    )
    rows: Literal["auto", "stored", "ghost"] = Field(
        default="auto",
        description="Keep a gradient per task of every layer (`stored`), of those where that is cheapest (`auto`), or "
        "of as few as possible (`ghost`); the result is the same.",
    )
    row_type: Literal["bfloat16"] | None = Field(
        default=None, description="Type in which the tasks' gradients are kept; null keeps them as they are."
    )


class Loss(Block):
    """Predictions to one loss term per task, and how the terms are balanced."""

    registry = registries.losses

    type: str = Field(default="CompositeHierarchical", description="Name of a loss.")
    weighting_strategy: WeightingStrategy = Field(
        default_factory=WeightingStrategy, description="How the tasks are balanced."
    )
    balance: Literal["tasks", "terms"] = Field(
        default="tasks",
        description="What the strategy balances, where a loss has several terms for a task: the `tasks`, each the sum "
        "of its terms, or the `terms` themselves.",
    )
    term_weights: dict[str, NonNegativeSchedule] | None = Field(
        default=None,
        description="With `balance: tasks`, weight of a term within its task, by name, fixed or over time; 1 for those "
        "not named. A term is not evaluated while its weight is 0.",
    )


class Optimizer(Block):
    """How the balanced gradient moves the parameters."""

    registry = registries.optimizers

    type: str = Field(default="AdamWPolyDecay", description="Name of an optimiser.")
    use_pcgrad_wrapper: bool = Field(
        default=False, description="Put PCGrad on the gradients of the weighted losses; for loss weightings only."
    )
    schedule: AnySchedule | None = Field(
        default=None,
        description="Factor on all learning rates over time, by optimiser steps; null leaves it to the type, which "
        "for most keeps them constant.",
    )
    plateau: Plateau | None = Field(
        default=None, description="Lower learning rates where a metric stops getting better; null does not."
    )


class Metrics(Block):
    """What is measured on the validation data."""

    registry = registries.metrics

    type: str = Field(default="MetricSet", description="Name of a set of metrics.")


class Evaluator(Block):
    """How the model is given the images of a validation, and of `coral-mtl evaluate`."""

    registry = registries.inference

    type: str = Field(default="WholeImage", description="Name of a way to predict.")
    batch_size: PositiveInt | None = Field(
        default=None, description="Validation samples in a batch; null takes `data.batch_size`."
    )


class Trainer(Section):
    """The training loop."""

    epochs: PositiveInt = Field(default=10, description="Passes over the training data.")
    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$")] = Field(
        default="auto", description="`auto` (a GPU if there is one), `cpu`, `mps`, `cuda` or `cuda:<number>`."
    )
    use_mixed_precision: bool = Field(
        default=False, description="Compute the forward passes in `mixed_precision_dtype`."
    )
    mixed_precision_dtype: Literal["bfloat16", "float16"] = Field(
        default="bfloat16",
        description="Type of the forward passes in mixed precision; `float16` uses a gradient scaler.",
    )
    gradient_accumulation_steps: PositiveInt = Field(
        default=1,
        description="Batches per optimiser step; the result is that of one batch so many times as large, where the loss"
        " is a mean over samples (not Dice, nor where some labels are missing).",
    )
    max_grad_norm: Positive | None = Field(
        default=None, description="Clip the norm of the whole gradient to this; null does not clip."
    )
    nonfinite: Literal["skip", "raise", "drop"] = Field(
        default="skip",
        description="At a loss or gradient that is not finite: `skip` the step, `raise` an error, or `drop` the task "
        "from the step.",
    )
    max_nonfinite_steps: PositiveInt = Field(
        default=20,
        description="The run fails after this many steps in a row with a loss or gradient that is not finite.",
    )
    val_frequency: PositiveInt = Field(
        default=1, description="Epochs from one validation to the next; the end of the run is validated always."
    )
    model_selection_metric: str = Field(
        default="global.score",
        description="Validation metric that picks the best checkpoint, such as `tasks.<task>.accuracy`.",
    )
    metric_mode: Literal["max", "min"] = Field(
        default="max", description="Whether larger or smaller values of it are better."
    )
    early_stopping: EarlyStopping | None = Field(default=None, description="When to stop early; null never does.")
    snapshots: list[PositiveInt] = Field(
        default_factory=list,
        description="Epochs after which the weights are kept, such as the ends of a learning rate's cycles; the last "
        "validation then also tells what their mean prediction is worth, that of the last weights included, as "
        "`ensemble.<metric>`.",
    )
    stages: list[Stage] = Field(default_factory=list, description="What happens at certain times of the run, in order.")
    checkpoint_every: PositiveInt = Field(
        default=200,
        description="Optimiser steps from one saved checkpoint to the next; the end of an epoch is saved always.",
    )
    deterministic: bool = Field(
        default=True, description="Use deterministic algorithms: equal seeds give equal results."
    )
    output_dir: Path | None = Field(
        default=None, description="The run's folder; null makes `runs/<name>/<date>_<strategy>_s<seed>`."
    )


class Diagnostics(Section):
    """What is written to loss_diagnostics.jsonl."""

    record_every: PositiveInt = Field(default=1, description="Optimiser steps from one record to the next.")
    gradient_every: PositiveInt = Field(
        default=50,
        description="Optimiser steps from one measurement of the tasks' gradients to the next, at steps whose strategy "
        "does not look at gradients.",
    )


class WandB(Section):
    """Weights & Biases."""

    project: str | None = Field(default=None, description="Its project; null takes the experiment's name.")
    mode: Literal["online", "offline"] = Field(
        default="online", description="`offline` writes to the run's folder, for `wandb sync` to send later."
    )


class MLflow(Section):
    """MLflow."""

    tracking_uri: str | None = Field(
        default=None,
        description="Where to, such as `sqlite:///mlflow.db`; null takes MLflow's own setting (MLFLOW_TRACKING_URI).",
    )
    experiment: str | None = Field(default=None, description="Its experiment; null takes this experiment's name.")


class Trackers(Section):
    """Who else is told the figures of a run while it runs; one that fails is told once and never stops a run."""

    tensorboard: bool = Field(default=False, description="Write `tensorboard/` in the run's folder.")
    wandb: WandB | None = Field(default=None, description="Tell Weights & Biases; `{}` with its defaults.")
    mlflow: MLflow | None = Field(default=None, description="Tell MLflow; `{}` with its defaults.")


class Config(Section):
    """A whole configuration: everything that a run depends on."""

    name: Annotated[str, StringConstraints(pattern=r"^[^./\\][^/\\]*$")] = Field(
        default="",
        description="Name of the experiment, used for its folder; default: the file's name without its ending.",
    )
    seed: NonNegativeInt = Field(
        default=0, description="Seed of the model's first weights and of the order of the samples."
    )
    data: Data
    augmentations: Augmentations = Field(
        default_factory=Augmentations, description="Random changes of the training items; none unless asked for."
    )
    model: Model
    loss: Loss = Field(default_factory=Loss)
    optimizer: Optimizer = Field(default_factory=Optimizer)
    parameters: list[ParameterRule] = Field(default_factory=list, description="Rules on named parameters, in order.")
    regularisers: dict[str, Regulariser] = Field(
        default_factory=dict, description="Prices on parameters that no strategy sees, by a name of your own."
    )
    constraints: dict[str, Constraint] = Field(
        default_factory=dict, description="Sets that parameters stay in, by a name of your own."
    )
    metrics: Metrics = Field(default_factory=Metrics)
    trainer: Trainer = Field(default_factory=Trainer)
    evaluator: Evaluator = Field(default_factory=Evaluator)
    diagnostics: Diagnostics = Field(default_factory=Diagnostics)
    trackers: Trackers = Field(default_factory=Trackers)
    study: Study | None = Field(default=None, description="What `coral-mtl study` searches through.")
    compare: Compare | None = Field(default=None, description="Variants that `coral-mtl compare` puts side by side.")

    _places: Places | None = PrivateAttr(default=None)
