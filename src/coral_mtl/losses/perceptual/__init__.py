"""Losses of a perceptual distance that learns from judges, and the recipes of lpips."""

from coral_mtl.losses.perceptual.judgement import (
    brier,
    cross_entropy,
    entropy_floor,
    focal,
    hinge,
    ranking,
    smoothed,
)
from coral_mtl.losses.perceptual.paradigms import PARADIGMS, Recipe
from coral_mtl.losses.perceptual.terms import JudgementLoss

__all__ = [
    "PARADIGMS",
    "JudgementLoss",
    "Recipe",
    "brier",
    "cross_entropy",
    "entropy_floor",
    "focal",
    "hinge",
    "ranking",
    "smoothed",
]
