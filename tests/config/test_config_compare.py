"""The section `compare`: where it has an effect, and what is wrong with it told with its place."""

import pytest

from coral_mtl.config import ConfigErrors, dump_config, load_config

BASE = "data: {type: OverlappingDigits}\nmodel: {type: SharedTrunk}\n"
SECTION = "compare: {baseline: slow, variants: {fast: {optimizer.params.lr: 1e-2}, slow: {}}}\n"


def test_variants_are_read_and_written(write):
    config = load_config(write(BASE + SECTION), compare=True)
    assert config.compare.variants == {"fast": {"optimizer.params.lr": 0.01}, "slow": {}}
    assert load_config(write(dump_config(config)), compare=True) == config


def test_a_single_run_refuses_the_section_and_writes_none(write):
    path = write(BASE + SECTION)
    with pytest.raises(ConfigErrors, match=r"compare: this section has no effect on a single run\n.*coral-mtl compare"):
        load_config(path)
    assert "compare" not in dump_config(load_config(path, ["compare=null"]))


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("{variants: {one: {}}}", "at least 2 values"),
        ("{variants: {one: {}, two: {}}, baseline: three}", "no variant is the baseline; there are one, two"),
        ("{variants: {one: {}, two: {seed: 3}}}", "two changes seed, which a comparison decides for all its runs"),
        ("{variants: {one: {}, two: {trainer.early_stopping.patience: 3}}}", "two changes trainer.early_stopping"),
        ("{variants: {one: {}, two: 3}}", "compare.variants.two"),
        ("{variant: {}}", 'did you mean "variants"'),
    ],
)
def test_mistakes_are_told(write, section, message):
    with pytest.raises(ConfigErrors) as caught:
        load_config(write(f"{BASE}compare: {section}\n"), compare=True)
    assert message in str(caught.value)
