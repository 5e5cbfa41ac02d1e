"""Models: inputs to one prediction per task."""
