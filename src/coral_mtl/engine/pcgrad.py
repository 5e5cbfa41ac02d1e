"""PCGrad."""
