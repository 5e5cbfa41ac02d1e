"""What is known of every registered strategy, as data: `strategies list`, README's table, the facts in the docs."""

from dataclasses import dataclass

from coral_mtl.config.reference import summary
from coral_mtl.engine.observation import Needs, Promises
from coral_mtl.engine.strategy import Strategy
from coral_mtl.options import Option, options_of
from coral_mtl.registry import strategies

_UNHARMED, _DESCENDS, _CONVEX = (
    "never against a task's gradient",
    "descends the mean loss",
    "convex combination of the gradients",
)
_NONNEGATIVE, _SCALE_BLIND = "no negative coefficient", "blind to the scale of each loss"

_LOOKS_AT = {
    Needs.NOTHING: "nothing of this step",
    Needs.LOSSES: "the values of the losses",
    Needs.GRAM: "inner products of the gradients",
    Needs.ROWS: "the gradients themselves",
}

_CONVENTIONS = {
    "sum": "the sum of the gradients",
    "mean": "the mean of the gradients",
    "own": "a direction of a length of its own",
}


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """One strategy; what its options can change is that of the default options.

    name: as in a configuration.
    summary: one sentence.
    kind: `loss weighting` or `gradient strategy`.
    needs: what a decision looks at.
    reusable: whether `update_frequency: N` spares all but one backward in N - 1 of N steps.
    batches: independent batches that a step is made of.
    convention: whether, without conflict and imbalance, the direction is the sum of the gradients, their mean, or the
        strategy's own.
    promises: what holds at every step, in words; None where some option must be given.
    paper: where the method comes from, empty for those that need no reference.
    options: by name, with annotation, default and help.
    """

    name: str
    summary: str
    kind: str
    needs: Needs
    reusable: bool
    batches: int
    convention: str
    promises: tuple[str, ...] | None
    paper: str
    options: dict[str, Option]

    @property
    def cost(self) -> str:
        """Backward passes of an optimiser step with T tasks."""
        if self.needs < Needs.GRAM:
            return "1 backward"
        each = "" if self.batches == 1 else f" for each of {self.batches} batches"
        return f"T backwards{each}" + ("; T + N - 1 in N steps with `update_frequency: N`" if self.reusable else "")


def strategy_rows() -> list[StrategyRow]:
    """Return the rows of all registered strategies: loss weightings before gradient strategies, cheap before dear."""
    rows = [strategy_row(strategies.get(name)) for name in strategies.names()]
    return sorted(rows, key=lambda row: (row.kind != "loss weighting", row.needs))


def strategy_row(cls: type[Strategy]) -> StrategyRow:
    """Return the row of one strategy."""
    options = options_of(cls)
    default = None if any(option.default is ... for option in options.values()) else cls()
    unused = default.unused_options() if default else {}
    return StrategyRow(
        name=strategies.name_of(cls),
        summary=summary(cls),
        kind=cls.kind,
        needs=default.needs if default else cls.needs,
        reusable="update_frequency" in options and "update_frequency" not in unused,
        batches=cls.batches,
        convention=cls.convention,
        promises=promise_words(default.promises) if default else None,
        paper=cls.paper,
        options=options,
    )


def promise_words(promises: Promises) -> tuple[str, ...]:
    """Return what is promised, in words."""
    held = {
        _UNHARMED: promises.non_conflicting,
        _SCALE_BLIND: promises.scale == "per_task",
        _DESCENDS: promises.descends_mean,
        _CONVEX: promises.simplex,
        _NONNEGATIVE: promises.nonnegative and not promises.simplex,
    }
    return tuple(words for words, holds in held.items() if holds)


def strategy_table() -> str:
    """Return the Markdown table of all strategies, for a page at the repository's root."""
    header = ["strategy", "weighs", "backwards", "like", "hurts no task", "scale-blind", "descends the mean", "weights"]
    lines = [header, ["---"] * len(header), *map(_cells, strategy_rows())]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def strategy_facts(name: str) -> str:
    """Return what the class of one strategy says of itself, as Markdown."""
    row = strategy_row(strategies.get(name))
    promises = "depend on its options" if row.promises is None else "; ".join(row.promises) or "none"
    facts = [
        f"{row.kind}; looks at {_LOOKS_AT[row.needs]}; {row.cost}",
        f"without conflict and imbalance: {_CONVENTIONS[row.convention]}",
        f"promises{'' if row.promises is None else ' by default'}: {promises}",
        *([f"paper: {row.paper}"] if row.paper else []),
        *(f"`{option.name}`: {option.help}" for option in row.options.values()),
    ]
    return "\n".join(f"- {fact}" for fact in facts)


def _cells(row: StrategyRow) -> list[str]:
    passes = "1" if row.needs < Needs.GRAM else ("T" if row.batches == 1 else f"{row.batches}T") + "*" * row.reusable
    promises = () if row.promises is None else row.promises
    weights = "convex" if _CONVEX in promises else "≥ 0" if _NONNEGATIVE in promises else "any"
    return [
        f"[`{row.name}`](docs/strategies.md#{row.name.lower()})",
        "losses" if row.kind == "loss weighting" else "gradients",
        passes,
        row.convention,
        *("yes" if words in promises else "" for words in (_UNHARMED, _SCALE_BLIND, _DESCENDS)),
        "by its options" if row.promises is None else weights,
    ]
