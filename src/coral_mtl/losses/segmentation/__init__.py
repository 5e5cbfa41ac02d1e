"""Losses of segmentations: of single pixels, of classes, and of tasks that contradict each other."""

from coral_mtl.losses.segmentation.consistency import Consistency
from coral_mtl.losses.segmentation.dice import dice
from coral_mtl.losses.segmentation.focal import focal
from coral_mtl.losses.segmentation.hybrid import HybridLoss
from coral_mtl.losses.segmentation.pixels import Pixels, pixels

__all__ = ["Consistency", "HybridLoss", "Pixels", "dice", "focal", "pixels"]
