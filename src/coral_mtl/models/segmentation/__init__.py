"""Models of segmentations: images of any size to logits of every pixel, for each task."""

from coral_mtl.models.segmentation.baseline import SegFormerBaseline
from coral_mtl.models.segmentation.coral import CoralMTL
from coral_mtl.models.segmentation.trunk import SegmentationTrunk

__all__ = ["CoralMTL", "SegFormerBaseline", "SegmentationTrunk"]
