"""Packs: what was written comes back, each with a digest of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuneoff.trainer.data import pack as packed
from tuneoff.trainer.data.pack import Pack, PackWriter

CLASSES = ("a", "b")

Build = Callable[[PackWriter], None]


def add_five(writer: PackWriter) -> None:
    for number in range(5):
        image = np.full((4, 6, 3), number, dtype=np.uint8)
        writer.add(image, number % 2, test=number == 4)


def written(
    folder: Path,
    build: Build,
    classes: tuple[str, ...] = CLASSES,
    titles: tuple[str, ...] | None = None,
) -> Pack:
    folder.mkdir()
    with PackWriter(folder, classes, titles) as writer:
        build(writer)
        digest = writer.finish()
    pack = packed.read(folder, verify=True)
    assert pack is not None
    assert pack.digest == digest
    return pack


def test_what_was_added_comes_back(tmp_path: Path) -> None:
    pack = written(tmp_path / "x", add_five, titles=("ape", "bee"))
    assert pack.images.shape == (5, 4, 6, 3)
    assert pack.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert pack.labels.tolist() == [0, 1, 0, 1, 0]
    assert pack.test.tolist() == [False] * 4 + [True]
    assert (pack.classes, pack.titles) == (CLASSES, ("ape", "bee"))
    assert pack.labels.dtype == np.int64
    assert isinstance(pack.images, np.memmap)


def test_titles_are_the_classes_unless_given(tmp_path: Path) -> None:
    assert written(tmp_path / "x", add_five).titles == CLASSES


def test_hashes_tell_images_apart(tmp_path: Path) -> None:
    def twice(writer: PackWriter) -> None:
        for number in (0, 1, 0):
            writer.add(np.full((4, 6, 3), number, dtype=np.uint8), 0, test=False)

    hashes = written(tmp_path / "x", twice).hashes
    assert hashes.dtype == np.uint64
    assert hashes[0] == hashes[2] != hashes[1]
    assert hashes[1] == packed.pixel_hash(np.full((4, 6, 3), 1, dtype=np.uint8))


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    with PackWriter(tmp_path, CLASSES) as writer:
        add_five(writer)
        with pytest.raises(ValueError, match=r"shape \(6, 4, 3\) does not fit"):
            writer.add(np.zeros((6, 4, 3), dtype=np.uint8), 0, test=False)


def test_digest_depends_on_pixels_labels_and_classes(tmp_path: Path) -> None:
    def other_label(writer: PackWriter) -> None:
        for number in range(5):
            writer.add(np.full((4, 6, 3), number, dtype=np.uint8), 1, test=number == 4)

    def other_shape(writer: PackWriter) -> None:
        for number in range(5):
            image = np.full((6, 4, 3), number, dtype=np.uint8)
            writer.add(image, number % 2, test=number == 4)

    digests = [
        written(tmp_path / "1", add_five).digest,
        written(tmp_path / "2", add_five, ("a", "c")).digest,
        written(tmp_path / "3", other_label).digest,
        written(tmp_path / "4", other_shape).digest,
    ]
    assert len(set(digests)) == 4
    assert written(tmp_path / "5", add_five).digest == digests[0]


def test_writing_to_the_mapped_images_does_not_reach_the_disk(tmp_path: Path) -> None:
    written(tmp_path / "x", add_five).images[:] = 99
    again = packed.read(tmp_path / "x", verify=True)
    assert again is not None
    assert again.images.max() == 4


@pytest.mark.parametrize("file", packed.FILES)
def test_verifying_finds_a_flipped_bit(tmp_path: Path, file: str) -> None:
    written(tmp_path / "x", add_five, titles=("ape", "bee"))
    path = tmp_path / "x" / file
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    assert packed.read(tmp_path / "x", verify=True) is None


def test_titles_are_verified_too(tmp_path: Path) -> None:
    written(tmp_path / "x", add_five, titles=("ape", "bee"))
    about = tmp_path / "x" / "pack.json"
    about.write_text(about.read_text().replace("bee", "fly"))
    assert packed.read(tmp_path / "x", verify=True) is None
