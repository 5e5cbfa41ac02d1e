"""A trial of the run: what only the built objects can tell, before anything is created.

The data set says its tasks without being loaded; a model may say what it has against them; the loss is built for them
and says its terms; the strategy is built and bound to the terms. This finds options that contradict each other, have no
effect or need a package that is not installed, names of tasks that do not exist, and metrics that the run does not
produce.
"""

import difflib
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from coral_mtl.config.blocks import Choice
from coral_mtl.config.draft import Draft
from coral_mtl.config.effects import METRIC, OVER, OVER_TIMES, STRATEGY, TIMES, WRAPPER
from coral_mtl.config.times import check_times
from coral_mtl.documents.problems import KeyPath, dotted
from coral_mtl.errors import CoralError

DATA: KeyPath = ("data",)
AUGMENTATIONS: KeyPath = ("augmentations",)
MODEL: KeyPath = ("model",)
METRICS: KeyPath = ("metrics",)
EVALUATOR: KeyPath = ("evaluator",)
LOSS: KeyPath = ("loss",)
BALANCE: KeyPath = (*LOSS, "balance")
TERM_WEIGHTS: KeyPath = (*LOSS, "term_weights")
LAYERS = (STRATEGY, OVER, TIMES, OVER_TIMES)
OPTIMIZER: KeyPath = ("optimizer",)
STUDY: KeyPath = ("study",)


def try_out(draft: Draft, choices: Mapping[KeyPath, Choice]) -> dict[KeyPath, Any]:
    """Build what can be built cheaply and return it by the path of its block; report every problem."""
    built: dict[KeyPath, Any] = {}
    _check_trackers(draft)
    tasks = _tasks(draft, choices.get(DATA))
    for path in (AUGMENTATIONS, EVALUATOR):
        _build(draft, path, choices.get(path))
    if tasks is not None:
        _check_model(draft, choices.get(MODEL), tasks)
        metrics = _build(draft, METRICS, choices.get(METRICS), tasks)
        if metrics is not None:
            _check_metrics(draft, metrics.names)
        built[LOSS] = _build(draft, LOSS, choices.get(LOSS), tasks)
    built |= {path: _build(draft, path, choices.get(path)) for path in LAYERS}
    if built[STRATEGY] is not None:
        _check_wrapper(draft, built[STRATEGY], choices[STRATEGY])
        _check_demands(draft, built[STRATEGY], choices[STRATEGY].name)
        if built[OVER] is not None:
            _check_layers(draft, choices[OVER], built[OVER], choices[STRATEGY], built[STRATEGY])
    for path in (TIMES, OVER_TIMES):
        if built[path] is not None and built[path[:-1]] is not None:
            _check_product(draft, path, built[path], built[path[:-1]])
    if built.get(LOSS) is not None:
        balanced = _balanced(draft, built[LOSS])
        for path in LAYERS:
            if built[path] is not None:
                _bind(draft, built[path], path, choices[path], balanced)
    check_times(draft, choices.get(OPTIMIZER), {path: built[path] for path in LAYERS if built[path] is not None})
    return {path: instance for path, instance in built.items() if instance is not None}


def _balanced(draft: Draft, loss: Any) -> tuple[str, ...]:
    """The names of what the strategy balances: the loss's terms, or the tasks that they belong to."""
    by_task: Mapping[str, Any] = getattr(loss, "terms_by_task", {})
    if draft.value(BALANCE) == "terms" and all(len(terms) == 1 for terms in by_task.values()):
        draft.idle[BALANCE] = "the loss has a single term for each task"
    _check_names(draft, TERM_WEIGHTS, tuple(loss.terms))
    return tuple(by_task) if by_task and draft.value(BALANCE) == "tasks" else tuple(loss.terms)


def _check_names(draft: Draft, path: KeyPath, terms: tuple[str, ...]) -> None:
    for name in draft.mapping(path):
        if name not in terms:
            advice = f"{_suggestion(name, terms)} terms of this loss: {', '.join(terms)}".strip()
            draft.report((*path, name), f'no term is called "{name}"', advice)


def _tasks(draft: Draft, choice: Choice | None) -> Mapping[str, Any] | None:
    if choice is None:
        return None
    if not hasattr(choice.cls, "task_specs"):
        advice = "its class needs a static method task_specs(**options) -> dict[str, TaskSpec]"
        draft.report((*DATA, "type"), f"{choice.name} does not say its tasks before it is loaded", advice)
        return None
    try:
        return choice.cls.task_specs(**choice.options)
    except (CoralError, ValueError) as error:
        _report(draft, DATA, error)
        return None


def _check_model(draft: Draft, choice: Choice | None, tasks: Mapping[str, Any]) -> None:
    """Report what the model's `check_tasks(tasks, **options)` has against the tasks, where its class has one."""
    if choice is None or not hasattr(choice.cls, "check_tasks"):
        return
    try:
        choice.cls.check_tasks(tasks, **choice.options)
    except (CoralError, ValueError) as error:
        _report(draft, MODEL, error)


def _build(draft: Draft, path: KeyPath, choice: Choice | None, *arguments: Any) -> Any:
    """Build the chosen class; where options have no effect, note each of them and build it without."""
    if choice is None:
        return None
    given = choice.given
    while True:
        try:
            return choice.cls(*arguments, **given)
        except (CoralError, ValueError) as error:
            unused: dict[str, str] = getattr(error, "unused", {})
            if not unused:
                _report(draft, path, error)
                return None
            draft.idle |= {(*path, "params", option): reason for option, reason in unused.items()}
            given = {name: value for name, value in given.items() if name not in unused}


