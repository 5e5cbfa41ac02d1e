"""Runs and comparisons as one self-contained HTML file, and as figures for papers."""
