"""A YAML file, and overrides, to a Config; or else all their problems at once, each with its place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coral_mtl.config.blocks import Choice, check_params, resolve_types
from coral_mtl.config.checking import check_values
from coral_mtl.config.draft import Draft
from coral_mtl.config.effects import check_effects
from coral_mtl.config.keys import BLOCKS, Keys, default
from coral_mtl.config.overrides import apply_overrides
from coral_mtl.config.paths import anchored
from coral_mtl.config.problems import ConfigErrors, KeyPath, Place, Problem
from coral_mtl.config.sections import Config, Section
from coral_mtl.config.trial import STRATEGY, STUDY, try_out
from coral_mtl.config.yaml_1_2 import Node, parse


@dataclass(frozen=True, slots=True)
class _Checked:
    """A draft after all checks; the config is None where some values have no meaning."""

    draft: Draft
    config: Config | None
    choices: Mapping[KeyPath, Choice]
    built: Mapping[KeyPath, Any]


def load_config(path: Path | str, overrides: Sequence[str] = (), *, study: bool = False) -> Config:
    """Read, override and check a configuration; nothing is created.

    In the result names of types are spelt as registered, params hold every option that has an effect, with its
    default where it was not given, and paths are absolute. A key of the file that only the overrides leave without
    effect is as if it were not there.

    Args:
        path: the YAML file.
        overrides: `key.path=value` each.
        study: whether the section `study` has an effect (default false).

    Raises:
        ConfigErrors: with every problem of the file and the overrides.
    """
    file = Path(path)
    root, problems = _read(file)
    idle_in_file = _check(file, root, problems).draft.idle
    checked = _check(file, root, problems + apply_overrides(root, overrides))
    draft = checked.draft
    for key, reason in draft.idle.items():
        if key in idle_in_file or draft.overridden(key):
            draft.report(key, f"this key has no effect: {reason}", "leave it out")
    if not study and draft.find(STUDY) is not None:
        draft.report(STUDY, "this section has no effect on a single run", f"coral-mtl study {file}, or study=null")
    if checked.config is None or draft.problems:
        raise ConfigErrors(draft.problems)
    return _resolved(checked, checked.config, ())


def _check(file: Path, root: Node, problems: list[Problem]) -> _Checked:
    draft = Draft(root, problems, file.parent)
    draft.plain.setdefault("name", file.stem)
    classes = resolve_types(draft)
    keys = Keys(classes)
    config = check_values(draft, keys, Config, ())
    choices = check_params(draft, keys, classes)
    built = try_out(draft, choices)
    check_effects(draft, built.get(STRATEGY))
    return _Checked(draft, config, choices, built)


def _read(file: Path) -> tuple[Node, list[Problem]]:
    """Return the tree of a file whose top is a mapping, and what is wrong with it short of its syntax."""

    def place(line: int = 0, column: int = 0) -> Place:
        return Place(0, line, column, str(file))

    try:
        content = file.read_bytes()
    except OSError as error:
        advice = f"a relative path counts from the current folder, {Path.cwd()}"
        raise ConfigErrors([Problem(place(), (), f"cannot read this file: {error.strerror}", advice)]) from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode()
        where = place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
        raise ConfigErrors([Problem(where, (), "not UTF-8 text", "save the file with the encoding UTF-8")]) from None
    root, problems = parse(text, place)
    if not isinstance(root.value, dict):
        what = "empty" if root.value is None else "no mapping of keys to values"
        advice = "the top of a configuration has sections such as data, model and trainer, see CONFIGS_README.md"
        raise ConfigErrors([*problems, Problem(root.place, (), f"this file is {what}", advice)])
    return root, problems


def _resolved(checked: _Checked, section: Section, path: KeyPath) -> Any:
    """Return the section with canonical names, complete params and absolute paths, and its inner sections likewise."""
    update: dict[str, Any] = {}
    for name in type(section).model_fields:
        inner = (*path, name)
        value = default(inner) if inner in checked.draft.idle else getattr(section, name)
        is_section = isinstance(value, Section)
        update[name] = _resolved(checked, value, inner) if is_section else anchored(checked.draft, inner, value)
    if path in BLOCKS:
        choice = checked.choices[path]
        update |= {"type": choice.name, "params": _effective_params(choice, checked.built.get(path))}
    return section.model_copy(update=update)


def _effective_params(choice: Choice, instance: Any) -> dict[str, Any]:
    """Return the options without those that have no effect; only a built instance can tell which these are."""
    if not hasattr(choice.cls, "unused_options"):
        return choice.options
    if instance is None:
        return choice.given
    return {name: value for name, value in choice.options.items() if name not in instance.unused_options()}
