"""Relative paths of a configuration, made absolute."""

from pathlib import Path
from typing import Any

from coral_mtl.config.draft import Draft
from coral_mtl.documents.problems import KeyPath
from coral_mtl.options import MaybeFolder


def anchored(draft: Draft, path: KeyPath, value: Any) -> Any:
    """Return the value at `path` with every Path in it absolute, and what could be one where there is such a folder.

    A path written in the file counts from the file's folder, one given by an override from the current folder; `~` is
    the home folder.
    """
    if isinstance(value, MaybeFolder):
        folder = draft.folder_at(path) / Path(value).expanduser()
        return str(folder.resolve() if folder.is_dir() else value)
    if isinstance(value, Path):
        return (draft.folder_at(path) / value.expanduser()).resolve()
    if isinstance(value, dict):
        return {key: anchored(draft, (*path, key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(anchored(draft, (*path, position), item) for position, item in enumerate(value))
    return value
