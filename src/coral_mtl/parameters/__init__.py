"""Parameters by name: which ones a pattern means, and what ordered rules say about each."""

from coral_mtl.parameters.matching import matching_names
from coral_mtl.parameters.rules import (
    NamedParameters,
    Rule,
    Treatment,
    apply_rules,
    keep_frozen_in_eval,
    parameter_groups,
    treatments,
)

__all__ = [
    "NamedParameters",
    "Rule",
    "Treatment",
    "apply_rules",
    "keep_frozen_in_eval",
    "matching_names",
    "parameter_groups",
    "treatments",
]
