"""Options are checked where they are declared, in Python calls as in YAML."""

import pytest

from coral_mtl.errors import StrategyError
from coral_mtl.options import Fraction, PositiveInt, checked, options_of


@pytest.fixture
def strategy():
    class Example:
        """An example."""

        def __init__(self, model: str, *, c: Fraction = 0.4, every: PositiveInt, quiet: bool = False) -> None:
            """Make one.

            Args:
                model: given by the run.
                c: radius of the ball, in units of
                    |g_0| (default 0.4).
                every: steps.

            Raises:
                ValueError: never.
            """
            self.c = c

        def unused_options(self):
            return {"quiet": "nothing is said"} if self.c else {}

    return checked(Example, StrategyError)


def test_options_are_the_keyword_only_parameters(strategy):
    options = options_of(strategy)
    assert list(options) == ["c", "every", "quiet"]
    assert options["c"].help == "radius of the ball, in units of |g_0| (default 0.4)."
    assert options["c"].default == 0.4
    assert options["every"].default is ...


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"c": 1.5, "every": 1}, "c = 1.5: .* less than or equal to 1"),
        ({"c": float("nan"), "every": 1}, "c = nan: .* finite"),
        ({"every": 0}, "every = 0: .* greater than 0"),
        ({}, "every"),
        ({"every": 1, "ever": 1}, "ever = 1: .* not permitted"),
        ({"every": 0, "c": -1}, "(?s)c = -1.*every = 0"),
    ],
)
def test_wrong_options_are_told_by_name(strategy, given, message):
    with pytest.raises(StrategyError, match=message):
        strategy("net", **given)


def test_an_option_without_effect_is_refused_where_it_is_given(strategy):
    with pytest.raises(StrategyError, match="nothing is said"):
        strategy("net", every=1, quiet=True)
    strategy("net", every=1, c=0.0, quiet=True)
    strategy("net", every=1)


def test_options_that_are_passed_on_are_those_of_the_class_that_is_extended(strategy):
    class Child(strategy):
        def __init__(self, *, scale: PositiveInt = 1, **options) -> None:
            """Make one.

            Args:
                scale: size.
            """
            super().__init__("net", **options)

    child = checked(Child, StrategyError)
    options = options_of(child)
    assert list(options) == ["c", "every", "quiet", "scale"]
    assert options["every"] == options_of(strategy)["every"]
    assert child(every=2, c=0.3, scale=3).c == 0.3
    for wrong, message in [
        ({"every": 0}, "Child: every = 0"),
        ({"every": 1, "options": 1}, "options = 1: .* not permitted"),
        ({"every": 1, "quiet": True}, "Child: quiet has no effect: nothing is said"),
    ]:
        with pytest.raises(StrategyError, match=message):
            child(**wrong)


def test_a_subclass_is_checked_against_its_own_options(strategy):
    class Child(strategy):
        def __init__(self, *, scale: PositiveInt = 1) -> None:
            super().__init__("net", every=scale)

    child = checked(Child, StrategyError)
    child(scale=2)
    with pytest.raises(StrategyError, match=r"Child: scale = 0"):
        child(scale=0)
