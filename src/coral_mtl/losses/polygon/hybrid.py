"""Several polygon losses of one prediction, as named terms that a weighting or a strategy balances."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Literal

from torch import Tensor

from coral_mtl.errors import ConfigError
from coral_mtl.losses.polygon.alignment import cyclically_aligned
from coral_mtl.losses.polygon.convexity import nonconvexity
from coral_mtl.losses.polygon.mgiou import mgiou
from coral_mtl.losses.polygon.pairs import polygon_pairs
from coral_mtl.losses.polygon.rows import PolygonTerm, mean_loss
from coral_mtl.losses.polygon.vertices import l2, log, oks
from coral_mtl.options import Positive, checked

TermName = Literal["l2", "oks", "log", "mgiou", "convexity"]


@partial(checked, error=ConfigError)
class HybridPolygonLoss:
    """The terms `l2`, `oks`, `log`, `mgiou` and `convexity` of polygons, each a scalar, by name.

    How they are weighed is not decided here: a mixture, a schedule of weights, or any gradient strategy takes them.
    """

    def __init__(
        self,
        *,
        terms: Sequence[TermName] = ("l2", "mgiou"),
        align: Literal["none", "cyclic"] = "none",
        falloff: Positive = 1.0,
    ) -> None:
        """Choose the terms.

        Args:
            terms: one or more of l2, oks, log, mgiou, convexity (default [l2, mgiou]).
            align: how vertices of prediction and target are matched for l2, oks and log: none, one by one, or cyclic,
                by the rotation and direction of least squared distance (default none).
            falloff: the k of oks, 1 - exp(-d^2 / (k A)); COCO's is 8 sigma^2 (default 1.0).

        Raises:
            ConfigError: no term, or one twice.
        """
        if not terms or len(set(terms)) < len(terms):
            raise ConfigError(f"HybridPolygonLoss: terms are one or more names, each once, not {list(terms)}")
        self.terms = tuple(terms)
        self.align = align
        by_vertex: Mapping[str, PolygonTerm] = {"l2": l2, "oks": partial(oks, falloff=falloff), "log": log}
        self._by_vertex = {name: term for name, term in by_vertex.items() if name in terms}
        self._of_shape: Mapping[str, PolygonTerm] = {"mgiou": mgiou, "convexity": nonconvexity}

    def unused_options(self) -> dict[str, str]:
        unused = {} if "oks" in self.terms else {"falloff": "there is no term oks"}
        return unused if self._by_vertex else {**unused, "align": "none of the terms l2, oks and log is there"}

    def __call__(
        self,
        prediction: Tensor,
        target: Tensor,
        *,
        mask: Tensor | None = None,
        area: Tensor | None = None,
        weight: Tensor | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, Tensor]:
        """Return the scalar terms, each the weighted mean over the polygons that it is defined for.

        Args:
            prediction: (N, V, 2) vertices in any unit.
            target: (N, V, 2) vertices.
            mask: (N, V) vertices that count, boolean or a visibility above 0 (default: all).
            area: (N,) areas of the targets in squared units (default: their shoelace areas).
            weight: (N,) weights of the polygons, 0 or above (default: all 1).
            only: names of the terms to compute, such as those with a weight other than 0 (default: all).

        Raises:
            ConfigError: `only` names a term that is not there.
            DataError: shapes that do not fit, or a negative weight.
        """
        unknown = set(only or ()) - set(self.terms)
        if unknown:
            raise ConfigError(f"no term is called {sorted(unknown)[0]!r}; there are {', '.join(self.terms)}")
        pairs = polygon_pairs(prediction, target, mask=mask, area=area)
        wanted = [name for name in self.terms if only is None or name in only]
        aligned = pairs
        if self.align == "cyclic" and any(name in self._by_vertex for name in wanted):
            aligned = cyclically_aligned(pairs)
        rows = {
            name: self._by_vertex[name](aligned) if name in self._by_vertex else self._of_shape[name](pairs)
            for name in wanted
        }
        return {name: mean_loss(of_term, weight) for name, of_term in rows.items()}
