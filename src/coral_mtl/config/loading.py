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
from coral_mtl.config.sections import Config, Section
from coral_mtl.config.trial import LAYERS, try_out
from coral_mtl.documents.places import Places
from coral_mtl.documents.problems import ConfigErrors, KeyPath, Problem
from coral_mtl.documents.reading import read_mapping
from coral_mtl.documents.yaml_1_2 import Node

_CONTENTS = "the top of a configuration has sections such as data, model and trainer, see CONFIGS_README.md"


@dataclass(frozen=True, slots=True)
class _Checked:
    """A draft after all checks; the config is None where some values have no meaning."""

    draft: Draft
    config: Config | None
    choices: Mapping[KeyPath, Choice]
    built: Mapping[KeyPath, Any]


def load_config(
    path: Path | str, overrides: Sequence[str] = (), *, study: bool = False, compare: bool = False
) -> Config:
    """Read, override and check a configuration; nothing is created.

    In the result names of types are spelt as registered, params hold every option that has an effect, with its
    default where it was not given, and paths are absolute. A key of the file that only the overrides leave without
    effect is as if it were not there.

    Args:
        path: the YAML file.
        overrides: `key.path=value` each.
        study: whether the section `study` has an effect (default false).
        compare: whether the section `compare` has an effect (default false).

    Raises:
        ConfigErrors: with every problem of the file and the overrides.
    """
    file = Path(path)
    root, problems = read_mapping(file, contents=_CONTENTS)
    idle_in_file = _check(file, root, problems).draft.idle
    checked = _check(file, root, problems + apply_overrides(root, overrides))
    draft = checked.draft
    for key, reason in draft.idle.items():
        if key in idle_in_file or draft.overridden(key):
            draft.report(key, f"this key has no effect: {reason}", "leave it out")
    for command, meant in {"study": study, "compare": compare}.items():
        if not meant and draft.find((command,)) is not None:
            advice = f"coral-mtl {command} {file}, or {command}=null"
            draft.report((command,), "this section has no effect on a single run", advice)
    if checked.config is None or draft.problems:
        raise ConfigErrors(draft.problems)
    config = _resolved(checked, checked.config, ())
    config._places = Places(root)
    return config


def _check(file: Path, root: Node, problems: list[Problem]) -> _Checked:
    draft = Draft(root, problems, file.parent)
    draft.plain.setdefault("name", file.stem)
    classes = resolve_types(draft)
    keys = Keys(classes)
    config = check_values(draft, keys, Config, ())
    choices = check_params(draft, keys, classes)
    built = try_out(draft, choices)
    check_effects(draft, {path: built[path] for path in LAYERS if path in built})
    return _Checked(draft, config, choices, built)


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
