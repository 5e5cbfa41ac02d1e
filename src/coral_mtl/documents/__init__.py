"""YAML files whose every key remembers its place, and the problems that are told with it."""
