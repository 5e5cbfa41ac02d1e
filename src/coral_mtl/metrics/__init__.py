"""Metrics: figures over a whole validation set, exact whatever the batches."""

from coral_mtl.metrics.metric_set import MetricSet
from coral_mtl.metrics.protocol import Metrics

__all__ = ["MetricSet", "Metrics"]
