"""Figures of segmentations, per task and over all: overlap, contours, calibration."""
