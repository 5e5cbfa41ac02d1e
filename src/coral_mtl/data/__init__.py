"""Data sets with named tasks, and loaders whose position survives a resumed run."""
