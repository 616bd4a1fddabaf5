"""A folder or zip file of images of any size, with a folder for each class.

Either ``train/CLASS/`` and, for the test split, ``test/CLASS/`` or ``val/CLASS/``; or ``CLASS/``
alone, and then a fifth of each class becomes the test split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tuneoff.trainer.data.files import Files, open_files
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources.base import (
    TEST_SEED,
    TEST_SHARE,
    Listed,
    Listing,
    is_image,
    pack_files,
    path_of,
)
from tuneoff.trainer.data.splits import stratified
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource


def load(source: DataSource, packing: Packing) -> Pack:
    """The images of a folder or zip file, see ``base.Source``."""
    return pack_files(source, path_of(source), _list, packing)


def _list(path: Path) -> Listing:
    files = open_files(path)
    root = _common_root(files)
    names = [name.removeprefix(root) for name in files.names if name.startswith(root)]
    tops = {name.split("/")[0] for name in names if "/" in name}
    if "train" not in tops:
        return _with_test_chosen(files, root)
    train = _classes_below(files, f"{root}train/")
    test_name = next((name for name in ("test", "val") if name in tops), None)
    test = _classes_below(files, f"{root}{test_name}/") if test_name else {}
    classes = _class_names(files, train)
    images = [Listed(n, classes.index(c), test=False) for c in classes for n in train[c]]
    for name, members in test.items():
        if name not in train:
            raise DataError(
                f"{files.where}: class {name} is in {test_name}/ but not in train/; "
                "remove it or add training images"
            )
        images += [Listed(member, classes.index(name), test=True) for member in members]
    return Listing(files, classes, tuple(images))


def _with_test_chosen(files: Files, root: str) -> Listing:
    """The listing of a folder that has no splits, with a share of each class for the test."""
    found = _classes_below(files, root)
    classes = _class_names(files, found)
    names = [name for c in classes for name in found[c]]
    labels = np.repeat(np.arange(len(classes)), [len(found[c]) for c in classes])
    test = stratified(labels, TEST_SHARE, "folder-test", TEST_SEED)
    rows = zip(names, labels, test, strict=True)
    return Listing(files, classes, tuple(Listed(n, int(la), bool(t)) for n, la, t in rows))


def _classes_below(files: Files, root: str) -> dict[str, list[str]]:
    """The images in each class folder below ``root``."""
    found: dict[str, list[str]] = {}
    for name in files.names:
        inside = name.removeprefix(root)
        if name.startswith(root) and "/" in inside:
            members = found.setdefault(inside.split("/")[0], [])
            if is_image(name):
                members.append(name)
    for folder in files.folders:
        inside = folder.removeprefix(root)
        if folder.startswith(root) and inside and "/" not in inside:
            found.setdefault(inside, [])
    for name, members in found.items():
        if not members:
            raise DataError(
                f"{files.where}: class folder {root}{name} has no images; add some or remove it"
            )
    return found


def _class_names(files: Files, found: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    if len(found) < 2:
        raise DataError(
            f"{files.where} has {len(found)} class folders with images; it needs at least two, "
            "as in CLASS/image.jpg or train/CLASS/image.jpg"
        )
    return tuple(sorted(found))


def _common_root(files: Files) -> str:
    """The folders that hold everything else, such as the one at the top of most zip files."""
    root = ""
    while True:
        tops = {name.removeprefix(root).split("/")[0] for name in files.names}
        top = f"{root}{next(iter(tops))}/" if len(tops) == 1 else ""
        if not top or tops == {"train"} or not all(name.startswith(top) for name in files.names):
            return root
        root = top
