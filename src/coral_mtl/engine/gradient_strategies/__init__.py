"""Methods that weigh the gradients, one a file."""
