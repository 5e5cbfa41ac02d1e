"""Thresholds by name=value: what is accepted, and how everything else is refused."""

import math
from dataclasses import fields, replace

import pytest

from coral_mtl.diagnostics.thresholds import DEFAULT, Thresholds
from coral_mtl.errors import ConfigError


def test_values_are_put_in_by_name():
    found = DEFAULT.overridden(["imbalance_ratio=5", "min_records=50", "strong_conflict=-1e-1"])
    assert found == replace(DEFAULT, imbalance_ratio=5.0, min_records=50, strong_conflict=-0.1)
    assert isinstance(found.min_records, int)
    assert DEFAULT.overridden([]) == DEFAULT


@pytest.mark.parametrize(
    ("assignments", "told"),
    [
        (["imbalance_rato=5"], 'did you mean "imbalance_ratio"'),
        (["ImbalanceRatio=5"], 'did you mean "imbalance_ratio"'),
        (["nothing_like_it=5"], "known: min_records"),
        (["imbalance_ratio"], "write name=value"),
        (["imbalance_ratio="], "not a number"),
        (["imbalance_ratio=ten"], "not a number"),
        (["imbalance_ratio=nan"], "1 or more"),
        (["imbalance_ratio=inf"], "1 or more"),
        (["imbalance_ratio=0.5"], "1 or more"),
        (["hurt_share=60"], "between 0 and 1"),
        (["hurt_cosine=-2"], "between -1 and 1"),
        (["min_records=20.5"], "not a whole number"),
        (["min_records=0"], "1 or more"),
        (["hurt_share=0.5", "hurt_share=0.6"], "given twice"),
    ],
)
def test_what_is_wrong_is_told(assignments, told):
    with pytest.raises(ConfigError) as error:
        DEFAULT.overridden(assignments)
    assert told in str(error.value)
    assert "threshold" in str(error.value)


@pytest.mark.parametrize("field", fields(Thresholds), ids=lambda field: field.name)
def test_every_threshold_has_a_range_that_its_default_is_in(field):
    assert math.isfinite(field.default)
    with pytest.raises(ConfigError, match=field.name):
        replace(DEFAULT, **{field.name: math.nan})
    with pytest.raises(ConfigError, match=field.name):
        replace(DEFAULT, **{field.name: -2.0})


def test_all_values_out_of_range_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        replace(DEFAULT, hurt_share=2.0, imbalance_ratio=0.1)
    assert "hurt_share" in str(error.value)
    assert "imbalance_ratio" in str(error.value)
