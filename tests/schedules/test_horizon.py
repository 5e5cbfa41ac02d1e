import pytest

from coral_mtl.errors import ConfigError
from coral_mtl.schedules import Horizon
from coral_mtl.schedules.horizon import duration, settled

RUN = Horizon(steps=2000, steps_per_epoch=50)


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        ("10 epochs", 500.0),
        ("1 epoch", 50.0),
        ("0.5 epochs", 25.0),
        (".5epochs", 25.0),
        ("500 steps", 500.0),
        (" 1 step ", 1.0),
        ("1e3 steps", 1000.0),
        (0.1, 200.0),
        (0, 0.0),
        (1, 2000.0),
        (1.0, 2000.0),
    ],
)
def test_lengths_are_read(written, steps):
    assert duration(written).steps(RUN) == steps


@pytest.mark.parametrize("written", [10, -0.1, 1.0001, "10", "epochs", "-1 epochs", "3 batches", "1 000 steps", ""])
def test_what_is_no_length_is_refused_with_the_ways_to_write_one(written):
    with pytest.raises(ConfigError, match='write "10 epochs", "500 steps", or a number from 0 to 1'):
        duration(written)


def test_a_share_is_of_what_is_left():
    assert duration(0.5).steps(RUN.after(500)) == 750.0


@pytest.mark.parametrize(("steps", "per_epoch"), [(0, 1), (-5, 1), (10, 0)])
def test_a_run_takes_time(steps, per_epoch):
    with pytest.raises(ConfigError, match="has no time for a schedule"):
        Horizon(steps, per_epoch)


def test_rounding_errors_settle_and_parts_of_steps_do_not():
    assert settled(10 + 10 * 1.1) == 21.0
    assert settled(0.1 * 3) == 0.1 * 3
    assert settled(67.5) == 67.5
    assert settled(1e-12) == 0.0
