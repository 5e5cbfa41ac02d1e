"""What a run tells TensorBoard, Weights & Biases and MLflow while it runs."""

from coral_mtl.trackers.tracker import TrackedRun, Tracker

__all__ = ["TrackedRun", "Tracker"]
