"""The section `study`: where it has an effect, and what is wrong with it told with its place."""

import pytest

from coral_mtl.config import ConfigErrors, dump_config, load_config

SECTION = "study: {space: {optimizer.params.lr: {type: float, low: 1e-4, high: 1e-2, log: true}}}\n"


def problems(path):
    with pytest.raises(ConfigErrors) as caught:
        load_config(path, study=True)
    return str(caught.value)


def test_a_study_is_read_with_its_defaults(write):
    config = load_config(write(_with(SECTION)), study=True)
    assert config.study.n_trials == 20
    assert config.study.space["optimizer.params.lr"].log
    assert load_config(write(dump_config(config)), study=True) == config


def test_a_single_run_refuses_the_section_and_writes_none(write):
    path = write(_with(SECTION))
    with pytest.raises(ConfigErrors, match=r"study: this section has no effect on a single run\n.*coral-mtl study"):
        load_config(path)
    config = load_config(path, ["study=null"])
    assert "study" not in dump_config(config)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{space: {}}", "study.space"),
        ("{space: {a.b: {type: float, low: 2.0, high: 1.0}}}", "low must be below high"),
        ("{space: {a.b: {type: int, low: 0, high: 3, log: true}}}", "low must be above 0"),
        ("{space: {a.b: {type: float, low: 1.0, high: 3.0, log: true, step: 0.1}}}", "log and step exclude each other"),
        ("{space: {a.b: {type: integer, low: 1, high: 3}}}", "one of 'float', 'int', 'categorical'"),
        ("{space: {a.b: {low: 1, high: 3}}}", "a mapping with the key 'type'"),
        ("{space: {a.b: {type: categorical, choices: []}}}", "at least 1 values"),
        (
            "{space: {a.b: {type: int, low: 0, high: 3}}, objectives: [{metric: tasks.lft.accuracy}]}",
            'did you mean "tasks.left.accuracy"',
        ),
        (
            "{space: {a.b: {type: int, low: 0, high: 3}}, pruner: {}, objectives: [{metric: global.score}, "
            "{metric: global.loss}]}",
            "a pruner needs a single objective",
        ),
    ],
)
def test_mistakes_are_told(write, section, message):
    assert message in problems(write(_with(f"study: {section}\n")))


def _with(section):
    return "data: {type: OverlappingDigits}\nmodel: {type: SharedTrunk}\n" + section
