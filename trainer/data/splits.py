"""Which images are for training, which for validation and which for the test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuneoff.trainer import seeding
from tuneoff.trainer.contract import Duplicates, Split, Task
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

_UNTESTED = (
    "there is no test split: arms will be compared by the validation errors that they were "
    "selected by, which are too low, and no ensemble is combined"
)


def split(pack: Pack, source: DataSource) -> dict[Split, NDArray[np.int64]]:
    """Indices into the pack of each split; validation is carved out of train by class.

    ``source.duplicates = "drop"`` carves the same images and then leaves some of them out:

    * from validation, each image whose pixels are also in test, so that nothing is selected by
      looking at test images. Images that occur with several labels stay, as they do in test, so
      that both splits measure the same thing;
    * from train, each image whose pixels are also in test or in validation, and each that occurs
      with several labels. Copies within train that have the same label stay.

    Returns:
        Sorted int64 arrays. With "keep", each image is in exactly one of them. "test" may be empty.

    Raises:
        DataError: a class has no training images, or train or validation has less than two images.
    """
    found = _carved(pack, source)
    if source.duplicates == "drop":
        hashes = {name: pack.hashes[chosen] for name, chosen in found.items()}
        several = _with_several(pack, pack.labels)
        in_test = np.isin(hashes["validation"], hashes["test"])
        elsewhere = np.concatenate([hashes["test"], hashes["validation"], several])
        found["validation"] = found["validation"][~in_test]
        found["train"] = found["train"][~np.isin(hashes["train"], elsewhere)]
    counts = np.bincount(pack.labels[found["train"]], minlength=len(pack.classes))
    if not counts.all():
        name = pack.classes[int(counts.argmin())]
        or_keep = ', or set duplicates = "keep"' if source.duplicates == "drop" else ""
        raise DataError(
            f"class {name} has no training images; add some or remove the class{or_keep}"
        )
    for split_name, chosen in found.items():
        if len(chosen) < 2 and split_name != "test":
            raise DataError(
                f"the {split_name} split has {len(chosen)} images; add images or change validation "
                f"= {source.validation}"
            )
    return found


def part(
    labels: NDArray[np.int64], train: NDArray[np.int64], images: int, seed: int
) -> NDArray[np.int64]:
    """A part of the training images in which each class has about the share that it has in all.

    Every class has at least one image in it. Where the shares are no whole numbers, the largest
    remainders are rounded up.

    Args:
        labels: of all images of the pack, shape (images of the pack,).
        train: the indices of the training images, among which each class is.
        images: how many of them; 0 for all.
        seed: of the choice; ``DataSource.split_seed``.

    Returns:
        Sorted int64 array of shape (images,).

    Raises:
        DataError: ``images`` is less than one for each class, or more than there are.
    """
    if not images:
        return train
    labels = labels[train]
    counts = np.bincount(labels)
    if images < len(counts):
        raise DataError(
            f"images = {images:,} is less than one for each of the {len(counts):,} classes; set it "
            "higher, or to 0 for all training images"
        )
    if images > len(train):
        raise DataError(
            f"images = {images:,} is more than the {len(train):,} training images; set it lower, "
            "or to 0 for all of them"
        )
    wanted = (images - len(counts)) * (counts - 1)  # beside the one of each class
    total = max(1, len(train) - len(counts))
    sizes, remainders = 1 + wanted // total, wanted % total
    most = np.argsort(-remainders, kind="stable")[: images - sizes.sum()]
    sizes[most] += 1
    chosen = [
        np.flatnonzero(labels == label)[seeding.permutation(count, "part", seed, label)[:size]]
        for label, (count, size) in enumerate(zip(counts.tolist(), sizes.tolist(), strict=True))
    ]
    found: NDArray[np.int64] = train[np.sort(np.concatenate(chosen))]
    return found


def describe(pack: Pack, source: DataSource) -> Task:
    """Classes, sizes of the splits, digest, duplicates and notes (DataError as ``split``)."""
    sizes = {name: len(chosen) for name, chosen in split(pack, source).items()}
    notes = pack.notes if sizes["test"] else (*pack.notes, _UNTESTED)
    return Task(pack.classes, sizes, pack.digest, duplicates(pack, source), notes)


def duplicates(pack: Pack, source: DataSource) -> Duplicates:
    """How many images occur several times, and what that means for the splits."""
    split_of = np.empty(len(pack.labels), dtype=np.int64)
    for number, chosen in enumerate(_carved(pack, source).values()):
        split_of[chosen] = number
    _, counts = np.unique(pack.hashes, return_counts=True)
    kept = sum(len(chosen) for chosen in split(pack, source).values())
    return Duplicates(
        groups=int((counts > 1).sum()),
        crossing=len(_with_several(pack, split_of)),
        conflicting=len(_with_several(pack, pack.labels)),
        dropped=len(pack.labels) - kept,
    )


def stratified(labels: NDArray[np.int64], share: float, *stream: int | str) -> NDArray[np.bool_]:
    """Marks a random share of each class.

    A class of n images gives round(share * n) of them, but at least one and never all; a class
    of one image gives none.

    Args:
        labels: shape (images,).
        share: 0 to 1.
        stream: names the random stream, see ``seeding.words``.

    Returns:
        bool array of shape (images,).
    """
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        order = seeding.permutation(len(members), *stream, int(label))
        chosen[members[order[:count]]] = True
    return chosen


def _carved(pack: Pack, source: DataSource) -> dict[Split, NDArray[np.int64]]:
    """The splits before any duplicate is left out."""
    rest = np.flatnonzero(~pack.test)
    carved = stratified(pack.labels[rest], source.validation, "validation", source.split_seed)
    return {
        "train": rest[~carved],
        "validation": rest[carved],
        "test": np.flatnonzero(pack.test),
    }


def _with_several(pack: Pack, values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """The hashes of images that occur with more than one of ``values``, of shape (images,)."""
    order = np.lexsort((values, pack.hashes))
    hashes, values = pack.hashes[order], values[order]
    differ = (hashes[1:] == hashes[:-1]) & (values[1:] != values[:-1])
    return np.unique(hashes[1:][differ])
