"""Schedules: pure functions of the step."""

from coral_mtl.schedules.decay import constant, polynomial_decay

__all__ = ["constant", "polynomial_decay"]
