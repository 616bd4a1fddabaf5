"""Splits: disjoint, complete, the same for all, and free of duplicates where that is asked for."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.trainer.contract import Duplicates
from tuneoff.trainer.data import splits as splitting
from tuneoff.trainer.data.load import load as load_data
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

Make = Callable[[Path, dict[str, bytes]], Path]
Load = Callable[[DataSource], Pack]
ImageFiles = Callable[..., dict[str, bytes]]
Images = dict[str, tuple[str, int, bool]]
"""Names of images, each with its pixels, label, and whether it is in test."""


def tiny(path: Path, **more: object) -> DataSource:
    return DataSource("tiny-imagenet", str(path), **more)  # type: ignore[arg-type]


def folder(path: Path, **more: object) -> DataSource:
    return DataSource("folder", str(path), **more)  # type: ignore[arg-type]


def test_splits_are_disjoint_complete_stratified_and_reproducible(load: Load) -> None:
    pack = load(DataSource())
    splits = splitting.split(pack, DataSource())
    together = np.concatenate([splits["train"], splits["validation"], splits["test"]])
    assert sorted(together.tolist()) == list(range(1797))
    for label in range(10):
        of_train = (pack.labels[~pack.test] == label).sum()
        of_validation = (pack.labels[splits["validation"]] == label).sum()
        assert of_validation == round(0.1 * of_train)
    again = splitting.split(pack, DataSource())
    other = splitting.split(pack, DataSource(split_seed=1))
    assert np.array_equal(splits["validation"], again["validation"])
    assert not np.array_equal(splits["validation"], other["validation"])
    assert np.array_equal(splits["test"], other["test"])


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 9)
)
def test_stratified_takes_its_share_of_each_class(
    labels: list[int], share: float, seed: int
) -> None:
    array = np.array(labels)
    chosen = splitting.stratified(array, share, "test", seed)
    for label in set(labels):
        of_class = int((array == label).sum())
        taken = int(chosen[array == label].sum())
        assert taken < of_class
        if of_class > 1:
            assert taken >= 1
            assert abs(taken - share * of_class) <= 1


def test_a_class_that_loses_all_images_is_named(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = {**image_files("train/a", "train/b"), "train/c/1.jpg": b"x"}
    source = folder(make_folder(tmp_path / "x", files), corrupt="skip")
    pack = load(source)
    with pytest.raises(DataError, match="class c has no training images"):
        splitting.split(pack, source)


def test_too_few_images_to_split(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    source = folder(make_folder(tmp_path / "x", image_files("train/a", "train/b", count=1)))
    with pytest.raises(DataError, match="the validation split has 0 images; add images"):
        splitting.split(load(source), source)


def pack_of(images: Images) -> Pack:
    rows = list(images.values())
    hashes = np.array([zlib.crc32(pixels.encode()) for pixels, _, _ in rows], dtype=np.uint64)
    labels = np.array([label for _, label, _ in rows])
    test = np.array([test for _, _, test in rows])
    pixels = np.zeros((len(rows), 1, 1, 3), dtype=np.uint8)
    return Pack(pixels, labels, test, ("a", "b"), "", hashes, ("a", "b"))


def splits_of(images: Images, duplicates: str) -> dict[str, list[str]]:
    source, names = DataSource(validation=0.25, duplicates=duplicates), list(images)
    found = splitting.split(pack_of(images), source)
    return {split: [names[i] for i in where] for split, where in found.items()}


def test_dropping_duplicates() -> None:
    images = {
        f"{name}{n}": (f"{name}{n}", label, n >= 16)
        for label, name in enumerate("ab")
        for n in range(20)
    }
    where = splits_of(images, "keep")
    a, b = ([n for n in where["train"] if n.startswith(name)] for name in "ab")
    va, vb = ([n for n in where["validation"] if n.startswith(name)] for name in "ab")

    def copy(of: str, *names: str) -> None:
        for name in names:
            images[name] = (images[of][0], *images[name][1:])

    copy("a16", a[0])  # train and test
    copy("a17", va[0])  # validation and test
    copy("a18", a[1], va[1])  # all three
    copy(vb[0], b[0])  # train and validation
    copy(a[2], a[3])  # twice in train, of one label: both stay
    copy(a[4], b[1])  # train, conflicting: neither stays
    copy(va[2], vb[1])  # validation, conflicting: both stay
    gone = {a[0], va[0], a[1], va[1], b[0], a[4], b[1]}

    assert splits_of(images, "keep") == where
    left = {split: [n for n in names if n not in gone] for split, names in where.items()}
    assert splits_of(images, "drop") == left
    for how, dropped in (("keep", 0), ("drop", len(gone))):
        source = DataSource(validation=0.25, duplicates=how)
        assert splitting.duplicates(pack_of(images), source) == Duplicates(7, 4, 2, dropped)


def test_dropping_all_of_a_class_says_what_to_do() -> None:
    images = {str(n): ("same" if n % 2 else str(n), n % 2, n >= 20) for n in range(40)}
    with pytest.raises(DataError, match=r'class b has no training.* or set duplicates = "keep"'):
        splits_of(images, "drop")


def test_duplicates_of_files_are_found(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make
) -> None:
    files = dict(tiny_files)
    files["val/images/val_0.JPEG"] = files["train/n01/images/n01_0.JPEG"]
    source = tiny(make_zip(tmp_path / "x.zip", files))
    assert splitting.duplicates(load(source), source) == Duplicates(1, 1, 1, 0)


def test_the_real_duplicates(shared_data: Path, session_cache: Path) -> None:
    source = tiny(shared_data / "tiny-imagenet-20.zip", duplicates="drop")
    pack = load_data(source, session_cache)
    found = splitting.duplicates(pack, source)
    assert len(pack.hashes) - len(np.unique(pack.hashes)) >= found.groups
    splits = splitting.split(pack, source)
    assert not np.isin(pack.hashes[splits["train"]], pack.hashes[splits["test"]]).any()


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=2, max_size=6).flatmap(
        lambda counts: st.tuples(st.just(counts), st.integers(len(counts), sum(counts)))
    ),
    st.integers(0, 9),
)
def test_a_part_has_every_class_in_proportion(case: tuple[list[int], int], seed: int) -> None:
    counts, images = case
    labels = np.repeat(np.arange(len(counts)), counts)
    train = np.arange(len(labels))
    chosen = splitting.part(labels, train, images, seed)
    assert len(set(chosen.tolist())) == len(chosen) == images
    assert chosen.tolist() == sorted(chosen.tolist())
    assert chosen.tolist() == splitting.part(labels, train, images, seed).tolist()
    for label, there in enumerate(counts):
        beside = (images - len(counts)) * (there - 1) / max(1, len(labels) - len(counts))
        assert abs((labels[chosen] == label).sum() - 1 - beside) < 1


def test_a_part_is_drawn_by_its_seed_from_the_images_given() -> None:
    labels = np.array([0, 1] * 50)
    train = np.arange(20, 100)
    first, second = (splitting.part(labels, train, 10, seed) for seed in (0, 1))
    assert first.min() >= 20
    assert first.tolist() != second.tolist()
    assert splitting.part(labels, train, 0, 0) is train
    assert splitting.part(labels, train, 80, 0).tolist() == train.tolist()


def test_a_part_that_there_is_not() -> None:
    labels, train = np.array([0, 1, 2, 0, 1, 2]), np.arange(6)
    with pytest.raises(DataError, match="images = 2 is less than one for each of the 3 classes"):
        splitting.part(labels, train, 2, 0)
    with pytest.raises(DataError, match="images = 7 is more than the 6 training images"):
        splitting.part(labels, train, 7, 0)