def _check_wrapper(draft: Draft, strategy: Any, choice: Choice) -> None:
    if draft.value(WRAPPER) is True and strategy.kind != "loss weighting":
        draft.report(
            WRAPPER,
            f"PCGrad cannot be put on {choice.name}: that is a gradient strategy itself, and a second one would "
            "undo what the first guarantees",
            f"write false, or take a loss weighting such as Uncertainty for {dotted(STRATEGY)}.type",
        )


def _check_layers(draft: Draft, over: Choice, weighting: Any, above: Choice, strategy: Any) -> None:
    """Report what cannot be layered: only a loss weighting can lie underneath, and only under a gradient strategy."""
    if weighting.kind != "loss weighting":
        message = f"{over.name} is a gradient strategy, and {above.name} over it would undo what it guarantees"
        draft.report((*OVER, "type"), message, "take a loss weighting such as Uncertainty here")
    elif strategy.kind != "gradient strategy":
        message = f"{above.name} is a loss weighting itself, and cannot be put over {over.name}"
        draft.report(OVER, message, f"take a gradient strategy for {dotted(STRATEGY)}.type, or one weighting alone")
    elif strategy.needs is type(strategy.needs).ROWS:
        message = f"{above.name} works on the gradients' coordinates, and cannot be put over a loss weighting"
        draft.report(OVER, message, "leave it out, or take a strategy that works on the Gram matrix")


def _check_demands(draft: Draft, strategy: Any, name: str) -> None:
    """Report what only a strategy on the Gram matrix can do, where it is asked of one on the gradients themselves."""
    averaging, space, form = ((*STRATEGY, key) for key in ("weight_averaging", "gram_on", "rows"))
    by_coordinates = strategy.needs is type(strategy.needs).ROWS
    if draft.value(averaging) is not None and not strategy.promises.combination:
        message = f"the direction of {name} is no combination of the gradients: there are no coefficients to average"
        draft.report(averaging, message, "leave it out, or take a strategy that works on the Gram matrix")
    if draft.value(space) == "features" and (by_coordinates or strategy.batches > 1) and not strategy.rows_on_features:
        message = f"{name} works on the gradients of parameters"
        draft.report(space, message, "leave it out, or take a strategy that works on the Gram matrix")
    if draft.value(form) == "ghost" and by_coordinates:
        message = f"{name} works on the gradients' coordinates, which ghost rows do not have"
        draft.report(form, message, "leave it out, or write stored")


def _check_product(draft: Draft, path: KeyPath, factor: Any, weighting: Any) -> None:
    """Report what cannot be multiplied: only loss weightings that learn nothing can."""
    for place, part in ((path, factor), (path[:-1], weighting)):
        if part.kind != "loss weighting" or part.learned:
            reason = "learns its weights by a loss of its own" if part.learned else "is a gradient strategy"
            message = f"{type(part).__name__} {reason}, and cannot be multiplied with another weighting"
            draft.report((*place, "type"), message, "take loss weightings such as Static and GradientNormalised")


def _bind(draft: Draft, strategy: Any, path: KeyPath, choice: Choice, terms: tuple[str, ...]) -> None:
    """Tell the strategy its tasks; where it refuses, the keys among its options that name no task are at fault."""
    try:
        strategy.bind(terms)
    except (CoralError, ValueError) as error:
        by_task = {option: value for option, value in choice.given.items() if isinstance(value, dict)}
        strangers = [(option, key) for option, value in by_task.items() for key in value if key not in terms]
        for option, key in strangers:
            advice = _suggestion(key, terms) or f"tasks of this run: {', '.join(terms)}"
            draft.report((*path, "params", option, key), f'no task is called "{key}"', advice)
        if not strangers:
            _report(draft, path, error)


def _check_trackers(draft: Draft) -> None:
    """Report the trackers that were asked for and are not installed; package, extra and key have one name."""
    for name in ("tensorboard", "wandb", "mlflow"):
        if draft.find(("trackers", name)) not in (None, False) and find_spec(name) is None:
            advice = f"install it with: pip install 'coral-mtl[{name}]'"
            draft.report(("trackers", name), f"needs the package {name!r}, which is not installed", advice)


def _check_metrics(draft: Draft, names: tuple[str, ...]) -> None:
    found = {METRIC: draft.value(METRIC)}
    followed = (*STRATEGY, "params", "metric")
    if isinstance(draft.find(followed), str):
        found[followed] = draft.find(followed)
    if draft.sure(STUDY):
        objectives = draft.find((*STUDY, "objectives"), [])
        found |= {(*STUDY, "objectives", place, "metric"): each["metric"] for place, each in enumerate(objectives)}
    for path, metric in found.items():
        if draft.sure(path) and metric not in names:
            advice = f"{_suggestion(metric, names)} this run produces: {', '.join(names)}".strip()
            draft.report(path, f'no metric called "{metric}" in this run', advice)


def _suggestion(name: str, known: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f'did you mean "{near[0]}"?' if near else ""


def _report(draft: Draft, path: KeyPath, error: Exception) -> None:
    """Report an error of a class at the option that it names, or else at the type."""
    message, _, advice = str(error).partition("\n")
    option = getattr(error, "option", None)
    draft.report((*path, "params", option) if option else (*path, "type"), message, advice)
