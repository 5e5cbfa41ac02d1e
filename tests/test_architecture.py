"""Imports run one way (DESIGN.md section 2), and importing the package stays cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MODULES = {
    ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (SOURCE / "coral_mtl").rglob("*.py")
}


def imports_of(module: str) -> set[str]:
    """All modules that a module names in an import, at its top or in a function; ours by their full name."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES.keys()) or {node.module}
    return found


IMPORTS = {module: imports_of(module) for module in MODULES}


def within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in (f"coral_mtl.{name}" for name in rooms))


ORDER = (
    *("errors", "unreadable", "options", "registry", "atomic", "kinds", "documents", "schedules", "config"),
    *(
        "parameters",
        "data",
        "models",
        "losses",
        "metrics",
        "inference",
        "constraints",
        "engine",
        "solving",
        "diagnostics",
    ),
    *("restraining", "trackers", "experiment", "running", "evaluation", "strategy_catalogue", "strategy_figures"),
    *("study", "bench", "report", "documentation", "cli", "__main__"),
)
"""The rooms in the order of a run; each may know those before it."""

NOUNS = ("schedules", "parameters", "data", "models", "losses", "metrics", "inference", "constraints")
"""What a run is made of, whoever asks for it."""

STRATEGIES = (
    "engine.observation",
    "engine.strategy",
    "engine.composed",
    "engine.stack",
    "engine.loss_weighting",
    "engine.gradient_strategies",
    "engine.pcgrad",
)
HEART = ("engine.engine", "engine.refresh", "engine.known", "engine.rows", "engine.sharing", "engine.setting")


def room_of(module: str) -> str | None:
    """The room that a module of ours is in; None for the package itself."""
    return module.split(".")[1] if "." in module else None


def test_every_room_has_its_place():
    assert {room_of(module) for module in MODULES} == {None, *ORDER}


@pytest.mark.parametrize("room", ORDER)
def test_no_room_knows_a_later_one(room):
    for module in (module for module in MODULES if room_of(module) == room):
        known = {room_of(name) for name in IMPORTS[module] if name in MODULES} - {None}
        later = {name for name in known if ORDER.index(name) > ORDER.index(room)}
        assert not later, f"{module} imports from {later}"


@pytest.mark.parametrize(
    ("importers", "forbidden"),
    [
        (NOUNS, ("config",)),
        (("models",), ("losses", "metrics", "inference")),
        (("losses", "metrics", "inference", "constraints"), ("models",)),
        (("inference", "constraints"), ("data", "losses", "metrics")),
        (STRATEGIES, ("config", "data", "models", "losses", "metrics", "engine.trainer")),
        (HEART, ("config", "data", "models", "losses", "metrics", "engine.trainer")),
        (HEART, ("engine.loss_weighting", "engine.gradient_strategies", "engine.pcgrad")),
        (("engine.trainer",), ("engine.loss_weighting", "engine.gradient_strategies", "engine.pcgrad")),
        (("diagnostics",), ("config", "data", "models", "losses", "engine.trainer")),
        (("trackers",), ("diagnostics",)),
    ],
    ids=lambda rooms: rooms[0],
)
def test_rooms_that_do_not_need_each_other_do_not_know_each_other(importers, forbidden):
    assert any(within(module, importers) for module in MODULES)
    found = {module: {name for name in names if within(name, forbidden)} for module, names in IMPORTS.items()}
    assert {module: names for module, names in found.items() if names and within(module, importers)} == {}


def test_solvers_import_numpy_and_one_another_only():
    allowed = {"numpy", "cvxpy", "cvxopt"} | set(sys.stdlib_module_names)
    for module in (module for module in MODULES if within(module, ("engine.solvers",))):
        for name in IMPORTS[module]:
            ours = name == "coral_mtl.errors" or within(name, ("engine.solvers",))
            assert ours or name.split(".")[0] in allowed, f"{module} imports {name}"


def test_no_two_files_import_each_other():
    order: list[str] = []
    path: list[str] = []

    def visit(module):
        assert module not in path, f"a cycle: {' -> '.join([*path[path.index(module) :], module])}"
        if module in order:
            return
        path.append(module)
        for name in sorted(IMPORTS[module] & MODULES.keys()):
            visit(name)
        path.pop()
        order.append(module)

    for module in MODULES:
        visit(module)


def test_only_what_faces_people_knows_the_terminal():
    facing = ("cli", "running.progress", "running.watch", "study.table", "bench.table", "report")
    found = [
        module
        for module, names in IMPORTS.items()
        if not within(module, facing) and {name.split(".")[0] for name in names} & {"rich", "typer"}
    ]
    assert found == []


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after a statement."""
    command = [sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def test_importing_the_package_and_the_command_line_imports_no_torch():
    for module in ("coral_mtl", "coral_mtl.cli"):
        assert not modules_after(f"import {module}") & {"torch", "numpy", "pydantic", "cvxpy", "cvxopt", "sklearn"}


def test_nothing_imports_an_optional_package_before_it_is_used():
    optional = {"cvxpy", "cvxopt", "sklearn", "scipy", "matplotlib", "tensorboard", "wandb", "mlflow"}
    optional |= {"PIL", "datasets", "transformers", "shapely", "optuna", "torchjd", "skimage"}
    every = ", ".join(module for module in MODULES if module != "coral_mtl.__main__")
    assert not modules_after(f"import {every}") & optional
    names = "from coral_mtl.registry import strategies, data, models, losses, optimizers"
    assert not modules_after(f"{names}; [r.names() for r in (strategies, data, models, losses, optimizers)]") & optional
