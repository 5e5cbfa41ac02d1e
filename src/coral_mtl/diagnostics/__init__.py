"""What happened, written down and read again: records of steps (schema v1), their file, findings and advice."""
