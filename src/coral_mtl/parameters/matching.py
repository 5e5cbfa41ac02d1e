"""Parameters by pattern: `linear.*`, `backbone.*.bias`, or a full name."""

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from coral_mtl.errors import ConfigError


def matching_names(names: Iterable[str], *patterns: str) -> list[str]:
    """Return the names that any of the patterns matches, in their own order.

    `*` stands for any characters, dots included, `?` for one. Raise ConfigError for a pattern that matches nothing.
    """
    known = list(names)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ConfigError(f"no parameter is called {pattern!r}\n    {_hint(pattern, known)}")
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _hint(pattern: str, known: list[str]) -> str:
    near = difflib.get_close_matches(pattern.rstrip("*."), known, n=3, cutoff=0.3) or known[:3]
    return f"parameters are called {', '.join(near)}{'' if len(near) == len(known) else ', ...'}"
