"""Modules by the names of tasks."""

from collections.abc import Mapping

from torch import nn

from coral_mtl.errors import ConfigError


def by_task(modules: Mapping[str, nn.Module]) -> nn.ModuleDict:
    """Return a module for each task.

    Raises:
        ConfigError: a task has a name that no PyTorch module can have.
    """
    for task in modules:
        if "." in task or hasattr(nn.ModuleDict, task):
            raise ConfigError(f"no PyTorch module can be called {task!r}, as this task is\n    rename the task")
    return nn.ModuleDict(modules)
