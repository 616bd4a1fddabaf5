"""Images for the trainer's benchmark: Tiny ImageNet's official layout, cut to size."""

from __future__ import annotations

import io
import itertools
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tuneoff.trainer.data.files import Files, open_files
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "tiny-imagenet-20.zip"
SIDE = 64


@dataclass(frozen=True)
class Pictures:
    """Encoded images of some classes.

    Attributes:
        train: for each class, the bytes of its training images.
        about: where they come from, in words.
    """

    train: dict[str, list[bytes]]
    about: str


def pictures(path: Path | None, per_class: int) -> Pictures:
    """Some training images of each class; made-up ones if there is no data set.

    Args:
        path: Tiny ImageNet as a zip file or a folder; None for ``SHARED`` if that is there.
        per_class: images of each class at most.

    Raises:
        DataError: the path is not Tiny ImageNet.
    """
    if path is None and not SHARED.exists():
        return made_up(20, per_class)
    found = _read(open_files(path or SHARED), per_class)
    about = f"{(path or SHARED).name}, {len(found)} classes of {per_class} images at most"
    return Pictures(found, about)


def _read(files: Files, per_class: int) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for name in files.names:
        parts = name.split("/")
        if "train" in parts[:-2] and name.lower().endswith((".jpeg", ".jpg")):
            images = found.setdefault(parts[parts.index("train") + 1], [])
            if len(images) < per_class:
                images.append(files.read(name))
    if len(found) < 2:
        raise DataError(
            f"{files.where} has no train/CLASS/images/*.JPEG for two classes or more; give Tiny "
            "ImageNet's zip file or folder"
        )
    return found


def made_up(classes: int, per_class: int, side: int = SIDE) -> Pictures:
    """Random images, about as smooth as photographs, so that their files have the same size."""
    rng = np.random.default_rng(0)
    found = {}
    for number in range(classes):
        images = []
        for _ in range(per_class):
            small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            fine = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), np.int16)
            noisy = fine + rng.integers(-12, 13, fine.shape, dtype=np.int16)
            buffer = io.BytesIO()
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
            images.append(buffer.getvalue())
        found[f"n{number:08d}"] = images
    return Pictures(found, f"made-up images of {side} px, {classes} classes of {per_class}")


def write_folder(root: Path, images: Pictures) -> DataSource:
    """Writes images as a folder in the official layout, with training images only."""
    (root / "train").mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(images.train), encoding="utf-8")
    for name, encoded in images.train.items():
        folder = root / "train" / name / "images"
        folder.mkdir(parents=True)
        for number, data in enumerate(encoded):
            (folder / f"{name}_{number}.JPEG").write_bytes(data)
    return DataSource("tiny-imagenet", str(root))


def repeated(images: Pictures, count: int) -> Pictures:
    """These images again and again, until there are ``count`` or more, of all classes equally."""
    each = -(-count // len(images.train))
    found = {
        name: list(itertools.islice(itertools.cycle(encoded), each))
        for name, encoded in images.train.items()
    }
    return Pictures(found, f"{images.about}, repeated to {count:,}")


def write_zip(path: Path, images: Pictures) -> DataSource:
    """Writes images as a zip file, without compression, in the layout of ``write_folder``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("tiny/wnids.txt", "\n".join(images.train))
        for name, encoded in images.train.items():
            for number, data in enumerate(encoded):
                archive.writestr(f"tiny/train/{name}/images/{name}_{number}.JPEG", data)
    return DataSource("tiny-imagenet", str(path))
