"""Losses of polygons: distances of vertices, overlap of shapes, convexity."""

from coral_mtl.losses.polygon.alignment import cyclically_aligned
from coral_mtl.losses.polygon.convexity import nonconvexity
from coral_mtl.losses.polygon.hybrid import HybridPolygonLoss
from coral_mtl.losses.polygon.mgiou import mgiou
from coral_mtl.losses.polygon.pairs import PolygonPairs, polygon_pairs, signed_area
from coral_mtl.losses.polygon.rows import Rows, mean_loss
from coral_mtl.losses.polygon.terms import PolygonTerms
from coral_mtl.losses.polygon.vertices import l2, log, oks

__all__ = [
    "HybridPolygonLoss",
    "PolygonPairs",
    "PolygonTerms",
    "Rows",
    "cyclically_aligned",
    "l2",
    "log",
    "mean_loss",
    "mgiou",
    "nonconvexity",
    "oks",
    "polygon_pairs",
    "signed_area",
]
