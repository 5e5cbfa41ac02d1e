"""One optimiser step that computes every task's gradient by itself: a row per task, a Gram matrix, a decision."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from coral_mtl.engine.ghost import GhostRows
from coral_mtl.engine.ghost_pass import GhostPass
from coral_mtl.engine.gram import gram_matrix
from coral_mtl.engine.graph import COMPILED, behind, is_any, leaves_among
from coral_mtl.engine.measured import measured
from coral_mtl.engine.observation import Decision, Needs
from coral_mtl.engine.raw import CollectedRows
from coral_mtl.engine.rows import (
    Row,
    add_row,
    add_to_grad,
    collect,
    combine,
    emptied,
    leaves_of,
    multiply,
    narrow,
    nonzero_leaves,
    seed,
)
from coral_mtl.engine.setting import Setting, account, add_losses
from coral_mtl.engine.step import Step
from coral_mtl.engine.terms import Term


class Refresh:
    """Collects rows over the micro-batches of one step, then decides once.

    A strategy that asks for several independent batches gets the rows of micro-batch i in batch i modulo their number.
    """

    def __init__(self, setting: Setting, ghost: GhostRows | None = None) -> None:
        self.setting = setting
        self.ghost = ghost
        self.ghost_pass: GhostPass | None = None
        self.losses: dict[str, Tensor] = {}
        self.batches: list[dict[str, Row]] = [{} for _ in range(setting.strategy.batches)]
        self.micro_batches = 0
        self._zeros_are_absent = False
        self._needs_rows = setting.strategy.needs is Needs.ROWS

    def add(self, terms: Sequence[Term]) -> None:
        """Take the rows of one micro-batch; the last backward pass frees the graph."""
        varying = [term for term in terms if term.root is not None]
        sharing = self.setting.sharing
        candidates = self.ghost.candidates(sharing.shared, len(varying)) if self.ghost is not None else {}
        nodes = behind(varying)
        leaves = sharing.leaves(leaves_among(nodes), everywhere=True)
        self._zeros_are_absent |= is_any(nodes, COMPILED)
        rows = self.batches[self.micro_batches % len(self.batches)]
        self.micro_batches += 1
        add_losses(self.losses, terms)
        ghost_pass = self.ghost.plan(candidates, nodes) if self.ghost is not None and candidates else None
        with emptied(leaves):
            if ghost_pass is not None and ghost_pass.weights and self._ghost_rows(ghost_pass, varying, leaves):
                self.ghost_pass = ghost_pass
                return
            for term in varying:
                row = self._row(term, leaves, retain_graph=term is not varying[-1])
                add_row(rows.setdefault(term.name, {}), self._narrowed(row))

    def _row(self, term: Term, leaves: Sequence[Tensor], *, retain_graph: bool, only: bool = False) -> Row:
        return collect(leaves, [term], [seed(term, self.setting.scale)], retain_graph=retain_graph, only=only)

    def _narrowed(self, row: Row) -> Row:
        row_type = self.setting.row_type
        return row if row_type is None else narrow(row, self.setting.sharing.shared, row_type)

    def _ghost_rows(self, ghost_pass: GhostPass, terms: Sequence[Term], leaves: Sequence[Tensor]) -> bool:
        """Take rows without the ghost layers' weights; False if a first comparison with explicit rows forbids it."""
        stored = [leaf for leaf in leaves if leaf not in ghost_pass.weights]
        rows: dict[str, Row] = {}
        for term in terms:
            proof = [] if rows else [leaf for leaf in leaves if leaf in ghost_pass.unproven]
            last = term is terms[-1] and not proof
            run = partial(self._row, term, [*stored, *proof], retain_graph=not last, only=True)
            rows[term.name] = ghost_pass.record(run)
            if proof and not ghost_pass.prove(rows[term.name]):
                return False
            rows[term.name] = self._narrowed(rows[term.name])
        self.batches[0] = rows
        return True

    def close(self) -> Step:
        """Decide, fill `.grad`, and tell what was done."""
        setting = self.setting
        setting.require_batches(self.micro_batches)
        tasks = list(dict.fromkeys(task for rows in self.batches for task in rows))
        batches = [[rows.get(task, {}) for task in tasks] for rows in self.batches]
        scale = self._unscale(batches)
        whole = batches[0] if len(batches) == 1 else [_total([rows[i] for rows in batches]) for i in range(len(tasks))]
        parameters = _in_order(whole, setting.sharing.learn(self._reached(tasks, whole)))
        ghosts = self.ghost_pass.blocks() if self.ghost_pass is not None else ()
        found = measured(setting, tasks, whole, parameters, self.losses, scale=scale, ghosts=ghosts)
        chosen = found.usable
        if not chosen.size or (found.refused and setting.must_skip(found.refused, found.losses)):
            return setting.skip(found.refused, found.losses)
        raw = CollectedRows(setting.sharing.names(parameters), parameters, batches) if self._needs_rows else None
        observation = replace(found.observation, rows=raw).subset(chosen)
        decision, seconds = setting.decide(observation)
        rows = [whole[i] for i in chosen]
        extended = _extended_gram(rows, parameters, decision)
        told = observation if parameters or ghosts else replace(observation, gram=None)  # nothing is shared
        step = account(told, decision, found.losses, found.refused, seconds, extended_gram=extended)
        self.batches = []
        self._apply(rows, parameters, decision, chosen.tolist())
        setting.add_parameter_gradients(observation)
        return step

    def _unscale(self, batches: list[list[Row]]) -> float | Tensor:
        """Take a GradScaler's factor off the rows that the strategy will see; return what is left on them."""
        if not self._needs_rows:
            return self.setting.scale
        for row in (row for rows in batches for row in rows):
            multiply(row, 1 / self.setting.scale)
        return 1.0

    def _reached(self, tasks: Sequence[str], rows: Sequence[Row]) -> dict[str, Iterable[Tensor]]:
        """The parameters that each task reached, those of ghost layers among them."""
        reached: dict[str, Iterable[Tensor]] = {}
        for position, (task, row) in enumerate(zip(tasks, rows, strict=True)):
            stored = nonzero_leaves(row) if self._zeros_are_absent else list(row)
            reached[task] = stored if self.ghost_pass is None else [*stored, *self.ghost_pass.reached(position)]
        return reached

    def _apply(self, rows: list[Row], parameters: list[Tensor], decision: Decision, chosen: list[int]) -> None:
        setting = self.setting
        coefficients, heads = decision.coefficients.tolist(), setting.head_coefficients(decision)
        result = combine(rows, set(parameters), coefficients, heads)
        if self.ghost_pass is not None:
            result |= self.ghost_pass.combined(dict(zip(chosen, coefficients, strict=True)))
        if decision.direction is not None:
            result |= dict(zip(parameters, decision.direction, strict=True))
        if self._needs_rows:
            multiply(result, setting.scale)
        add_to_grad(result)


def _extended_gram(rows: list[Row], parameters: list[Tensor], decision: Decision) -> np.ndarray | None:
    """The Gram matrix of the rows and, last, of a direction that is no combination of them."""
    if decision.direction is None:
        return None
    direction = dict(zip(parameters, decision.direction, strict=True))
    return gram_matrix([*rows, direction], parameters)[0]


def _total(rows: Sequence[Row]) -> Row:
    total: Row = {}
    for row in rows:
        add_row(total, {parameter: gradient.clone() for parameter, gradient in row.items()})
    return total


def _in_order(rows: Sequence[Row], shared: set[Tensor]) -> list[Tensor]:
    """The shared parameters in the order in which the rows hold them: sums must not depend on the order of a set."""
    return [leaf for leaf in leaves_of(rows) if leaf in shared]
