import numpy as np
import pytest

from coral_mtl.engine.reports import StepReport
from coral_mtl.engine.step import Step
from coral_mtl.running.pace import Glance, Pace, duration


def test_pace_is_that_of_the_last_fifty_moments():
    pace = Pace()
    assert pace.seconds is None
    pace.note(1, 0.0)
    assert pace.seconds is None
    moment = 0.0
    for step in range(2, 102):
        moment += 10.0 if step <= 51 else 0.25
        pace.note(step, moment)
    assert pace.seconds == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (3.6e6, "1,000 h 0 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words


def test_a_glance_has_losses_conflict_pace_and_time_to_go():
    glance = Glance(100)
    assert glance.words() == ""
    gram = np.array([[1.0, -0.5, 0.5], [-0.5, 1.0, -0.1], [0.5, -0.1, 1.0]])
    for number, measured in ((1, gram), (2, None)):
        losses = {"a": 0.25, "b": 123456.0, "c": float("nan")}
        step = Step(tasks=("a", "b", "c"), losses=losses, gram=measured)
        glance.take(StepReport(number, number, 0, step, lr=0.1, clip_factor=1.0))
    words = glance.words()
    assert words.startswith("a 0.25  b 1.235e+05  c nan  67% of pairs in conflict  ")
    assert " ms a step  " in words
    assert words.endswith(" to go")
    assert not glance.words(to_go=False).endswith(" to go")


def test_of_many_tasks_the_first_eight_are_shown():
    glance = Glance(10)
    step = Step(losses={f"t{number}": 1.0 for number in range(11)})
    glance.take(StepReport(1, 1, 0, step, lr=0.1, clip_factor=1.0))
    assert glance.words().endswith("t7 1  and 3 more")
