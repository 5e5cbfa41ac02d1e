"""Methods that weigh the losses, one a file."""
