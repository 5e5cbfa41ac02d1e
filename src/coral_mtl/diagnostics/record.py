"""One line of `loss_diagnostics.jsonl`: what an optimiser step did, as schema v1 (docs/diagnostics.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coral_mtl.diagnostics.strict import strict
from coral_mtl.engine.step import Step
from coral_mtl.errors import StrategyError

SCHEMA = 1
FIELDS = (
    "schema",
    "run",
    "step",
    "micro_step",
    "epoch",
    "strategy_type",
    "active_tasks",
    "inactive_tasks",
    "skipped",
    "unweighted_losses",
    "task_weights",
    "lr",
    "gradient_norm",
    "gradient_cosine_similarity",
    "gradient_update_norm",
    "gradient_update_norm_clipped",
    "descent",
    "solver",
    "regularisers",
    "constraints",
)
"""The fields that the schema itself defines; a strategy's own records have other names."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a record says beside the step itself.

    run: id of the run.
    strategy_type: name of the strategy as in the YAML, "Uncertainty+PCGrad" for a stack.
    step: number of the optimiser step, the first being 1; a skipped step has its own number.
    micro_step: number of micro-batches seen so far, this step's among them.
    epoch: number of the epoch, the first being 0.
    lr: learning rate of the optimiser's first group at this step.
    clip_factor: what clipping multiplied the gradient by, 1 where it had nothing to do.
    restraints: the fields `regularisers` and `constraints`, empty where they were not measured.
    """

    run: str
    strategy_type: str
    step: int
    micro_step: int
    epoch: int
    lr: float
    clip_factor: float = 1.0
    restraints: Mapping[str, Any] = field(default_factory=dict)


def make_record(step: Step, context: Context) -> dict[str, Any]:
    """Return the record of `step`, ready for strict JSON.

    A figure that is not finite is None. What was not measured at this step (gradient figures without a Gram matrix,
    the solver where none ran) is absent: never zero, never None.

    Raises:
        StrategyError: the strategy's own records take a name of the schema, or hold what JSON cannot.
    """
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "run": context.run,
        "step": context.step,
        "micro_step": context.micro_step,
        "epoch": context.epoch,
        "strategy_type": context.strategy_type,
        "active_tasks": list(step.tasks),
        "inactive_tasks": dict(step.inactive),
        "skipped": step.skipped,
        "unweighted_losses": dict(step.losses),
        "task_weights": dict(step.weights),
        "lr": context.lr,
    }
    record |= _gradient_figures(step, context) | _solver(step) | dict(context.restraints)
    return strict(record) | _own(step, context.strategy_type)


def _gradient_figures(step: Step, context: Context) -> dict[str, Any]:
    if step.gram is None:
        return {}
    figures: dict[str, Any] = {"gradient_norm": step.norms, "gradient_cosine_similarity": step.cosines}
    if step.update_norm is not None:
        figures["gradient_update_norm"] = step.update_norm
        figures["gradient_update_norm_clipped"] = step.update_norm * context.clip_factor
        figures["descent"] = step.descent
    return figures


def _solver(step: Step) -> dict[str, Any]:
    if step.skipped is not None:
        return {}
    solver: dict[str, Any] = {"reused": not step.refreshed, "seconds": step.solver_seconds}
    if step.solution is not None:
        solver["status"] = str(step.solution.status)
        solver["residual"] = step.solution.residual
        solver["iterations"] = step.solution.iterations
    return {"solver": solver}


def _own(step: Step, strategy_type: str) -> dict[str, Any]:
    taken = [name for name in step.records if name in FIELDS]
    if taken:
        raise StrategyError(
            f"{strategy_type}: its own record {taken[0]!r} has the name of a field of every record\n"
            "    give it another name in Decision.records"
        )
    try:
        return {name: strict(value) for name, value in step.records.items()}
    except TypeError as problem:
        raise StrategyError(
            f"{strategy_type}: a figure among its records {', '.join(step.records)} cannot be written: {problem}\n"
            "    give Decision.records numbers, texts, arrays, and dicts of these"
        ) from problem
