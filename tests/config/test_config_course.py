"""Schedules, stages, restraints and rules in a file: what is legal, and every mistake at its place."""

import pytest

from coral_mtl.config import dump_config, load_config

BASE = "data: {type: OverlappingDigits}\nmodel: {type: SharedTrunk}\n"
OPTIMIZER = BASE + "optimizer:\n  type: AdamW\n  schedule:\n"
STATIC = "loss:\n  weighting_strategy:\n    type: Static\n    params:\n      weights:\n"
EVERYTHING = """\
data: {type: OverlappingDigits}
model: {type: SharedTrunk}
loss:
  weighting_strategy:
    type: Static
    params: {weights: {left: 1, right: {cosine: {start: 0.9, end: 0.2}}, ink: {steps: {values: {0: 1, 5 epochs: 0}}}}}
    times: {type: GradientNormalised, params: {update_frequency: 10}}
optimizer:
  type: AdamW
  schedule: {joined: {parts: [warm_restarts, {linear: {start: 1, end: 0, length: 1.0}}], lengths: [0.5]}}
  plateau: {factor: 0.1}
parameters:
  - {pattern: trunk.*, lr_factor: 0.1}
regularisers:
  sparse: {penalty: {l1: {weight: 1e-4}}, parameters: [heads.*]}
constraints:
  bounded:
    set: {box: {low: -1, high: 1}}
    parameters: [trunk.*]
    mode: {penalty: {rho: {geometric: {start: 1, end: 9}}}}
trainer:
  epochs: 30
  stages: [{begin: 20 epochs, reset_optimizer: true, rollback: {margin: 0.1}}]
"""


def test_a_file_with_everything_comes_back_as_it_was(write):
    config = load_config(write(EVERYTHING))
    assert config.optimizer.plateau.patience == 3
    assert config.constraints["bounded"].mode == {"penalty": {"rho": {"geometric": {"start": 1, "end": 9}}}}
    again = write(dump_config(config), "again.yaml")
    assert load_config(again, ["name=reef"]) == config


def test_overrides_reach_into_schedules(write):
    config = load_config(
        write(EVERYTHING), ["optimizer.schedule=fine_tuning", "regularisers.sparse.parameters=[trunk.*]"]
    )
    assert config.optimizer.schedule == "fine_tuning"
    assert config.regularisers["sparse"].parameters == ["trunk.*"]


