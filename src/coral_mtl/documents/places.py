"""Where the keys of a file were written, for mistakes that show only after it was read."""

from dataclasses import dataclass, field

from coral_mtl.documents.problems import KeyPath, Place
from coral_mtl.documents.yaml_1_2 import Node


@dataclass(frozen=True, slots=True)
class Places:
    """The tree of a file; equal to any other, since two files that say the same are equal."""

    root: Node = field(compare=False)

    def of(self, path: KeyPath) -> Place:
        """Return the place of the key at `path`, or of the nearest key above it that was written."""
        return self.root.deepest(path).place
