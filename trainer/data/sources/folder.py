"""A folder or zip file of images of any size, with a folder for each class.

Either ``train/CLASS/`` and, for the test split, ``test/CLASS/`` or ``val/CLASS/``; or ``CLASS/``
alone, and then a fifth of each class becomes the test split. ``layout`` has the other names of
splits.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tuneoff.messages import printable
from tuneoff.trainer.data.files import Files, open_files
from tuneoff.trainer.data.formats import is_foreign, is_image
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing
from tuneoff.trainer.data.sources.base import (
    TEST_SEED,
    TEST_SHARE,
    Listed,
    Listing,
    pack_files,
    path_of,
)
from tuneoff.trainer.data.sources.layout import Layout, find_layout, folders_in
from tuneoff.trainer.data.sources.leftovers import left_over
from tuneoff.trainer.data.sources.tiny_imagenet import find_root
from tuneoff.trainer.data.splits import stratified
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource


def load(source: DataSource, packing: Packing) -> Pack:
    """The images of a folder or zip file, see ``base.Source``."""
    return pack_files(source, path_of(source), list_images, packing)


def list_images(path: Path) -> Listing:
    """The images of a folder or zip file (DataError if they are not in folders of classes)."""
    files = open_files(path)
    layout = find_layout(files)
    train = _classes_below(files, layout.train)
    if len(train) < 2:
        raise DataError(
            f"{files.where} has {len(train)} class folders with images; it needs at least two, "
            "as in CLASS/image.jpg or train/CLASS/image.jpg"
        )
    classes = sorted(train)
    label = {name: number for number, name in enumerate(classes)}
    notes: tuple[str, ...] = ()
    if layout.has_splits:
        images = [Listed(n, label[c], test=False) for c in classes for n in train[c]]
        test = {} if layout.test is None else _classes_below(files, layout.test)
        _refuse_unknown(files, layout, test, train)
        images += [Listed(n, label[c], test=True) for c, members in test.items() for n in members]
        notes = _untested(classes, test)
    else:
        images = _with_test_chosen(train)
    used = {image.name for image in images}
    notes = (*notes, *left_over(files, used, layout.unused))
    return Listing(files, _shown(files, classes), tuple(images), notes=notes)


def _with_test_chosen(train: Mapping[str, Sequence[str]]) -> list[Listed]:
    """The images of a folder that has no splits, with a share of each class for the test."""
    classes = sorted(train)
    names = [name for c in classes for name in train[c]]
    labels = np.repeat(np.arange(len(classes)), [len(train[c]) for c in classes])
    test = stratified(labels, TEST_SHARE, "folder-test", TEST_SEED)
    rows = zip(names, labels, test, strict=True)
    return [Listed(name, int(label), bool(is_test)) for name, label, is_test in rows]


def _classes_below(files: Files, root: str) -> dict[str, list[str]]:
    """The images in each class folder below ``root``."""
    found: dict[str, list[str]] = {}
    for name in files.names:
        inside = name.removeprefix(root)
        if name.startswith(root) and "/" in inside:
            members = found.setdefault(inside.split("/")[0], [])
            if is_image(name):
                members.append(name)
    for folder in folders_in(files, root):
        found.setdefault(folder, [])
    for name, members in found.items():
        if not members:
            raise DataError(_no_images(files, f"{root}{name}"))
    return found


def _no_images(files: Files, folder: str) -> str:
    foreign = [n for n in files.names if n.startswith(f"{folder}/") and is_foreign(n)]
    if not foreign:
        return f"{files.where}: class folder {folder} has no images; add some or remove it"
    return (
        f"{files.where}: class folder {folder} has no images but {len(foreign)} that cannot be "
        f"decoded here, such as {foreign[0]}; convert them to JPEG or PNG, or remove the folder"
    )


def _refuse_unknown(
    files: Files, layout: Layout, test: Mapping[str, object], train: Mapping[str, object]
) -> None:
    """DataError if a class of the test split is none of the training images'."""
    for name in test:
        if name not in train:
            alike = next((known for known in train if _folded(known) == _folded(name)), None)
            fix = f"name it as there, {alike}" if alike else "remove it or add training images"
            if find_root(files) is not None:
                fix = 'it has a wnids.txt: for Tiny ImageNet, set name = "tiny-imagenet"'
            raise DataError(
                f"{files.where}: class {name} is in {layout.test} but not in {layout.train}; {fix}"
            )


def _folded(name: str) -> str:
    # Accents may be characters of their own (NFD), as macOS writes them, or not.
    return unicodedata.normalize("NFC", name).casefold()


def _untested(classes: Sequence[str], test: Mapping[str, object]) -> tuple[str, ...]:
    """The note about classes without test images, if there are others that have some."""
    without = [name for name in classes if name not in test]
    if not test or not without:
        return ()
    some = ", ".join(without[:5]) + (", ..." if len(without) > 5 else "")
    return (
        printable(
            f"{len(without)} of {len(classes)} classes have no test images, so that the test error "
            f"says nothing about them: {some}"
        ),
    )


def _shown(files: Files, classes: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes as they are stored and printed."""
    shown = tuple(map(printable, classes))
    if len(set(shown)) < len(shown):
        raise DataError(
            f"{files.where} has two class folders whose names are both printed as "
            f"{next(name for name in shown if shown.count(name) > 1)}; rename one"
        )
    return shown
