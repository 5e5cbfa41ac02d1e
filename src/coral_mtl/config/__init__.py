"""Configurations: YAML files, checked as a whole, to the settings of a run."""

from coral_mtl.config.loading import load_config
from coral_mtl.config.rendering import dump_config
from coral_mtl.config.sections import Config
from coral_mtl.documents.problems import ConfigErrors, Place, Problem

__all__ = ["Config", "ConfigErrors", "Place", "Problem", "dump_config", "load_config"]
