"""Perceptual distances, learned from which of two images people find more like a third."""

from coral_mtl.models.perceptual.comparison import Antisymmetric, Difference, LearnedComparison, LogRatio
from coral_mtl.models.perceptual.distance import ImageScaling, PerceptualDistance
from coral_mtl.models.perceptual.judge import PerceptualJudge
from coral_mtl.models.perceptual.lpips_weights import load_lpips_weights

__all__ = [
    "Antisymmetric",
    "Difference",
    "ImageScaling",
    "LearnedComparison",
    "LogRatio",
    "PerceptualDistance",
    "PerceptualJudge",
    "load_lpips_weights",
]
