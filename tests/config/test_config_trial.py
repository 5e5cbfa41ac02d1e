"""What only a trial of the run can tell: contradicting and idle options, tasks, metrics, missing packages."""

from pathlib import Path
from typing import Literal

import pytest

from coral_mtl.config import dump_config, load_config
from coral_mtl.data.tasks import TaskSpec
from coral_mtl.engine.observation import Decision, Needs
from coral_mtl.engine.strategy import GradientStrategy, LossWeighting
from coral_mtl.errors import MissingExtraError, StrategyError
from coral_mtl.options import PositiveInt

BASE = "data: {type: OverlappingDigits}\nmodel: {type: SharedTrunk}\n"


class Probe(GradientStrategy):
    """A gradient strategy with options that are idle, contradict each other, or need a package."""

    def __init__(
        self,
        *,
        mode: Literal["plain", "fancy"] = "plain",
        shine: float = 1.0,
        glow: float = 2.0,
        tables: dict[str, list[Path]] | None = None,
        update_frequency: PositiveInt = 1,
    ) -> None:
        """Set the options.

        Args:
            mode: how (default plain).
            shine: in metres (default 1).
            glow: in seconds (default 2).
            tables: files by name (default none).
            update_frequency: as ever (default 1).
        """
        super().__init__(update_frequency=update_frequency)
        if mode == "fancy" and shine > 5:
            raise StrategyError("Probe: too much shine for fancy mode\n    lower it", option="shine")
        if glow == 13.0:
            raise MissingExtraError("Probe(glow=13)", "luciferin", "solvers")
        if glow == 14.0:
            raise ValueError("Probe: no such glow")
        self.mode = mode

    def unused_options(self):
        return {"shine": "mode is plain", "glow": "mode is plain"} if self.mode == "plain" else {}

    def solve(self, observation):
        return Decision(observation.losses)


@pytest.fixture
def probe(strategies):
    strategies.register(Probe)
    return lambda params="{}", more="": (
        f"{BASE}loss:\n  weighting_strategy:\n    type: probe\n    params: {params}\n{more}"
    )


PARAMS = "loss.weighting_strategy.params"


def test_options_without_effect_are_each_told(complaints, probe):
    assert complaints(probe("{shine: 1, mode: plain, glow: 3}")) == [
        f"reef.yaml:6:14: {PARAMS}.shine: this key has no effect: mode is plain",
        f"reef.yaml:6:37: {PARAMS}.glow: this key has no effect: mode is plain",
    ]


def test_options_without_effect_hide_no_other_problem(complaints, probe):
    shining = probe("{shine: 1}", "diagnostics: {gradient_every: 5}\n")
    assert complaints(shining) == [
        f"reef.yaml:6:14: {PARAMS}.shine: this key has no effect: mode is plain",
        "reef.yaml:7:15: diagnostics.gradient_every: this key has no effect: "
        "probe measures the gradients at every step",
    ]
    assert len(complaints(probe("{shine: 1}", "optimizer: {use_pcgrad_wrapper: true}\n"))) == 2


def test_resolved_params_leave_out_what_has_no_effect(write, probe):
    plain, fancy = (
        load_config(write(probe(f"{{mode: {mode}}}"))).loss.weighting_strategy for mode in ("plain", "fancy")
    )
    assert plain.params == {"mode": "plain", "tables": None, "update_frequency": 1}
    assert fancy.params == {"mode": "fancy", "shine": 1.0, "glow": 2.0, "tables": None, "update_frequency": 1}


def test_contradicting_options_are_told_at_the_option(complaints, advice, probe):
    text = probe("{mode: fancy,\n      shine: 9}")
    assert complaints(text) == [f"reef.yaml:7:7: {PARAMS}.shine: Probe: too much shine for fancy mode"]
    assert advice(text) == ["    lower it"]


