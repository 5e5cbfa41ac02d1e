"""IMGrad: between the mean gradient and the min-norm point, the closer to the latter the more unbalanced they are."""

import math
from typing import Literal

import numpy as np

from coral_mtl import registry
from coral_mtl.engine.gradient_strategies.mgda import EXACT, MinNormSolver, min_norm_solver
from coral_mtl.engine.observation import Decision, Observation, Promises
from coral_mtl.engine.solvers.cagrad import cagrad
from coral_mtl.engine.solvers.solution import Solution, Status
from coral_mtl.engine.strategy import GradientStrategy
from coral_mtl.options import NonNegative, PositiveInt

_BLEND_OPTIONS = ("f", "guard")
_CAGRAD_OPTIONS = ("c", "variant", "rescale")


@registry.strategies.register
class IMGrad(GradientStrategy):
    """The mean gradient g_0, moved towards the min-norm point g_m by how far the two point apart.

    With theta the angle between g_0 and g_m, `mode: blend` takes d = (1 - alpha) g_0 + alpha g_m, alpha = f(cos theta):
    `sin2` 1 - cos^2, `one_minus_cos` 1 - cos, or `half` (1 - cos)/2. All descend the mean loss, with
    |g_m| <= |d| <= |g_0|. None keeps every task from harm by itself; `guard` raises alpha to the least value for which
    <d, g_t> >= 0 for all t:

        alpha_guard = max over t with <g_0, g_t> < 0 of  -<g_0, g_t> / (<g_m, g_t> - <g_0, g_t>).

    `mode: cagrad` is the published form, d = g_0 + c |g_0| g_w / |g_w| with w on the simplex minimising, by `variant`,

        paper              (1 - cos) (<g_w, g_0> + c |g_0| |g_w|) + cos |g_w|^2     (equation 9)
        paper_simplified   (1 - cos) <g_w, g_0> + cos c |g_0| |g_w|                 (equation 11)
        official           (1.5 - cos) <g_w, g_0> + cos c |g_0| |g_w|               (the authors' code for NYUv2)

    solved exactly, and promises nothing about single tasks. At Pareto-stationary points g_m = 0, cos theta counts as 0,
    and the status is STATIONARY; where g_m is INACCURATE (`solver: pgd`) so is the guard.

    Records `imgrad_cos_theta`, and in `mode: blend` `imgrad_alpha` and `imgrad_alpha_guard`.
    """

    convention = "mean"
    steady = "at bounds"
    paper = "Zhou et al.: Injecting Imbalance Sensitivity for Multi-Task Learning (IJCAI 2025), equations 9 and 11"

    def __init__(
        self,
        *,
        mode: Literal["blend", "cagrad"] = "blend",
        f: Literal["sin2", "one_minus_cos", "half"] = "sin2",
        guard: bool = True,
        c: NonNegative = 0.8,
        variant: Literal["paper", "paper_simplified", "official"] = "paper",
        rescale: Literal[0, 1, 2] = 0,
        solver: MinNormSolver = "auto",
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the form of the direction and how g_m is found.

        Args:
            mode: blend of the mean gradient and the min-norm point, or the form derived from CAGrad (default blend).
            f: how alpha follows from cos theta in `mode: blend` (default sin2).
            guard: raise alpha in `mode: blend` so far that no task is hurt (default true).
            c: radius of the ball around the mean gradient in `mode: cagrad`, in units of its norm (default 0.8).
            variant: objective of `mode: cagrad` (default paper).
            rescale: divide the direction of `mode: cagrad` by 1 (0), 1 + c^2 (1) or 1 + c (2) (default 0).
            solver: active_set, exact; qp, the interior-point method of cvxopt (optional extra); pgd, projected gradient
                descent; auto takes active_set (default auto).
            update_frequency: solve for new coefficients once in this many steps and reuse them in between, at the cost
                of a single backward (default 1, every step).

        Raises:
            MissingExtraError: `solver: qp` without cvxopt.
        """
        super().__init__(update_frequency=update_frequency)
        self.mode = mode
        self.f = f
        self.guard = guard
        self.c = c
        self.variant = variant
        self.rescale = rescale
        self.solver = solver
        self._min_norm = min_norm_solver("IMGrad", solver)

    @property
    def promises(self) -> Promises:
        if self.mode == "cagrad":
            return Promises(descends_mean=self.c <= 1.0)
        return Promises(non_conflicting=self.guard and self.solver in EXACT, simplex=True, descends_mean=True)

    def unused_options(self) -> dict[str, str]:
        idle = _CAGRAD_OPTIONS if self.mode == "blend" else _BLEND_OPTIONS
        return dict.fromkeys(idle, f"mode is {self.mode}, which does not read it")

    def solve(self, observation: Observation) -> Decision:
        gram = observation.require_gram()
        scaled = gram / gram.diagonal().max()
        fairest = self._min_norm(scaled, observation.precision)
        cosine = _cosine(scaled, fairest)
        if self.mode == "cagrad":
            return self._cagrad(scaled, cosine, observation.precision)
        return self._blend(scaled, cosine, fairest)

    def _blend(self, gram: np.ndarray, cosine: float, fairest: Solution) -> Decision:
        """Mix g_0 and g_m, told by the share 1 - alpha of g_0, which stays exact where alpha is close to 1."""
        share = {"sin2": cosine**2, "one_minus_cos": cosine, "half": 0.5 * (1.0 + cosine)}[self.f]
        harmless = _harmless_share(gram.mean(axis=0), gram @ fairest.weights)
        if self.guard:
            share = min(share, harmless)
        coefficients = share / len(gram) + (1.0 - share) * fairest.weights
        records = {
            "imgrad_cos_theta": cosine,
            "imgrad_alpha": 1.0 - share,
            "imgrad_alpha_guard": 1.0 - harmless,
        }
        return Decision(coefficients, solution=fairest, records=records)

    def _cagrad(self, gram: np.ndarray, cosine: float, precision: float) -> Decision:
        pull, curvature = self._objective(cosine)
        solution = cagrad(gram, self.c, pull=pull, curvature=curvature, precision=precision)
        divisor = (1.0, 1.0 + self.c**2, 1.0 + self.c)[self.rescale]
        return Decision(solution.weights / divisor, solution=solution, records={"imgrad_cos_theta": cosine})

    def _objective(self, cosine: float) -> tuple[float, float]:
        """The variant's objective divided by its factor of <g_w, g_0>: the factors of c |g_0| |g_w| and 1/2 |g_w|^2."""
        if self.variant == "official":
            return cosine / (1.5 - cosine), 0.0
        odds = cosine / (1.0 - cosine) if cosine < 1.0 else math.inf
        return (1.0, 2.0 * odds) if self.variant == "paper" else (odds, 0.0)


def _cosine(gram: np.ndarray, fairest: Solution) -> float:
    """cos theta = <g_0, g_m> / (|g_0| |g_m|), which is never negative; 0 where g_m vanishes."""
    if fairest.status is Status.STATIONARY:
        return 0.0
    slopes = gram @ fairest.weights
    squares = float(gram.mean()) * float(fairest.weights @ slopes)
    return min(max(float(slopes.mean()) / math.sqrt(squares), 0.0), 1.0) if squares > 0.0 else 0.0


def _harmless_share(mean_slopes: np.ndarray, fair_slopes: np.ndarray) -> float:
    """The largest share of g_0, beside g_m, for which no task is hurt: 1 - alpha_guard."""
    hurt = mean_slopes < 0.0
    fair_slopes = np.maximum(fair_slopes[hurt], 0.0)
    return float(np.min(fair_slopes / (fair_slopes - mean_slopes[hurt]), initial=1.0))
