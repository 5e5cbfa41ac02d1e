"""Figures as strict JSON: a figure that is not finite becomes null, and what is no figure at all is refused."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def strict(value: Any) -> Any:
    """Return `value` as strict JSON holds it: NaN and infinities as None, arrays as lists, names as strings.

    Raises:
        TypeError: `value`, or something inside it, is neither text, a number, None, nor a dict or sequence of these.
    """
    if isinstance(value, np.ndarray | np.generic):
        return strict(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): strict(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [strict(entry) for entry in value]
    raise TypeError(f"a {type(value).__name__} is not JSON")


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Return `value` as strict JSON text."""
    return json.dumps(strict(value), allow_nan=False, indent=indent)
