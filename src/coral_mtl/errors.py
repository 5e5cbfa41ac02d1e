"""The errors that coral-mtl raises for mistakes a user can mend: each says what is wrong, why, and what to do next."""

from collections.abc import Mapping


class CoralError(Exception):
    """Base of all errors of coral-mtl.

    `option` names the option that is at fault, where one is; `unused` holds the options that were given without effect,
    each with the reason.
    """

    def __init__(self, message: str, *, option: str | None = None, unused: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.option = option
        self.unused = dict(unused or {})


class ConfigError(CoralError, ValueError):
    """A configuration cannot be run as written."""


class StrategyError(CoralError, ValueError):
    """A strategy was given options, tasks or gradients that it cannot work with."""


class TrainingError(CoralError, RuntimeError):
    """A training run cannot go on, such as after too many non-finite steps in a row."""


class CheckpointError(CoralError, RuntimeError):
    """A checkpoint is missing, damaged, or of another run."""


class DataError(CoralError, ValueError):
    """Data are missing, damaged, or do not fit the tasks."""


class MissingExtraError(CoralError, ImportError):
    """An optional dependency is needed here and not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(f"{what} needs the package {package!r}\n    install it with: pip install 'coral-mtl[{extra}]'")
