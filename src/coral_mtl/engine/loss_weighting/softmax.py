"""Softmax that cannot overflow."""

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """exp(z_i) / sum_j exp(z_j), shape (T,)."""
    powers = np.exp(logits - np.max(logits))
    return powers / powers.sum()
