"""One optimiser step decided in the space of a shared representation Z: T passes through the heads, one behind them.

The rows are dl_t/dZ, (B, F) each, and M_st = <dl_s/dZ, dl_t/dZ>. It bounds the problem on the parameters from above by
a factor |dZ/dtheta|^2 (Sener & Koltun 2018, section 3.3) and costs hardly more than plain training.
"""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from coral_mtl.engine.arriving import Arriving
from coral_mtl.engine.graph import COMPILED, behind, is_any, leaves_among
from coral_mtl.engine.measured import measured
from coral_mtl.engine.observation import Needs
from coral_mtl.engine.raw import CollectedRows
from coral_mtl.engine.rows import Row, add_row, add_to_grad, combine, harvest, is_finite, nonzero_leaves, seed
from coral_mtl.engine.setting import Setting, account, add_losses
from coral_mtl.engine.step import Step
from coral_mtl.engine.terms import Term
from coral_mtl.errors import StrategyError


class FeatureRefresh:
    """Collects gradients with respect to Z over the micro-batches of one step, then decides once.

    Every micro-batch has a Z of its own, and the graph of its trunk is kept until the decision.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.losses: dict[str, Tensor] = {}
        self.rows: dict[str, Row] = {}
        self.features: list[Sequence[Tensor]] = []
        self.trunk: dict[Tensor, None] = {}

    def add(self, terms: Sequence[Term], features: Tensor | Sequence[Tensor] | None) -> None:
        """Take the rows of one micro-batch, down to its `features`.

        Raises:
            StrategyError: there are none, one does not depend on a parameter or depends on another one, or a loss
                reaches a parameter behind them on another way, so that they do not carry the whole gradient.
        """
        features = _required(features)
        varying = [term for term in terms if term.root is not None]
        sharing = self.setting.sharing
        trunk, heads = _divided(varying, features)
        zeros_are_absent = is_any(heads, COMPILED)
        self.trunk |= dict.fromkeys(trunk)
        met = [*trunk, *leaves_among(heads)]
        own = [leaf for leaf in sharing.leaves(met, everywhere=True) if leaf not in self.trunk]
        sharing.settle(self.trunk)  # for steps that reuse the decision
        self.features.append(features)
        add_losses(self.losses, terms)
        for term in varying:
            row = harvest([*features, *own], [term], [seed(term, self.setting.scale)], retain_graph=True, only=True)
            sharing.learn({term.name: nonzero_leaves(row) if zeros_are_absent else row})
            add_row(self.rows.setdefault(term.name, {}), row)

    def close(self) -> Step:
        """Decide, run the trunk's backward once, fill `.grad`, and tell what was done."""
        setting = self.setting
        setting.require_batches(len(self.features))
        tasks, rows = list(self.rows), list(self.rows.values())
        shared = [z for features in self.features for z in features]
        found = measured(setting, tasks, rows, shared, self.losses, scale=setting.scale)
        chosen = found.usable
        if not chosen.size or (found.refused and setting.must_skip(found.refused, found.losses)):
            return setting.skip(found.refused, found.losses)
        before = setting.strategy.state_dict()
        observation = replace(found.observation, rows=self._raw(rows, shared)).subset(chosen)
        decision, seconds = setting.decide(observation)
        heads = setting.head_coefficients(decision)
        combined = combine([rows[i] for i in chosen], set(shared), decision.coefficients.tolist(), heads)
        update = self._through_trunk(combined)
        finite = None if setting.waits else Arriving([setting.disarm(update, {})])
        if finite is None and not is_finite(update):
            setting.strategy.load_state_dict(before)
            refused = dict.fromkeys(observation.tasks, "non-finite gradient")
            setting.must_skip(refused, found.losses)
            return setting.skip(refused, found.losses)
        add_to_grad(update)
        setting.add_parameter_gradients(observation)
        return account(observation, decision, found.losses, found.refused, seconds, space="features", finite=finite)

    def _raw(self, rows: Sequence[Row], shared: Sequence[Tensor]) -> CollectedRows | None:
        """The rows by batch, for a strategy that needs them; micro-batches are dealt to the batches in turn."""
        strategy = self.setting.strategy
        if strategy.needs is not Needs.ROWS:
            return None
        scale = self.setting.scale
        batches = [
            [
                {z: row[z] / scale for part in self.features[number :: strategy.batches] for z in part if z in row}
                for row in rows
            ]
            for number in range(strategy.batches)
        ]
        return CollectedRows((), shared, batches)

    def _through_trunk(self, combined: Row) -> Row:
        update = {leaf: gradient for leaf, gradient in combined.items() if leaf.is_leaf}
        for features in self.features:
            reached = [z for z in features if z in combined]
            terms = [Term("", z.detach(), z) for z in reached]
            add_row(update, harvest(list(self.trunk), terms, [combined[z] for z in reached]))
        return update


def _required(features: Tensor | Sequence[Tensor] | None) -> Sequence[Tensor]:
    """Return the shared representation as a sequence of tensors."""
    chosen = [features] if isinstance(features, Tensor) else list(features or ())
    if not chosen or any(z.grad_fn is None for z in chosen):
        raise StrategyError(
            'gram_on="features" needs the shared representation, as the trunk returned it\n'
            "    call engine.backward(losses, features=z)"
        )
    return chosen


def _divided(terms: Sequence[Term], features: Sequence[Tensor]) -> tuple[list[Tensor], list[Node]]:
    """Return the leaves behind the features, and the nodes between these and the losses."""
    starts = {get_gradient_edge(z).node for z in features}
    nodes = behind([Term("", z, z) for z in features])
    if len(features) > 1 and any(child in starts for node in nodes for child, _ in node.next_functions):
        raise StrategyError(
            "one of the features is computed from another one, so that what a loss owes to it would count twice\n"
            "    give those alone that the heads take last"
        )
    trunk = leaves_among(nodes)
    heads = behind(terms, stop=starts)
    if not set(trunk).isdisjoint(leaves_among(heads)):
        raise StrategyError(
            "a parameter behind the features is also used in another way (tied weights?), so the features do not "
            'carry the whole gradient\n    take gram_on="parameters"'
        )
    return trunk, heads
