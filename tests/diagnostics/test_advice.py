"""The workflow's four answers and its sentence, for each way through it."""

import pytest
from simulated_runs import run, sound, write

from coral_mtl.diagnostics.diagnosis import diagnose

IMBALANCED = {"gradient_norm": {"a": 100.0, "b": 1.0}}
OPPOSED = {"gradient_cosine_similarity": {"a_vs_b": -0.6}}
HURT = {"descent": {"a": 1.0, "b": -0.5}}


def advice(tmp_path, strategy, *changes, moving=True, count=100):
    """The advice on a run in which all steps have these changes; weights even out the norms under NashMTL alone."""
    fields = {key: value for change in changes for key, value in change.items()}
    norms = fields.get("gradient_norm") if strategy == "NashMTL" else None

    def change(step):
        weights = {"a": 1.0 + moving * step / 1e4, "b": 1.0 - moving * step / 1e4}
        evened = {task: weight / norms[task] if norms else weight for task, weight in weights.items()}
        return {"strategy_type": strategy, "task_weights": evened} | fields

    [diagnosis] = diagnose(write(tmp_path / "run.jsonl", run(change, count)))
    return diagnosis.advice


@pytest.mark.parametrize(
    ("strategy", "changes", "answers", "beginning"),
    [
        ("Uncertainty", (), (True, False, False, False), "Stay with Uncertainty"),
        ("Equal", (), (False, False, False, False), "No gradient strategy is called for"),
        (
            "Uncertainty",
            (IMBALANCED,),
            (True, True, False, False),
            "Try NashMTL or IMGrad, because the gradient of a is 100",
        ),
        (
            "Uncertainty",
            (OPPOSED,),
            (True, False, True, False),
            "Put PCGrad on top of Uncertainty, which for two tasks",
        ),
        (
            "Equal",
            (IMBALANCED, OPPOSED),
            (False, True, True, True),
            "Take NashMTL (or compare it with IMGrad), because",
        ),
        ("Equal", (HURT,), (False, False, False, False), "Take a strategy that never pushes a task back"),
        ("Uncertainty+PCGrad", (OPPOSED, HURT), (True, False, True, False), "Take a strategy that never pushes"),
        (
            "Uncertainty+PCGrad",
            (OPPOSED,),
            (True, False, True, False),
            "Keep Uncertainty+PCGrad: its steps hurt no task",
        ),
        (
            "NashMTL",
            (IMBALANCED, OPPOSED),
            (False, True, True, True),
            "Keep NashMTL: its steps hurt no task, although the gradient of a is",
        ),
        ("Uncertainty+PCGrad", (IMBALANCED,), (True, True, False, False), "Try NashMTL or IMGrad, because"),
        (
            "NashMTL",
            (IMBALANCED, {"descent": {}}),
            (False, True, False, False),
            "Keep NashMTL, which is made for runs like this",
        ),
        ("IMGrad", (IMBALANCED, HURT), (False, True, False, False), "Lower the update_frequency of IMGrad"),
        ("UPGrad", (OPPOSED, HURT), (False, False, True, False), "Lower the update_frequency of UPGrad"),
        ("UPGrad", (IMBALANCED,), (False, True, False, False), "Try NashMTL or IMGrad, because"),
        ("IMTL-G", (IMBALANCED,), (False, True, False, False), "Keep IMTL-G, which is made for runs like this"),
        ("CAGrad", (OPPOSED, HURT), (False, False, True, False), "Take a strategy that never pushes a task back"),
        ("Unheard of", (), (False, False, False, False), "Nothing calls for another strategy"),
        ("Unheard of", (OPPOSED,), (False, False, True, False), "Put PCGrad on top of Uncertainty"),
        ("Unheard of", (IMBALANCED, HURT), (False, True, False, False), "Try NashMTL or IMGrad"),
        ("Uncertainty+Unheard of", (OPPOSED, HURT), (True, False, True, False), "Put PCGrad on top"),
    ],
)
def test_each_way_through_the_workflow(tmp_path, strategy, changes, answers, beginning):
    found = advice(tmp_path, strategy, *changes)
    assert tuple(step.answer for step in found.workflow) == answers
    assert found.sentence.startswith(beginning)
    assert found.sentence.endswith(".")


def test_many_conflicting_tasks_are_not_promised_what_pcgrad_cannot_keep(tmp_path):
    cosines = {"gradient_cosine_similarity": {"a_vs_b": -0.6}, "gradient_norm": dict.fromkeys("abc", 1.0)}
    assert "NashMTL, which unlike PCGrad never pushes" in advice(tmp_path, "Equal", cosines).sentence


def test_a_run_that_is_not_sound_is_mended_first(tmp_path):
    found = advice(tmp_path, "Uncertainty", IMBALANCED, moving=False)
    assert found.sentence.startswith("Mend this before you judge the strategy: under Uncertainty")


def test_without_enough_gradients_the_workflow_cannot_be_walked(tmp_path):
    unmeasured = {"gradient_norm": {}, "gradient_cosine_similarity": {}, "descent": {}}
    for found, measured in (
        (advice(tmp_path, "Uncertainty", unmeasured), 0),
        (advice(tmp_path, "Uncertainty", IMBALANCED, count=19), 19),
    ):
        assert [step.answer for step in found.workflow] == [True, None, None, None]
        assert found.sentence.startswith("Measure gradients first")
        assert f"{measured} records have them" in found.sentence


def test_one_task_has_nothing_to_balance(tmp_path):
    alone = {"task_weights": {"a": 1.0}, "gradient_norm": {"a": 1.0}, "gradient_cosine_similarity": {}, "descent": {}}
    records = [sound(step) | alone | {"unweighted_losses": {"a": step**-0.5}} for step in range(1, 50)]
    [diagnosis] = diagnose(write(tmp_path / "run.jsonl", records))
    assert diagnosis.advice.sentence.startswith("There is nothing to balance")
