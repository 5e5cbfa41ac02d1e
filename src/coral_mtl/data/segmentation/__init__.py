"""Images with a class for every pixel, split into tasks that a YAML file defines."""

from coral_mtl.data.segmentation.augmentations import Augmentations
from coral_mtl.data.segmentation.camvid import CamVid
from coral_mtl.data.segmentation.coralscapes import Coralscapes

__all__ = ["Augmentations", "CamVid", "Coralscapes"]
