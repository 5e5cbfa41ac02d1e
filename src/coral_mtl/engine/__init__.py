"""Terms to update: per-task gradients, strategies, optimiser, training loop, checkpoints."""
