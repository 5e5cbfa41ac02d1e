import math
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from coral_mtl.documents.problems import ConfigErrors, Place
from coral_mtl.documents.yaml_1_2 import parse, write


def place(line, column):
    return Place(0, line, column, "f")


def value(text):
    node, problems = parse(text, place)
    assert problems == []
    return node.plain()


def complaints(text):
    return [str(problem).partition("\n")[0] for problem in parse(text, place)[1]]


def broken(text):
    with pytest.raises(ConfigErrors) as caught:
        parse(text, place)
    return str(caught.value)


@pytest.mark.parametrize(("opened", "closed"), [("[", "]"), ("{a: ", "}")])
def test_a_document_is_no_deeper_than_can_be_read(opened, closed):
    assert "nested too deep" in broken(f"key: {opened * 3000}{closed * 3000}")
    assert value(f"key: {opened * 100}{closed * 100}")
    for depth in range(250, 500, 7):  # around the deepest that can be
        with suppress(ConfigErrors):
            value(f"key: {opened * depth}{closed * depth}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[("6e-5", 6e-5), ("1e-4", 1e-4), ("1E3", 1000.0), ("1.", 1.0), (".5", 0.5), ("-.5e+1", -5.0), ("+1.5", 1.5)],
        *[(".inf", math.inf), ("-.Inf", -math.inf), ("0", 0), ("-12", -12), ("+3", 3), ("012", 12), ("0o17", 15)],
        *[("0x1F", 31), ("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("", None)],
    ],
)
def test_core_schema_scalars(text, expected):
    assert value(f"key: {text}") == {"key": expected}
    assert type(value(f"key: {text}")["key"]) is type(expected)


@pytest.mark.parametrize(
    "text",
    [
        *[
            "on",
            "off",
            "yes",
            "no",
            "Yes",
            "ON",
            "y",
            "n",
            "tRUE",
            "1_000",
            "0b11",
            "190:20:30",
            "2001-12-14",
            "e5",
            ".",
        ],
        *["1e", "0o9", "1.2.3", "6e-5x", "inf", "nan", "nil", "=", "+", "-x", "1,5"],
    ],
)
def test_everything_else_is_text(text):
    assert value(f"key: {text}") == {"key": text}


def test_quotes_make_text():
    assert value("{a: '1', b: \"true\", c: '', d: |\n  6e-5\n}".replace("d: |\n  6e-5\n", "d: 'null'")) == {
        "a": "1",
        "b": "true",
        "c": "",
        "d": "null",
    }


def test_keys_are_text_as_written():
    text = "on: 1\nyes: 2\n1: 3\n1.0: 4\nnull: 5\ntrue: 6\n0x1: 7\n"
    assert value(text) == {"on": 1, "yes": 2, "1": 3, "1.0": 4, "null": 5, "true": 6, "0x1": 7}


def test_every_key_and_item_has_its_place():
    node, _ = parse("a:\n  b: 1\n  'c d': [10,\n     20]\ne: {f: {g: 2}}\n", place)
    where = {path: str(node.deepest(path).place) for path in [("a",), ("a", "b"), ("a", "c d"), ("e", "f", "g")]}
    assert where == {("a",): "f:1:1", ("a", "b"): "f:2:3", ("a", "c d"): "f:3:3", ("e", "f", "g"): "f:5:9"}
    assert str(node.deepest(("a", "c d", 1)).place) == "f:4:6"


def test_deepest_stops_where_nothing_was_written():
    node, _ = parse("a:\n  b: [1]\n", place)
    assert str(node.deepest(("a", "x", "y")).place) == "f:1:1"
    assert str(node.deepest(("a", "b", 3)).place) == "f:2:3"
    assert str(node.deepest(("z",)).place) == "f:1:1"


def test_every_duplicate_is_told_and_all_contents_are_kept():
    text = "a:\n  x: 1\nb: 2\na:\n  x: 3\n  y: 4\nb: 5\n"
    assert complaints(text) == [
        "f:4:1: a: duplicate key, first given in line 1",
        "f:7:1: b: duplicate key, first given in line 3",
    ]
    assert parse(text, place)[0].plain() == {"a": {"x": 1, "y": 4}, "b": 2}


def test_keys_are_duplicates_by_their_text_alone():
    assert complaints("on: 1\n'on': 2\n1: 3\n1.0: 4\n") == ["f:2:1: on: duplicate key, first given in line 1"]


def test_an_alias_is_its_anchors_value_with_the_anchors_places():
    node, problems = parse("a: &x {k: 1}\nb: *x\nc: [&n 5, *n]\n", place)
    assert problems == []
    assert node.plain() == {"a": {"k": 1}, "b": {"k": 1}, "c": [5, 5]}
    assert str(node.deepest(("b",)).place) == "f:2:1"
    assert str(node.deepest(("b", "k")).place) == "f:1:8"


def test_merge_keys_are_refused():
    assert complaints("a: &x {k: 1}\nb:\n  <<: *x\n") == ["f:3:3: b.<<: merge keys are not supported"]


@pytest.mark.parametrize("text", ["a: &x {b: *x}", "a: &x [*x]"])
def test_an_alias_within_its_own_anchor_is_refused(text):
    assert "unfolds without end" in broken(text)


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "unfolds without end" in broken("\n".join(lines))


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system", "!include", "!!set", "!!binary", "!!timestamp"])
def test_tags_build_nothing(tag):
    node, problems = parse(f"a: {tag} x", place)
    assert "is not allowed" in str(problems[0])
    assert node.plain() == {"a": None}


def test_tags_of_the_core_schema_are_obeyed():
    assert value("a: !!str 5\nb: !!float 5\n") == {"a": "5", "b": 5.0}
    assert complaints("a: !!int x\nb: !!bool yes") == [
        "f:1:1: a: 'x' is not of the type that its tag says",
        "f:2:1: b: 'yes' is not of the type that its tag says",
    ]


def test_not_a_number_is_refused():
    assert complaints("a: [1, .nan]") == ["f:1:8: a.1: not-a-number is no setting"]


def test_a_list_as_a_key_is_refused():
    assert complaints("a:\n  ? [1, 2]\n  : 3\n") == ["f:2:5: a: a key must be a single word, not a list or a mapping"]


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        ("a: 1\n\tb: 2\n", "f:2:1", "indent with spaces"),
        ("a: b\n  c: d\n", "f:2:4", "indented too deep"),
        ("a:\n    b: 1\n  c: 2\n", "f:3:3", "fits no line above"),
        ("a: 1\n---\nb: 2\n", "f:2:1", "remove the line ---"),
        ("a: @x\n", "f:1:4", "in quotes"),
        ("a: [1, 2\n", "f:2:1", "in line 1"),
        ("a: 'x\n", "f:2:1", "in line 1"),
        ("a: *x\n", "f:1:4", "undefined alias"),
        ("a: b\x07c\n", "f:1:5", "U+0007"),
    ],
)
def test_broken_syntax_is_told_with_its_place(text, where, hint):
    message = broken(text)
    assert message.startswith(f"{where}: ")
    assert hint in message


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["C"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["C"]), min_size=1), inner)
    ),
    max_leaves=8,
)


@given(plain_values)
def test_what_is_written_reads_back(plain):
    assert value(write(plain)) == plain


@pytest.mark.parametrize(
    "text", ["6e-5", "1.", "on", "yes", "null", "~", "0o17", "0x1", "1_000", "<<", "=", "12:30", ".5"]
)
def test_text_that_looks_like_something_else_stays_text(text):
    assert value(write({"key": text})) == {"key": text}
    assert yaml.safe_load(write({"key": text})) == {"key": text}  # and for readers of YAML 1.1


def test_lists_are_written_on_one_line():
    assert write({"betas": [0.9, 0.999]}) == "betas: [0.9, 0.999]\n"
