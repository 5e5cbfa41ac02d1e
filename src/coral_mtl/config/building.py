"""Mistakes in a configuration that show only when the run is built, told at their places."""

from collections.abc import Iterator
from contextlib import contextmanager

from coral_mtl.config.keys import BLOCKS
from coral_mtl.config.sections import Config
from coral_mtl.documents.problems import ConfigErrors, KeyPath, Problem, dotted
from coral_mtl.errors import ConfigError


@contextmanager
def told_at(config: Config, *path: str | int) -> Iterator[None]:
    """Tell a ConfigError as a problem with the key at `path`, at the place where it was written.

    Of a block with a `type`, an option that the error names is the key. What was not read from a file has no place.
    """
    try:
        yield
    except ConfigErrors:
        raise  # each has its place
    except ConfigError as error:
        key = (*path, "params", error.option) if error.option and path in BLOCKS else path
        raise _placed(config, key, error) from error


def _placed(config: Config, path: KeyPath, error: ConfigError) -> ConfigError:
    if config._places is None:
        return ConfigError(f"{dotted(path)}: {error}", option=error.option)
    message, _, advice = str(error).partition("\n")
    return ConfigErrors([Problem(config._places.of(path), path, message, advice)])
