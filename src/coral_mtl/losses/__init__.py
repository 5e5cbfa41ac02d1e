"""Losses: predictions and targets to named scalar terms."""
