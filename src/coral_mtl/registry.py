"""Names to classes: what `type: NashMTL` in a YAML file means, for strategies, data, models, losses and metrics.

A built-in class registers itself with the decorator where it is defined; its module is imported when a name is first
looked up. Another package adds its own through an entry point of the registry's group (see docs/adding-a-strategy.md).
"""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from coral_mtl.errors import ConfigError, CoralError, StrategyError
from coral_mtl.options import checked

Registered = TypeVar("Registered")


def canonical_key(name: str) -> str:
    """Fold a name so that `ImGrad`, `im_grad` and `IMGRAD` meet: case, `_` and `-` do not count."""
    return name.replace("_", "").replace("-", "").lower()


class UnknownNameError(ConfigError):
    """No class is registered under a name; `suggestion` is the nearest name, if one is near."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        near = difflib.get_close_matches(canonical_key(name), [canonical_key(k) for k in known], n=1, cutoff=0.6)
        self.suggestion = next((k for k in known if near and canonical_key(k) == near[0]), None)
        hint = f'did you mean "{self.suggestion}"? ' if self.suggestion else ""
        super().__init__(f'no {kind} called "{name}"\n    {hint}known: {", ".join(known)}')


class Registry(Generic[Registered]):
    """A table of classes of one kind, by name."""

    def __init__(self, kind: str, *, packages: tuple[str, ...], error: type[CoralError] = ConfigError) -> None:
        """Create the table.

        Args:
            kind: what the classes are, in the words of error messages; also the entry-point group `coral_mtl.<kind>`.
            packages: modules or packages (with all their modules) that define the built-in classes.
            error: what a registered class raises when it is built with wrong options.
        """
        self.kind = kind
        self._error = error
        self._packages = packages
        self._classes: dict[str, type[Registered]] = {}
        self._names: dict[str, str] = {}
        self._loaded = False

    def register(self, cls: type[Registered]) -> type[Registered]:
        """Class decorator: make `cls` known under its own name."""
        return self.add(cls.__name__, cls)

    def named(self, name: str) -> Callable[[type[Registered]], type[Registered]]:
        """Class decorator: make a class known under `name`."""
        return lambda cls: self.add(name, cls)

    def add(self, name: str, cls: type[Registered]) -> type[Registered]:
        """Make `cls` known under `name`; raise ConfigError if another class has that name."""
        key = canonical_key(name)
        taken = self._names.get(key)
        if taken is not None and self._classes[taken] is not cls:
            raise ConfigError(f'two classes claim the {self.kind} name "{name}": {self._classes[taken]} and {cls}')
        self._names[key] = name
        self._classes[name] = checked(cls, self._error)
        return cls

    def canonical(self, name: str) -> str:
        """Return the registered spelling of `name`; raise UnknownNameError with the nearest one if there is none."""
        self._load()
        found = self._names.get(canonical_key(name))
        if found is None:
            raise UnknownNameError(self.kind, name, self.names())
        return found

    def get(self, name: str) -> type[Registered]:
        """Return the class registered under `name`, whatever its case, `_` and `-`."""
        return self._classes[self.canonical(name)]

    def name_of(self, cls: type) -> str:
        """Return the name that `cls` is registered under, or its class name if it is not registered."""
        self._load()
        return next((name for name, known in self._classes.items() if known is cls), cls.__name__)

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        self._load()
        return sorted(self._classes, key=str.lower)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        for package in self._packages:
            module = importlib.import_module(package)
            for child in pkgutil.iter_modules(getattr(module, "__path__", []), f"{package}."):
                importlib.import_module(child.name)
        for point in entry_points(group=f"coral_mtl.{self.kind.replace(' ', '_')}"):
            self.add(point.name, point.load())


def takes_augmentations(data: type) -> bool:
    """Return whether a data set is built with augmentations, as its first positional argument."""
    return "augmentations" in inspect.signature(data).parameters


strategies: Registry = Registry(
    "strategy",
    packages=(
        "coral_mtl.engine.loss_weighting",
        "coral_mtl.engine.gradient_strategies",
        "coral_mtl.engine.pcgrad",
    ),
    error=StrategyError,
)
data: Registry = Registry("data", packages=("coral_mtl.data",))
models: Registry = Registry("model", packages=("coral_mtl.models",))
losses: Registry = Registry("loss", packages=("coral_mtl.losses",))
augmentations: Registry = Registry("augmentation", packages=("coral_mtl.data.segmentation",))
metrics: Registry = Registry("metric set", packages=("coral_mtl.metrics",))
"""Of classes built as `cls(tasks, *, options)`, whose instances are what metrics/protocol.py says."""
inference: Registry = Registry("inference", packages=("coral_mtl.inference",))
optimizers: Registry = Registry("optimizer", packages=("coral_mtl.engine.optimizer",))
schedules: Registry = Registry("schedule", packages=("coral_mtl.schedules",))
constraint_sets: Registry = Registry("constraint set", packages=("coral_mtl.constraints.sets",))
constraint_modes: Registry = Registry("constraint mode", packages=("coral_mtl.constraints.modes",))
regularisers: Registry = Registry("regulariser", packages=("coral_mtl.losses.regularisers",))
