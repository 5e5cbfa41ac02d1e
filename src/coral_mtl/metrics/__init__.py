"""Metrics: figures over a whole validation set, exact whatever the batches."""

from coral_mtl.metrics.metric_set import MetricSet

__all__ = ["MetricSet"]
