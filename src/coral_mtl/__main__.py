"""`python -m coral_mtl` is the command `coral-mtl`."""

from coral_mtl.cli import main

main()
