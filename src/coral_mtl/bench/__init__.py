"""What training steps cost, in time and memory, measured where they run."""
