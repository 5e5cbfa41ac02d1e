"""Data sets made of Fashion-MNIST, which Debian packages: garments, their outlines, and a simulated jury."""

from coral_mtl.data.fashion.garments import FashionMNIST
from coral_mtl.data.fashion.jury import FashionJury
from coral_mtl.data.fashion.outlines import FashionOutlines

__all__ = ["FashionJury", "FashionMNIST", "FashionOutlines"]
