"""One run: the folder it fills, its records, how it shows itself, how it is stopped and taken up again."""
