"""Tiny ImageNet as it is published: a zip file, or the folder that is in it.

``wnids.txt`` lists the classes, ``train/CLASS/images/`` holds training images and ``val/images/``
those of the test split here, whose classes ``val/val_annotations.txt`` lists. The images of
``test/`` have no public labels: they can only be predicted.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePosixPath

from tuneoff.trainer.data.files import Files, open_files
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources.base import (
    Listed,
    Listing,
    images_below,
    pack_files,
    path_of,
    text_of,
)
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

FOLDER = "tiny-imagenet-200"
"""Name of the folder in the official zip file."""


def load(source: DataSource, packing: Packing) -> Pack:
    """Tiny ImageNet, see ``base.Source``."""
    return pack_files(source, inner_path(path_of(source)), _list, packing)


def inner_path(path: Path) -> Path:
    """The data set's own folder inside ``path`` if it is there, else ``path`` itself."""
    inner = path / FOLDER
    return inner if inner.is_dir() else path


def find_root(files: Files) -> str | None:
    """The folder of wnids.txt, "" or with a slash at its end; None if there is no such file."""
    lists = [name for name in files.names if PurePosixPath(name).name == "wnids.txt"]
    return min((name.removesuffix("wnids.txt") for name in lists), key=len, default=None)


def _list(path: Path) -> Listing:
    files = open_files(path)
    root = find_root(files)
    if root is None:
        raise DataError(
            f"{path} has no wnids.txt: it is not Tiny ImageNet; give the official "
            f'{FOLDER}.zip or its folder, or use data name = "folder"'
        )
    classes = tuple(text_of(files, f"{root}wnids.txt").split())
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise DataError(f"{files.where}: wnids.txt must name at least two classes, each once")
    label = {name: number for number, name in enumerate(classes)}
    images = (*_train(files, root, label), *_test(files, root, label))
    return Listing(files, classes, images, _titles(files, f"{root}words.txt", classes))


def _train(files: Files, root: str, label: dict[str, int]) -> list[Listed]:
    images = []
    counts: Counter[str] = Counter()
    for name in images_below(files, f"{root}train/"):
        wnid = name.removeprefix(f"{root}train/").split("/")[0]
        if wnid not in label:
            raise DataError(
                f"{files.where}: train class {wnid} is not in wnids.txt; add it there or remove "
                "its folder"
            )
        counts[wnid] += 1
        images.append(Listed(name, label[wnid], test=False))
    for wnid in label:
        if not counts[wnid]:
            raise DataError(f"{files.where}: class {wnid} has no training images; fetch it again")
    return images


def _test(files: Files, root: str, label: dict[str, int]) -> list[Listed]:
    names = images_below(files, f"{root}val/")
    annotated = _annotations(files, f"{root}val/val_annotations.txt") if names else {}
    images = []
    for name in names:
        found = annotated.get(PurePosixPath(name).name)
        if found not in label:
            raise DataError(
                f"{files.where}: val_annotations.txt gives {name} no class of wnids.txt; "
                "fetch it again"
            )
        images.append(Listed(name, label[found], test=True))
    return images


def _titles(files: Files, name: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The names that words.txt has for the classes: lines of wnid, tab, names."""
    if name not in files.names:
        return classes
    rows = (line.partition("\t") for line in text_of(files, name).splitlines())
    words = {wnid: title.strip() for wnid, _, title in rows}
    return tuple(words.get(wnid) or wnid for wnid in classes)


def _annotations(files: Files, name: str) -> dict[str, str]:
    """The class of each test image, by the name of its file without folders."""
    if name not in files.names:
        raise DataError(
            f"{files.where} has no {name}, so its val images have no labels; fetch it again"
        )
    rows = [line.split("\t") for line in text_of(files, name).splitlines() if line.strip()]
    return {row[0]: row[1].strip() for row in rows if len(row) > 1}