@pytest.mark.parametrize(
    ("text", "told", "advised"),
    [
        (
            OPTIMIZER + "    cosin: {start: 1, end: 0}\n",
            'reef.yaml:5:3: optimizer.schedule: no schedule called "cosin"',
            'did you mean "cosine"?',
        ),
        (
            OPTIMIZER + "    cosine:\n      start: 1\n      end: 0\n      lenght: 3\n",
            "reef.yaml:9:7: optimizer.schedule.cosine.lenght: unknown key",
            'did you mean "length"?',
        ),
        (
            OPTIMIZER + "    cosine: {start: 1}\n",
            "reef.yaml:6:5: optimizer.schedule.cosine.end: this key must be given",
            "",
        ),
        (
            OPTIMIZER + "    warmup:\n      length: 10 epoch s\n      then: 1.0\n",
            "reef.yaml:7:7: optimizer.schedule.warmup.length: '10 epoch s' is not a length of time",
            'write "10 epochs", "500 steps"',
        ),
        (
            OPTIMIZER + "    warmup:\n      length: 10 epochs\n      then: {restarts: {period: 5 epochs}}\n",
            "reef.yaml:5:3: optimizer.schedule: a warm-up of 10 steps does not fit into 10: it must end before",
            "train longer or shorten the warm-up",
        ),
        (
            BASE + "optimizer:\n  schedule: warm_restarts\n",
            "reef.yaml:4:3: optimizer.schedule: AdamWPolyDecay has a schedule of its own",
            "AdamW",
        ),
        (
            BASE + STATIC + "        left: 1\n        right: {linear: {start: 1, end: -1}}\n        ink: 1\n",
            "reef.yaml:6:5: loss.weighting_strategy.params: Static: weights.right is",
            "",
        ),
        (
            BASE + STATIC + "        left: -1\n        right: 1\n        ink: 1\n",
            "reef.yaml:8:9: loss.weighting_strategy.params.weights.left: expected a number of at least 0, got -1",
            "",
        ),
        (
            BASE + "regularisers:\n  sparse:\n    penalty: l1\n    parameters: [heads.*]\n",
            "reef.yaml:5:5: regularisers.sparse.penalty.weight: this key must be given",
            "",
        ),
        (
            BASE
            + "regularisers:\n  sparse:\n    penalty: {l1: {weight: 1}}\n    parameters: [heads.*]\n    aply: term\n",
            "reef.yaml:7:5: regularisers.sparse.aply: unknown key",
            'did you mean "apply"?',
        ),
        (
            BASE + "constraints:\n  soft:\n    set: {box: {low: 1, high: 0}}\n    parameters: [heads.*]\n",
            "reef.yaml:5:5: constraints.soft.set: Box: nothing lies between 1 and 0",
            "high must be above low",
        ),
        (
            BASE + "constraints:\n  soft:\n    set: simplex\n    parameters: []\n",
            "reef.yaml:6:5: constraints.soft.parameters: expected at least 1 values, got a list",
            "",
        ),
        (
            BASE + "parameters:\n  - pattern: heads.*\n",
            "reef.yaml:4:5: parameters.0: a rule with nothing but a pattern has no effect",
            "",
        ),
        (
            BASE + "parameters:\n  - {pattern: heads.*, lr_facto: 1}\n",
            "reef.yaml:4:24: parameters.0.lr_facto: unknown key",
            'did you mean "lr_factor"?',
        ),
        (
            BASE + "trainer:\n  stages:\n    - begin: 0.7\n",
            "reef.yaml:5:7: trainer.stages.0: a stage with nothing but a beginning has no effect",
            "",
        ),
        (
            BASE + "trainer:\n  stages: [{begin: 0.7, reset_optimizer: true}, {begin: 0.6, restore_best: true}]\n",
            "reef.yaml:4:3: trainer.stages: stages: each must begin after the one before and before the end",
            "train longer",
        ),
        (
            BASE + "trainer: {epochs: 3, snapshots: [1, 3]}\n",
            "reef.yaml:3:22: trainer.snapshots: this key has no effect: after epoch 3 nothing is left of",
            "leave it out",
        ),
        (
            BASE + "trainer: {snapshots: [1], early_stopping: {}}\n",
            "reef.yaml:3:11: trainer.snapshots: this key has no effect: trainer.early_stopping may end the run",
            "leave it out",
        ),
        (
            BASE + "optimizer:\n  plateau: {factor: 2.0}\n",
            "reef.yaml:4:13: optimizer.plateau.factor: expected a number less than 1, got 2.0",
            "",
        ),
        (
            BASE + "loss:\n  balance: terms\n",
            "reef.yaml:4:3: loss.balance: this key has no effect: the loss has a single term for each task",
            "leave it out",
        ),
        (
            BASE + "loss:\n  term_weights: {lefty: 2}\n",
            'reef.yaml:4:18: loss.term_weights.lefty: no term is called "lefty"',
            'did you mean "left"?',
        ),
        (
            BASE + "loss:\n  weighting_strategy: {type: Static, params: {weights: {left: 1, right: 1, ink: 1}}, "
            "times: {type: Uncertainty}}\n",
            "loss.weighting_strategy.times.type: Uncertainty learns its weights by a loss of its own, and cannot be "
            "multiplied",
            "such as Static",
        ),
        (
            BASE + "loss:\n  weighting_strategy: {type: MGDA, times: {type: SI}}\n",
            "loss.weighting_strategy.type: MGDA is a gradient strategy, and cannot be multiplied",
            "such as Static",
        ),
        (
            BASE + "loss:\n  weighting_strategy:\n    type: Switch\n    params:\n      metric: tasks.left.acuracy\n"
            "      thresholds: [0.5]\n      weights: [{left: 1, right: 1, ink: 1}, {left: 1, right: 1, ink: 0}]\n",
            'reef.yaml:7:7: loss.weighting_strategy.params.metric: no metric called "tasks.left.acuracy" in this run',
            'did you mean "tasks.left.accuracy"?',
        ),
        (
            BASE + "loss: {weighting_strategy: {type: Curriculum, params: {plan: progressive_hybrid, "
            "terms: [left, right, ink]}}}\n",
            "loss.weighting_strategy.params: a cascade: its terms enter at the steps",
            "give increasing times",
        ),
    ],
)
def test_every_mistake_is_told_at_its_place(complaints, advice, text, told, advised):
    found = complaints(text)
    assert len(found) == 1, found
    assert told in found[0]
    assert advised in advice(text)[0]


def test_what_fits_some_length_of_an_epoch_is_left_to_the_run(complaints):
    steps = OPTIMIZER + "    steps: {values: {0: 1, 5000 steps: 0.1, 9 epochs: 0.01}}\n"
    assert complaints(steps) == []
    assert complaints(OPTIMIZER + "    warmup: {length: 500 steps, then: 1.0}\n") == []
