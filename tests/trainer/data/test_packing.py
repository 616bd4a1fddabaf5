"""Many images decoded by several threads: the same result, the same errors, in the same order."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.load import load as load_data
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

Encode = Callable[..., bytes]
Make = Callable[[Path, dict[str, bytes]], Path]
Load = Callable[[DataSource], Pack]
Refused = Callable[[DataSource, str], None]


def tiny(path: Path, **more: object) -> DataSource:
    return DataSource("tiny-imagenet", str(path), **more)  # type: ignore[arg-type]


def folder(path: Path, **more: object) -> DataSource:
    return DataSource("folder", str(path), **more)  # type: ignore[arg-type]


def many_files(encode: Encode) -> dict[str, bytes]:
    """More images than the threads have in hand at once, of several sizes."""
    sizes = [(16, 16), (40, 20), (24, 24)]
    return {
        f"{name}/{number:03d}.jpg": encode(1000 * seed + number, sizes[number % 3])
        for seed, name in enumerate("ab")
        for number in range(150)
    }


def test_the_threads_change_nothing(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    source = folder(make_folder(tmp_path / "x", many_files(encode)), image_size=16)
    packs = [load_data(source, tmp_path / str(n), threads=n) for n in (1, 2, 7)]
    assert len({pack.digest for pack in packs}) == 1
    assert len({pack.hashes.tobytes() for pack in packs}) == 1


@pytest.mark.parametrize("threads", [1, 7])
def test_of_several_bad_images_the_first_is_named(
    tmp_path: Path, encode: Encode, make_zip: Make, threads: int
) -> None:
    files = many_files(encode)
    for name in ("a/149.jpg", "b/000.jpg", "b/149.jpg"):
        files[name] = files[name][:100]
    path = make_zip(tmp_path / "x.zip", files)
    with pytest.raises(DataError, match=r"a/149\.jpg cannot be decoded"):
        load_data(folder(path, image_size=16), tmp_path / "cache", threads=threads)
    skipping = folder(path, image_size=16, corrupt="skip")
    pack = load_data(skipping, tmp_path / "cache", threads=threads)
    assert len(pack.images) == 297


def test_a_damaged_zip_names_the_first_member(
    tmp_path: Path, encode: Encode, make_zip: Make
) -> None:
    files = many_files(encode)
    path = make_zip(tmp_path / "x.zip", files)
    content = bytearray(path.read_bytes())
    for name in (b"b/100.jpg", b"b/030.jpg"):
        content[content.index(name) + len(name) + 50] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip is damaged at b/030\.jpg; fetch it again"):
        load_data(folder(path, image_size=16), tmp_path / "cache", threads=3)


def test_a_corrupt_image_is_refused_or_skipped(
    load: Load,
    refused: Refused,
    tmp_path: Path,
    tiny_files: dict[str, bytes],
    make_zip: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = "train/n01/images/n01_2.JPEG"
    files = {**tiny_files, name: tiny_files[name][:100]}
    path = make_zip(tmp_path / "x.zip", files)
    refused(tiny(path), rf"{name} cannot be decoded .*; fix or remove it, or set corrupt")
    with caplog.at_level(logging.WARNING):
        pack = load(tiny(path, corrupt="skip"))
    assert len(pack.images) == 23
    assert caplog.messages == [
        f"{path}: 1 of 24 images cannot be decoded and are left out; the first is {name}"
    ]


def test_the_decoder_does_not_change_the_digest(
    load: Load, tiny_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    first = load(tiny(tiny_zip))
    monkeypatch.setattr(decode, "simplejpeg", None)
    assert load_data(tiny(tiny_zip), tmp_path / "other").digest == first.digest
