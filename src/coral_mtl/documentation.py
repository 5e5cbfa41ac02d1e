"""The parts of the documentation that the code itself tells: `python -m coral_mtl.documentation` writes them anew.

In the Markdown files a generated part stands between `<!-- generated: NAME -->`, with an argument behind the name where
the part takes one, and `<!-- end of generated -->`.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from coral_mtl.bench.published import bars_table, engine_summary, engine_table
from coral_mtl.config.json_schema import json_schema
from coral_mtl.config.reference import reference_tables
from coral_mtl.strategy_catalogue import strategy_facts, strategy_table
from coral_mtl.strategy_figures import figures_row, figures_table

COMMAND = "python -m coral_mtl.documentation"
RESULTS = Path("benchmarks/results")
QUICKSTART = RESULTS / "quickstart.json"
_PART = re.compile(r"(<!-- generated: (\w+) ?([\w-]*) -->\n).*?(<!-- end of generated -->)", re.DOTALL)


def generated_files(root: Path) -> dict[Path, str]:
    """Return the content that each generated file below the repository's `root` should have."""
    pages = [*root.glob("*.md"), *root.glob("docs/**/*.md")]
    files = {page: refreshed(text, root) for page in pages if _PART.search(text := page.read_text(encoding="utf-8"))}
    return files | {root / "configs" / "schema.json": json.dumps(json_schema(), indent=2) + "\n"}


def refreshed(text: str, root: Path = Path()) -> str:
    """Return a Markdown text with its generated parts written anew."""
    return _PART.sub(lambda part: f"{part[1]}\n{_content(part[2], part[3], root)}\n\n{part[4]}", text)


def _content(name: str, argument: str, root: Path) -> str:
    parts: dict[str, Callable[[], str]] = {
        "configuration": reference_tables,
        "strategies": strategy_table,
        "strategy": lambda: strategy_facts(argument),
        "measured": lambda: figures_row(root, argument),
        "measurements": lambda: figures_table(root),
        "quickstart": lambda: quickstart_table(root / QUICKSTART),
        "engine": lambda: engine_part(root / RESULTS, argument),
    }
    if name not in parts:
        raise ValueError(f"no generated part is called {name!r}")
    return parts[name]()


def engine_part(results: Path, argument: str) -> str:
    """Return what benchmarks/engine.py measured: its "summary", "table" or "bars", such as "bars-2-threads"."""
    part, _, setting = argument.partition("-")
    render = {"summary": engine_summary, "table": engine_table, "bars": bars_table}[part]
    file = results / f"engine_cpu{'_' if setting else ''}{setting.replace('-', '_')}.json"
    return render(json.loads(file.read_text(encoding="utf-8")))


def quickstart_table(results: Path) -> str:
    """Return what benchmarks/quickstart.py measured as a Markdown table, or how to measure it."""
    if not results.exists():
        return f"No figures yet. `python benchmarks/quickstart.py` measures them, and `{COMMAND}` puts them here."
    measured = json.loads(results.read_text(encoding="utf-8"))
    by_strategy: dict[str, list[dict[str, Any]]] = {}
    for run in measured["runs"]:
        by_strategy.setdefault(run["strategy"], []).append(run)
    lines = ["| strategy | left, % | right, % | ink, R² | score | seconds |", "| --- | --- | --- | --- | --- | --- |"]
    for strategy, runs in by_strategy.items():
        figures = {name: [run["metrics"][name] for run in runs] for name in runs[0]["metrics"]}
        cells = [
            f"`{strategy}`",
            _spread([100 * share for share in figures["tasks.left.accuracy"]], 1),
            _spread([100 * share for share in figures["tasks.right.accuracy"]], 1),
            _spread(figures["tasks.ink.r2"], 3),
            _spread(figures["global.score"], 3),
            f"{mean(run['seconds'] for run in runs):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    seeds = ", ".join(str(seed) for seed in sorted({run["seed"] for run in measured["runs"]}))
    environment = measured["environment"]
    return "\n".join(lines) + (
        f"\n\nValidation after the last epoch: mean and standard deviation over the seeds {seeds}. Measured on "
        f"{measured['date']} with coral-mtl {environment['coral-mtl']}, torch {environment['torch']} and "
        f"{environment['threads']} thread(s) on {environment['processor']}."
    )


def _spread(values: list[float], digits: int) -> str:
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


if __name__ == "__main__":
    for file, content in generated_files(Path.cwd()).items():
        file.write_text(content, encoding="utf-8")
