"""Which files are images, by the ends of their names, and which of those can be decoded here."""

from __future__ import annotations

from functools import cache
from pathlib import PurePosixPath

from PIL import features

# Pillow's names of the formats that are read, and how their files end. TGA comes last: it has no
# mark at its beginning, so that other files could be taken for it.
_ENDINGS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k"),
    "TGA": (".tga",),
}
FORMATS = tuple(_ENDINGS)
"""Pillow's names of the formats that are read."""

# Formats that Pillow may have been built without, and what it calls the library for each.
_LIBRARIES = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}

# Images, too, but of formats that Pillow does not read.
_FOREIGN = (
    ".heic", ".heif", ".hif", ".jxl", ".dcm",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
)  # fmt: skip


@cache
def decodable() -> tuple[str, ...]:
    """How the files end that are decoded here, in lower case."""
    return tuple(
        ending
        for name, endings in _ENDINGS.items()
        if name not in _LIBRARIES or features.check(_LIBRARIES[name])
        for ending in endings
    )


def is_image(name: str) -> bool:
    """Whether a file's name ends as those of images do that are decoded here."""
    return name.lower().endswith(decodable())


def ending(name: str) -> str:
    """The end of a file's name from its last dot on, in lower case; "" if it has none."""
    return PurePosixPath(name).suffix.lower()


def is_foreign(name: str) -> bool:
    """Whether a file's name ends as those of images do that cannot be decoded here."""
    known = (*_FOREIGN, *(end for name in _LIBRARIES for end in _ENDINGS[name]))
    return ending(name) in known and not is_image(name)
