"""What the code tells of itself: the JSON schema, the tables of the reference, the catalogue of strategies."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from coral_mtl import documentation
from coral_mtl.config import ConfigErrors, load_config
from coral_mtl.config.json_schema import json_schema
from coral_mtl.config.reference import reference_tables
from coral_mtl.config.sections import Config
from coral_mtl.options import options_of
from coral_mtl.registry import data, losses, models, optimizers, strategies
from coral_mtl.strategy_catalogue import strategy_rows, strategy_table

ROOT = Path(__file__).parents[2]
BASE = {"data": {"type": "OverlappingDigits"}, "model": {"type": "SharedTrunk"}}


@pytest.fixture(scope="module")
def validator():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def built_in() -> dict[str, type]:
    """All registered classes of the package itself by name; other tests may have registered theirs."""
    found = {
        name: table.get(name) for table in (data, models, losses, optimizers, strategies) for name in table.names()
    }
    return {name: cls for name, cls in found.items() if cls.__module__.startswith("coral_mtl.")}


def strategy(name, **params):
    return {"loss": {"weighting_strategy": {"type": name, "params": params}}}


@pytest.mark.parametrize(
    ("part", "legal"),
    [
        ({}, True),
        ({"seed": -1}, False),
        ({"sed": 1}, False),
        ({"trainer": {"epochs": 3}}, True),
        ({"trainer": {"epochs": "3"}}, False),
        ({"trainer": {"max_grad_norm": None}}, True),
        ({"trainer": {"metric_mode": "maxx"}}, False),
        ({"data": {"type": "overlapping_digits", "params": {"train_size": 10}}}, True),
        ({"data": {"type": "overlapping_digits", "params": {"train_size": 0}}}, False),
        ({"data": {"type": "OverlapingDigits"}}, False),
        ({"data": {}}, False),
        (strategy("Uncertainty"), True),
        (strategy("UN-CERT_ainty"), True),
        (strategy("Uncertanty"), False),
        (strategy("Uncertainty", clamp=3), True),
        (strategy("uncertainty", clamp=0), False),
        (strategy("uncertainty", temperature=1), False),
        (strategy("dwa", temperature=1), True),
        (strategy("imtl_l"), True),
        (strategy("Static"), False),
        ({"loss": {"weighting_strategy": {"type": "Static"}}}, False),
        (strategy("Static", weights={"left": 1, "right": 1, "ink": 1}), True),
        (strategy("Static", weights={"left": -1, "right": 1, "ink": 1}), False),
        ({"loss": {"weighting_strategy": {"params": {"reduction": "mean"}}}}, True),
        ({"loss": {"weighting_strategy": {"params": {"temperature": 1}}}}, False),
        ({"optimizer": {"params": {"adam_betas": [0.9, 0.99]}}}, True),
        ({"optimizer": {"params": {"adam_betas": [0.9]}}}, False),
        ({"optimizer": {"type": "SGD", "params": {"adam_betas": [0.9, 0.99]}}}, False),
    ],
)
def test_the_schema_and_the_loader_agree(validator, write, part, legal):
    plain = BASE | part
    assert validator.is_valid(plain) is legal
    path = write(yaml.safe_dump(plain))
    if legal:
        load_config(path)
    else:
        with pytest.raises(ConfigErrors):
            load_config(path)


def test_the_schema_offers_every_type_and_option_with_its_help():
    text = json.dumps(json_schema())
    for name, cls in built_in().items():
        assert json.dumps(name) in text
        for option in options_of(cls).values():
            assert json.dumps(option.help)[1:-1] in text


def test_every_key_of_the_sections_has_a_meaning():
    for name, field in Config.model_fields.items():
        inner = getattr(field.annotation, "model_fields", {name: field})
        assert all(inner_field.description for inner_field in inner.values()), name


def test_every_option_has_a_meaning():
    missing = [
        f"{name}.{option.name}"
        for name, cls in built_in().items()
        for option in options_of(cls).values()
        if not option.help
    ]
    assert missing == []


def test_rows_of_the_tables():
    rows = reference_tables().splitlines()
    for row in (
        "| `epochs` | whole number | `10` | > 0 | Passes over the training data. |",
        "| `max_grad_norm` | number or null | `null` | > 0 | Clip the norm of the whole gradient to this; "
        "null does not clip. |",
        "| `weights` | mapping of names to number or schedule | must be given | ≥ 0 | weight of each task's loss, by "
        "task name, a number or a schedule such as `{cosine: {start: 0.9, end: 0.2}}`; every task of the run must be "
        "named. |",
        "| `set` | constraint set | must be given |  | One kind with its options, such as `non_negative` or "
        "`{box: {low: 0, high: 1}}`. |",
        "| `then` | number or schedule | must be given |  | the schedule that follows. |",
        "| `adam_betas` | list of 2: number, number | `[0.9, 0.999]` | ≥ 0, < 1 | decay rates of Adam's two averages "
        "(default [0.9, 0.999]). |",
        '| `nonfinite` | `skip` or `raise` or `drop` | `"skip"` |  | At a loss or gradient that is not finite: `skip` '
        "the step, `raise` an error, or `drop` the task from the step. |",
    ):
        assert row in rows


def test_a_bar_in_a_cell_does_not_end_it():
    (row,) = [line for line in reference_tables().splitlines() if line.startswith("| `device` |")]
    assert row.replace(r"\|", "").count("|") == 6


def test_the_catalogue_tells_kind_cost_and_promises():
    rows = {row.name: row for row in strategy_rows()}
    assert set(rows) == set(strategies.names())
    assert rows["Equal"].kind == "loss weighting"
    assert rows["Equal"].cost == "1 backward"
    assert "descends the mean loss" in rows["Equal"].promises
    assert rows["PCGrad"].kind == "gradient strategy"
    assert rows["PCGrad"].cost == "T backwards; T + N - 1 in N steps with `update_frequency: N`"
    assert rows["PCGrad"].convention == "mean"
    assert "Yu et al." in rows["PCGrad"].paper
    assert rows["Static"].promises is None
    assert list(rows["DWA"].options) == ["temperature", "window"]
    kinds = [row.kind for row in strategy_rows()]
    assert kinds == sorted(kinds, reverse=True)
    assert len(strategy_table().splitlines()) == len(rows) + 2


def test_generated_parts_are_written_between_their_marks():
    text = "a\n<!-- generated: strategies -->\nold\n<!-- end of generated -->\nb\n"
    written = documentation.refreshed(text)
    assert written == f"a\n<!-- generated: strategies -->\n\n{strategy_table()}\n\n<!-- end of generated -->\nb\n"
    assert documentation.refreshed(written) == written


def test_generated_files_are_fresh():
    script = (  # in a process of its own: other tests may have registered classes in this one
        "import sys, pathlib; from coral_mtl.documentation import generated_files; "
        "stale = [str(f) for f, new in generated_files(pathlib.Path()).items() "
        "if not f.exists() or f.read_text(encoding='utf-8') != new]; sys.exit(' '.join(stale) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"not fresh: {done.stderr.strip()}; run in the repository: {documentation.COMMAND}"
