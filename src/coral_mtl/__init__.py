"""Multi-task gradient strategies for PyTorch."""
