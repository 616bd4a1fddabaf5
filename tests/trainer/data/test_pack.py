"""Packs on disk: built once, checked at every load."""

from __future__ import annotations

import logging
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from tuneoff.trainer.data import pack as packed
from tuneoff.trainer.data.pack import PackWriter
from tuneoff.trainer.errors import DataError

CLASSES = ("a", "b")


def add_five(writer: PackWriter) -> None:
    for number in range(5):
        image = np.full((4, 6, 3), number, dtype=np.uint8)
        writer.add(image, number % 2, test=number == 4)


def test_what_was_added_comes_back(tmp_path: Path) -> None:
    pack = packed.load_or_build(tmp_path, "x", CLASSES, add_five)
    assert pack.images.shape == (5, 4, 6, 3)
    assert pack.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert pack.labels.tolist() == [0, 1, 0, 1, 0]
    assert pack.test.tolist() == [False] * 4 + [True]
    assert pack.classes == CLASSES
    assert pack.labels.dtype == np.int64
    assert isinstance(pack.images, np.memmap)


def test_hashes_tell_images_apart(tmp_path: Path) -> None:
    def twice(writer: PackWriter) -> None:
        for number in (0, 1, 0):
            writer.add(np.full((4, 6, 3), number, dtype=np.uint8), 0, test=False)

    hashes = packed.load_or_build(tmp_path, "x", CLASSES, twice).hashes
    assert hashes.dtype == np.uint64
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes[1] == packed.pixel_hash(np.full((4, 6, 3), 1, dtype=np.uint8))


def test_titles_are_the_classes_unless_given(tmp_path: Path) -> None:
    assert packed.load_or_build(tmp_path, "x", CLASSES, add_five).titles == CLASSES
    for _ in range(2):
        pack = packed.load_or_build(tmp_path, "y", CLASSES, add_five, ("ape", "bee"))
        assert (pack.classes, pack.titles) == (CLASSES, ("ape", "bee"))


def test_titles_are_checked_too(tmp_path: Path) -> None:
    packed.load_or_build(tmp_path, "x", CLASSES, add_five, ("ape", "bee"))
    about = tmp_path / "x" / "pack.json"
    about.write_text(about.read_text().replace("bee", "fly"))
    assert packed.load_or_build(tmp_path, "x", CLASSES, add_five, ("ape", "bee")).titles[1] == "bee"


def test_digest_depends_on_pixels_labels_and_classes(tmp_path: Path) -> None:
    def other_label(writer: PackWriter) -> None:
        for number in range(5):
            writer.add(np.full((4, 6, 3), number, dtype=np.uint8), 1, test=number == 4)

    def other_shape(writer: PackWriter) -> None:
        for number in range(5):
            image = np.full((6, 4, 3), number, dtype=np.uint8)
            writer.add(image, number % 2, test=number == 4)

    digests = [
        packed.load_or_build(tmp_path, "1", CLASSES, add_five).digest,
        packed.load_or_build(tmp_path, "2", ("a", "c"), add_five).digest,
        packed.load_or_build(tmp_path, "3", CLASSES, other_label).digest,
        packed.load_or_build(tmp_path, "4", CLASSES, other_shape).digest,
    ]
    assert len(set(digests)) == 4
    assert packed.load_or_build(tmp_path, "5", CLASSES, add_five).digest == digests[0]


def test_writing_to_the_mapped_images_does_not_reach_the_disk(tmp_path: Path) -> None:
    packed.load_or_build(tmp_path, "x", CLASSES, add_five).images[:] = 99
    assert packed.load_or_build(tmp_path, "x", CLASSES, add_five).images.max() == 4


FILES = ["images.npy", "labels.npy", "test.npy", "hashes.npy", "pack.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "remove"])
def test_a_damaged_pack_is_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, damage: str
) -> None:
    first = packed.load_or_build(tmp_path, "x", CLASSES, add_five)
    path = tmp_path / "x" / file
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[-2] ^= 1
    kept = {"flip": len(content), "cut": len(content) // 2, "empty": 0, "remove": 0}[damage]
    path.unlink()  # not in place: ``first`` still maps the old file
    if damage != "remove":
        path.write_bytes(content[:kept])
    with caplog.at_level(logging.WARNING):
        again = packed.load_or_build(tmp_path, "x", CLASSES, add_five)
    assert again.digest == first.digest
    assert np.array_equal(again.images, first.images)
    assert caplog.messages == [f"{tmp_path / 'x'} is damaged: decoding again"]


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(writer: PackWriter) -> None:
        add_five(writer)
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        packed.load_or_build(tmp_path, "x", CLASSES, fail)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "making-x-abc" / "pack"
    left.mkdir(parents=True)
    packed.load_or_build(tmp_path, "x", CLASSES, add_five)
    assert not left.exists()


def test_a_full_disk_is_a_data_error(tmp_path: Path) -> None:
    def full(writer: PackWriter) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"cannot be kept in .*No space left.*free some space"):
        packed.load_or_build(tmp_path, "x", CLASSES, full)


def _build_slowly_and_log(writer: PackWriter) -> None:
    folder = Path(writer._folder).parents[1]
    with (folder / "builds.log").open("a") as log:
        log.write("built\n")
    time.sleep(0.3)
    add_five(writer)


def _load_in_child(cache: str, results: multiprocessing.SimpleQueue[str]) -> None:
    pack = packed.load_or_build(Path(cache), "x", CLASSES, _build_slowly_and_log)
    results.put(pack.digest)


def test_eight_processes_build_once(tmp_path: Path) -> None:
    # Forked, because importlib mode gives the children no module to import this one from.
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    children = [
        context.Process(target=_load_in_child, args=(str(tmp_path), results)) for _ in range(8)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 8
    assert len({results.get() for _ in range(8)}) == 1
    assert (tmp_path / "builds.log").read_text() == "built\n"