def test_a_missing_package_is_told_with_the_install_line(complaints, advice, probe):
    text = probe("{mode: fancy, glow: 13}")
    assert complaints(text) == [
        "reef.yaml:5:5: loss.weighting_strategy.type: Probe(glow=13) needs the package 'luciferin'"
    ]
    assert advice(text) == ["    install it with: pip install 'coral-mtl[solvers]'"]


def test_a_value_error_of_a_third_party_class_is_a_problem_and_no_crash(complaints, probe):
    assert complaints(probe("{mode: fancy, glow: 14}")) == [
        "reef.yaml:5:5: loss.weighting_strategy.type: Probe: no such glow"
    ]


def test_a_wrong_option_is_no_reason_to_call_others_idle(complaints, probe):
    assert complaints(probe("{mode: fancyy, shine: 1}")) == [
        f"reef.yaml:6:14: {PARAMS}.mode: expected 'plain' or 'fancy', got the text \"fancyy\""
    ]


def test_relative_paths_anywhere_in_params_count_from_the_file(write, probe):
    path = write(probe("{tables: {a: [x.csv, /y.csv], b: [../z.csv]}}"), "deep/reef.yaml")
    assert load_config(path).loss.weighting_strategy.params["tables"] == {
        "a": [Path.cwd() / "deep" / "x.csv", Path("/y.csv")],
        "b": [Path.cwd() / "z.csv"],
    }


def test_what_is_a_folder_or_a_name_counts_from_the_file_where_it_is_a_folder_there(write):
    text = "data: {type: OverlappingDigits}\nmodel: {type: SegFormerBaseline, params: {pretrained: %s}}\n"
    for folder in ("deep/weights", "weights", "other"):
        Path(folder).mkdir(parents=True)
    found = {
        name: load_config(write(text % name, "deep/reef.yaml")).model.params["pretrained"]
        for name in ("weights", "../other", "other", "nvidia/mit-b0", "null")
    }
    assert found == {
        "weights": str(Path.cwd() / "deep" / "weights"),
        "../other": str(Path.cwd() / "other"),
        "other": "other",
        "nvidia/mit-b0": "nvidia/mit-b0",
        "null": None,
    }
    again = write(dump_config(load_config(write(text % "weights", "deep/reef.yaml"))), "run/config.yaml")
    assert load_config(again).model.params["pretrained"] == found["weights"]
    given = load_config(write(text % "null", "deep/reef.yaml"), ["model.params.pretrained=weights"])
    assert given.model.params["pretrained"] == str(Path.cwd() / "weights")


