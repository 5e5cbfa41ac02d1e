"""Every strategy on the quickstart and on hard gradient matrices, as docs/strategies.md shows it.

    OMP_NUM_THREADS=1 python benchmarks/strategies.py matrices scores     # half an hour on one core
    OMP_NUM_THREADS=1 python benchmarks/strategies.py steps               # 3 minutes on an otherwise idle machine
    python -m coral_mtl.documentation                                     # puts the figures into docs/strategies.md

What was measured is written down at once and not measured again, so that a run can be stopped and taken up; `--again`
measures anew, `--only NAME ...` just these. Options are the defaults, and those below where one has to be given.

`scores`: `global.score` after a short training, one for each seed. `steps`: milliseconds of a plain step and of the
strategy's steps. `matrices`: how solvers end, and what becomes of the tasks, on the families of benchmarks/solvers.py;
strategies that need several batches or options, or look at losses only, are left out there.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quickstart import processor
from rich.console import Console
from solvers import FAMILIES, stationary

from coral_mtl.bench.costs import measure_costs
from coral_mtl.config import load_config
from coral_mtl.engine.observation import Decision, Needs, Observation
from coral_mtl.engine.raw import CollectedRows
from coral_mtl.engine.strategy import Strategy
from coral_mtl.experiment import build_experiment
from coral_mtl.registry import strategies
from coral_mtl.running.environment import describe_environment
from coral_mtl.strategy_figures import FIGURES
from coral_mtl.study.contenders import contender

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
SEEDS, EPOCHS, STEPS = (0, 1, 2), 6, 30
SIZES, DRAWS = (2, 3, 7, 20), 8

REQUIRED = {
    "Static": "weights={left: 1, right: 1, ink: 0.1}",
    "Mixture": "term=ink, alpha=0.1",
    "Curriculum": "plan=progressive_hybrid, terms=[ink, left, right], times=[0.2, 0.4]",
    "Switch": "weights=[{left: 1, right: 1, ink: 0.3}, {left: 1, right: 1, ink: 0.03}], ratio=[ink, left], "
    "thresholds=[3]",
}
"""Options that must be given, on the tasks of the quickstart."""


def written(name: str) -> str:
    """The strategy as the command line takes it."""
    return f"{name}({REQUIRED[name]})" if name in REQUIRED else name


def scores(name: str) -> dict[str, float]:
    """`global.score` of the validation data after the last epoch, by seed."""
    found = {}
    for seed in SEEDS:
        chosen = contender(written(name), load_config(QUICKSTART))
        overrides = [*chosen.overrides(0, seed), f"trainer.epochs={EPOCHS}", "trainer.device=cpu"]
        trainer = build_experiment(load_config(QUICKSTART, overrides)).trainer()
        trainer.fit()
        found[str(seed)] = round(trainer.validate()["global.score"], 5)
    return found


def steps(name: str) -> dict[str, float]:
    """Milliseconds of a plain step, of one at which the strategy decides, and of one that reuses coefficients."""
    costs = measure_costs(QUICKSTART, ["trainer.device=cpu"], [written(name)], STEPS)
    (own,) = costs.strategies
    kinds = {"plain": costs.plain, "refresh": own.refresh} | ({"reuse": own.reuse} if own.reuse else {})
    return {kind: round(cost.milliseconds, 3) for kind, cost in kinds.items()}


def matrices(name: str) -> dict[str, Any] | None:
    """How solvers end on all families; tasks hurt and the worst cosine on those with a direction that hurts none."""
    cls = strategies.get(name)
    if cls.needs < Needs.GRAM or cls.batches > 1 or name in REQUIRED:
        return None
    ends: Counter[str] = Counter()
    worst, hurt, count = 1.0, 0, 0
    for tasks in SIZES:
        for place, family in enumerate(FAMILIES):
            generator = np.random.default_rng([tasks, place])
            for _ in range(DRAWS):
                gradients = family(generator, tasks)
                decision = decided(cls(), gradients)
                if decision.solution is not None:
                    ends[decision.solution.status.value] += 1
                if family is not stationary:
                    least = least_cosine(decision, gradients)
                    worst, hurt, count = min(worst, least), hurt + (least < -1e-9), count + 1
    return {"ends": dict(ends), "worst_cosine": worst, "hurt": hurt / count}


def decided(strategy: Strategy, gradients: np.ndarray) -> Decision:
    """The decision on these gradients, as the rows of one parameter, with all losses 1."""
    names = tuple(map(str, range(len(gradients))))
    parameter = torch.zeros(gradients.shape[1], dtype=torch.float64)
    rows = CollectedRows(["layer.weight"], [parameter], [[{parameter: torch.from_numpy(g.copy())} for g in gradients]])
    strategy.bind(names)
    return strategy.decide(Observation(names, np.ones(len(names)), gradients @ gradients.T, rows=rows))


def least_cosine(decision: Decision, gradients: np.ndarray) -> float:
    """The least cos(d, g_t); 0 where d is."""
    parts = decision.direction
    direction = decision.coefficients @ gradients if parts is None else torch.cat(parts).numpy()
    lengths = np.linalg.norm(gradients, axis=1) * (np.linalg.norm(direction) or 1.0)
    return float((gradients @ direction / lengths).min())


MEASURES: dict[str, Callable[[str], Any]] = {"matrices": matrices, "scores": scores, "steps": steps}


def main() -> None:
    """Measure what is missing, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=MEASURES)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=strategies.names(), help="just these strategies")
    parser.add_argument("--again", action="store_true", help="also what was measured before")
    parser.add_argument("--output", type=Path, default=ROOT / FIGURES, help=f"JSON file (default {FIGURES})")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"strategies": {}}
    if arguments.output.exists():
        results = json.loads(arguments.output.read_text(encoding="utf-8"))
    results["settings"] = {"seeds": SEEDS, "epochs": EPOCHS, "sizes": SIZES, "matrices": DRAWS}
    results["environment"] = describe_environment(torch.device("cpu")) | {"processor": processor()}
    for name in map(strategies.canonical, arguments.only):
        known = results["strategies"].setdefault(name, {"options": REQUIRED.get(name, "")})
        for what in arguments.what:
            if arguments.again or what not in known:
                known[what] = MEASURES[what](name)
                results["date"] = datetime.now(UTC).date().isoformat()
                arguments.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                Console().print(f"{name}: {what} {known[what]}", markup=False, highlight=False)


if __name__ == "__main__":
    main()
