"""Perceptual distances, learned from which of two images people find more like a third."""

from coral_mtl.losses.perceptual.comparison import Antisymmetric, Difference, LearnedComparison, LogRatio
from coral_mtl.losses.perceptual.distance import ImageScaling, PerceptualDistance
from coral_mtl.losses.perceptual.judgement import (
    brier,
    cross_entropy,
    entropy_floor,
    focal,
    hinge,
    ranking,
    smoothed,
)
from coral_mtl.losses.perceptual.lpips_weights import load_lpips_weights
from coral_mtl.losses.perceptual.paradigms import PARADIGMS, Recipe
from coral_mtl.losses.perceptual.terms import JudgementLoss

__all__ = [
    "PARADIGMS",
    "Antisymmetric",
    "Difference",
    "ImageScaling",
    "JudgementLoss",
    "LearnedComparison",
    "LogRatio",
    "PerceptualDistance",
    "Recipe",
    "brier",
    "cross_entropy",
    "entropy_floor",
    "focal",
    "hinge",
    "load_lpips_weights",
    "ranking",
    "smoothed",
]
