"""What a trained model is worth on a whole split: figures, confusion matrices, pictures."""