def test_pcgrad_on_a_gradient_strategy_is_an_error_that_says_why(complaints, advice, probe):
    for strategy in ("Probe", "PCGrad"):
        text = BASE + f"loss: {{weighting_strategy: {{type: {strategy}}}}}\noptimizer:\n  use_pcgrad_wrapper: true\n"
        assert complaints(text) == [
            f"reef.yaml:5:3: optimizer.use_pcgrad_wrapper: PCGrad cannot be put on {strategy}: that is a gradient "
            "strategy itself, and a second one would undo what the first guarantees"
        ]
        assert "Uncertainty" in advice(text)[0]
    assert complaints(BASE + "optimizer: {use_pcgrad_wrapper: true}\n") == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("trainer: {mixed_precision_dtype: float16}", "trainer.mixed_precision_dtype: this key has no effect"),
        ("trainer: {mixed_precision_dtype: float16, use_mixed_precision: true}", None),
        ("trainer: {metric_mode: max, val_frequency: 4, epochs: 3}", "trainer.metric_mode: this key has no effect"),
        (
            "trainer: {early_stopping: {}, val_frequency: 4, epochs: 3}",
            "trainer.early_stopping: this key has no effect",
        ),
        ("trainer: {metric_mode: max, early_stopping: {}, val_frequency: 3, epochs: 3}", None),
        ("trainer: {nonfinite: raise, max_nonfinite_steps: 3}", "trainer.max_nonfinite_steps: this key has no effect"),
        ("trainer: {nonfinite: drop, max_nonfinite_steps: 3}", None),
        (
            "trainer: {nonfinite: raise, max_nonfinite_steps: 3, use_mixed_precision: true, "
            "mixed_precision_dtype: float16}",
            None,
        ),
        ("diagnostics: {gradient_every: 3}", None),
        ("diagnostics: {gradient_every: 3}\noptimizer: {use_pcgrad_wrapper: true}", "diagnostics.gradient_every: this"),
        ("diagnostics: {gradient_every: 3}\nloss: {weighting_strategy: {type: PCGrad}}", "diagnostics.gradient_every:"),
        (
            "diagnostics: {gradient_every: 3}\n"
            "loss: {weighting_strategy: {type: PCGrad, params: {update_frequency: 5}}}",
            None,
        ),
        (
            "diagnostics: {gradient_every: 3}\nloss: {weighting_strategy: {type: Equal, clip_direction: 1.0}}",
            "diagnostics.gradient_every: this key has no effect: the direction is measured at every step",
        ),
        (
            "diagnostics: {gradient_every: 3}\n"
            "loss: {weighting_strategy: {type: MGDA, params: {update_frequency: 5}, clip_direction: 1.0}}",
            None,
        ),
        (
            "diagnostics: {gradient_every: 3}\n"
            "loss: {weighting_strategy: {type: Equal, times: {type: GradientNormalised}}}",
            "diagnostics.gradient_every: this key has no effect: GradientNormalised measures",
        ),
        ("loss: {weighting_strategy: {type: Equal, gram_on: features, clip_direction: 1.0}}", None),
        ("loss: {weighting_strategy: {type: Equal, gram_on: features, times: {type: GradientNormalised}}}", None),
        ("loss: {weighting_strategy: {type: Equal, gram_on: features}}", "loss.weighting_strategy.gram_on: this key"),
    ],
)
def test_keys_without_effect(complaints, text, complaint):
    found = complaints(f"{BASE}{text}\n")
    assert len(found) == (complaint is not None)
    assert all(f": {complaint}" in line for line in found)


@pytest.mark.parametrize(
    ("strategy", "key", "complaint"),
    [
        ("GradDrop", "rows: ghost", "GradDrop works on the gradients' coordinates, which ghost rows do not have"),
        ("MoCo", "gram_on: features", "MoCo works on the gradients of parameters"),
        ("SDMGrad", "gram_on: features", "SDMGrad works on the gradients of parameters"),
        ("GradDrop", "weight_averaging: 0.9", "the direction of GradDrop is no combination of the gradients"),
        ("MoCo", "weight_averaging: 0.9", "the direction of MoCo is no combination of the gradients"),
        ("GradVac, params: {groups: layer}", "weight_averaging: 0.9", "the direction of GradVac is no combination"),
        ("MGDA", "weight_averaging: 0", "expected a number greater than 0, got 0"),
        ("SDMGrad", "weight_averaging: 0.9", None),
        ("DB-MTL, params: {beta: 0.0}", "weight_averaging: 0.9", None),
        ("NTKMTL, params: {batches: 3}", "gram_on: features", None),
    ],
)
def test_what_a_strategy_on_coordinates_cannot_do_is_told_at_the_key(complaints, strategy, key, complaint):
    found = complaints(f"{BASE}loss: {{weighting_strategy: {{{key}, type: {strategy}}}}}\n")
    place = f"reef.yaml:3:29: loss.weighting_strategy.{key.partition(':')[0]}: "
    assert [line.startswith(f"{place}{complaint}") for line in found] == ([] if complaint is None else [True])


def test_weights_that_are_all_zero_are_told(complaints):
    weights = "{left: 0, right: 0, ink: 0}"
    text = f"{BASE}loss:\n  weighting_strategy:\n    type: Static\n    params:\n      weights: {weights}\n"
    assert complaints(text) == [
        f"reef.yaml:7:7: {PARAMS}.weights: Static: all weights are 0, so that there is nothing to train"
    ]


