"""Pure T x T mathematics: each solver takes a Gram matrix and returns a Solution."""
