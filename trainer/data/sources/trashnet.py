"""Photographs of rubbish that come with tuneoff: 1,500 of TrashNet's, 6 classes, 64 x 64 pixels.

Gary Thung and Mindy Yang, "Classification of Trash for Recyclability Status" (Stanford CS 229,
2017), github.com/garythung/trashnet, MIT licence. ImageNet's networks have not seen these images.
``trashnet.txt`` beside this module has the licence, and how the images were chosen and scaled.
"""

from __future__ import annotations

from pathlib import Path

from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources.base import pack_files
from tuneoff.trainer.data.sources.folder import list_images
from tuneoff.trainer.recipe import DataSource

IMAGES = Path(__file__).with_suffix(".zip")
"""The zip file: ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``."""


def load(source: DataSource, packing: Packing) -> Pack:
    """TrashNet's images, see ``base.Source``."""
    return pack_files(source, IMAGES, list_images, packing)