@pytest.mark.parametrize("key", ["lr_factor", "weight_decay"])
def test_a_rule_that_freezes_has_nothing_else_to_say(complaints, advice, key):
    text = f"{BASE}parameters:\n  - {{pattern: trunk.*, frozen: true, {key}: 0.1}}\n"
    assert complaints(text) == [f"reef.yaml:4:5: parameters.0: {key} has no effect on what this rule freezes"]
    assert advice(text) == ["leave one of the two out"]


@pytest.mark.parametrize(
    "text",
    [
        "trainer: {mixed_precision_dtype: float16, use_mixed_precision: yes}",
        "trainer: {mixed_precision_dtype: float16, use_mixed_precison: true}",
        "trainer: {early_stopping: {}, val_frequency: 4, epochs: '3'}",
        "diagnostics: {gradient_every: 3}\nloss: {weighting_strategy: {type: PCGradd}}",
    ],
)
def test_a_consequence_of_another_problem_is_not_told(complaints, text):
    assert len(complaints(f"{BASE}{text}\n")) == 1


def test_a_metric_that_the_run_does_not_produce(complaints, advice):
    text = BASE + "trainer: {model_selection_metric: tasks.left.acuracy}\n"
    assert complaints(text) == [
        'reef.yaml:3:11: trainer.model_selection_metric: no metric called "tasks.left.acuracy" in this run'
    ]
    assert advice(text)[0].startswith('did you mean "tasks.left.accuracy"? this run produces: tasks.left.accuracy, ')


@pytest.mark.parametrize(
    ("metric", "mode", "legal"),
    [
        *[("tasks.ink.mae", "min", True), ("tasks.ink.rmse", "max", False), ("global.loss", "max", False)],
        *[("tasks.left.accuracy", "max", True), ("tasks.ink.r2", "min", False), ("global.score", "min", False)],
    ],
)
def test_a_mode_that_selects_the_worst(complaints, metric, mode, legal):
    text = BASE + f"trainer:\n  model_selection_metric: {metric}\n  metric_mode: {mode}\n"
    worst = f"{mode} selects the worst values of trainer.model_selection_metric ({metric})"
    assert complaints(text) == ([] if legal else [f"reef.yaml:5:3: trainer.metric_mode: {worst}"])


def test_a_metric_of_errors_needs_its_mode(complaints, advice):
    text = BASE + "trainer:\n  model_selection_metric: tasks.ink.mae\n"
    assert complaints(text) == [
        "reef.yaml:3:1: trainer.metric_mode: max selects the worst values of trainer.model_selection_metric "
        "(tasks.ink.mae)"
    ]
    assert advice(text) == ["write metric_mode: min"]


def test_a_single_validation_has_no_mode_to_be_wrong(complaints):
    text = BASE + "trainer: {model_selection_metric: tasks.ink.mae, val_frequency: 9, epochs: 3}\n"
    assert complaints(text) == []


def test_weights_of_tasks_that_do_not_exist_are_told_at_their_keys(complaints, advice):
    text = BASE + (
        "loss:\n  weighting_strategy:\n    type: Static\n    params:\n      weights:\n"
        "        left: 1\n        rigth: 1\n        depth: 1\n"
    )
    assert complaints(text) == [
        f'reef.yaml:9:9: {PARAMS}.weights.rigth: no task is called "rigth"',
        f'reef.yaml:10:9: {PARAMS}.weights.depth: no task is called "depth"',
    ]
    assert advice(text) == ['did you mean "right"?', "tasks of this run: left, right, ink"]


def test_tasks_without_a_weight(complaints):
    text = BASE + "loss:\n  weighting_strategy:\n    type: Static\n    params: {weights: {left: 1}}\n"
    (complaint,) = complaints(text)
    assert complaint.startswith("reef.yaml:")
    assert "loss.weighting_strategy" in complaint
    assert "ink, right" in complaint


class Meadow:
    """A data set of regressions whose number is an option."""

    def __init__(self, *, fields: PositiveInt = 2, folder: Path = Path("meadow")) -> None:
        """Never called here.

        Args:
            fields: number of tasks (default 2).
            folder: where it lies (default meadow).
        """
        raise AssertionError("a configuration is checked without loading the data")

    @staticmethod
    def task_specs(*, fields: int, folder: Path) -> dict[str, TaskSpec]:
        assert folder.is_absolute()
        return {f"field{number}": TaskSpec("regression", 1) for number in range(fields)}


def test_tasks_follow_the_options_of_the_data_and_nothing_is_loaded(data, complaints):
    data.register(Meadow)
    text = (
        "data: {type: meadow, params: {fields: 3}}\nmodel: {type: SharedTrunk}\ntrainer: {model_selection_metric: M}\n"
    )
    assert complaints(text.replace("M", "tasks.field2.r2")) == []
    assert len(complaints(text.replace("M", "tasks.field3.r2"))) == 1
    assert complaints(text.replace("M", "global.score") + "loss: {params: {label_smoothing: 0.1}}\n") == [
        "reef.yaml:4:17: loss.params.label_smoothing: this key has no effect: "
        "no task of this data set is a classification"
    ]


def test_default_paths_count_from_the_file_too(data, write):
    data.register(Meadow)
    path = write("data: {type: Meadow}\nmodel: {type: SharedTrunk}\n", "deep/reef.yaml")
    config = load_config(path)
    assert config.data.params == {"fields": 2, "folder": Path.cwd() / "deep" / "meadow"}
    assert config.loss.params == {}  # label smoothing has no effect on regressions


def test_a_data_set_that_does_not_say_its_tasks(data, complaints):
    data.add("Silent", type("Silent", (), {"__init__": lambda self: None}))
    assert complaints(BASE.replace("OverlappingDigits", "silent")) == [
        "reef.yaml:1:8: data.type: Silent does not say its tasks before it is loaded"
    ]


def test_a_strategy_of_another_package_is_checked_and_found_by_its_entry_point(strategies, monkeypatch, complaints):
    class Point:
        name = "Third-Party"

        @staticmethod
        def load():
            class Third(LossWeighting):
                """Weights from elsewhere."""

                needs = Needs.NOTHING

                def __init__(self, *, strength: PositiveInt = 1) -> None:
                    """Set it.

                    Args:
                        strength: how much, in newton (default 1).
                    """

                def weigh(self, observation):
                    return observation.losses

            return Third

    installed = {"coral_mtl.strategy": [Point]}
    monkeypatch.setattr("coral_mtl.registry.entry_points", lambda group: installed.get(group, []))
    monkeypatch.setattr(strategies, "_loaded", False)
    text = BASE + "loss:\n  weighting_strategy:\n    type: third_party\n    params: {strength: 0, strenght: 1}\n"
    assert complaints(text) == [
        f"reef.yaml:6:14: {PARAMS}.strength: expected a number greater than 0, got 0",
        f"reef.yaml:6:27: {PARAMS}.strenght: unknown key",
    ]
    from coral_mtl.config.json_schema import json_schema
    from coral_mtl.config.reference import reference_tables
    from coral_mtl.strategy_catalogue import strategy_table

    assert "how much, in newton" in reference_tables()
    assert "`Third-Party`" in strategy_table()
    assert "Third-Party" in str(json_schema())


@pytest.mark.parametrize(
    ("roles", "told"),
    [
        ("{primary: [lft]}", "the data have no task 'lft'"),
        ("{primary: [left], auxiliary: [left, right, ink]}", "'left' has two roles"),
        ("{primary: [left], auxiliary: [ink]}", "'right' of the data has no role"),
        ("{auxiliary: [left, right, ink]}", "no task is primary"),
    ],
)
def test_roles_that_do_not_fit_the_tasks(complaints, roles, told):
    text = f"data: {{type: OverlappingDigits}}\nmodel:\n  type: CoralMTL\n  params:\n    tasks: {roles}\n"
    assert complaints(text) == [f"reef.yaml:5:5: model.params.tasks: tasks: {told}"]
