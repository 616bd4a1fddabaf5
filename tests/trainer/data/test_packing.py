"""Many images decoded by several threads: the same result, the same errors, in the same order."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from PIL import Image

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.load import load as load_data
from tuneoff.trainer.data.pack import Pack, PackWriter
from tuneoff.trainer.data.room import Room
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


@pytest.mark.slow
def test_the_threads_change_nothing(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    source = folder(make_folder(tmp_path / "x", many_files(encode)), image_size=16)
    packs = [load_data(source, tmp_path / str(n), threads=n) for n in (1, 2, 7)]
    assert len({pack.digest for pack in packs}) == 1
    assert len({pack.hashes.tobytes() for pack in packs}) == 1


@pytest.mark.slow
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
) -> None:
    name = "train/n01/images/n01_2.JPEG"
    files = {**tiny_files, name: tiny_files[name][:100]}
    path = make_zip(tmp_path / "x.zip", files)
    refused(tiny(path), rf"{name} cannot be decoded .*; fix or remove it, or set corrupt")
    pack = load(tiny(path, corrupt="skip"))
    assert len(pack.images) == 23
    (note,) = pack.notes
    assert note.startswith("1 of 24 images cannot be decoded and are left out; the first is")
    assert f"{name} (" in note
    assert load(tiny(path, corrupt="skip")).notes == pack.notes  # from the cache


def test_the_decoder_does_not_change_the_digest(
    load: Load, tiny_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    first = load(tiny(tiny_zip))
    monkeypatch.setattr(decode, "simplejpeg", None)
    assert load_data(tiny(tiny_zip), tmp_path / "other").digest == first.digest


def test_images_beyond_the_limits_are_counted_as_unreadable(
    load: Load,
    refused: Refused,
    tmp_path: Path,
    encode: Encode,
    make_folder: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decode, "LARGEST_IMAGE", 500)
    monkeypatch.setattr(decode, "LARGE_IMAGE", 300)
    monkeypatch.setattr("tuneoff.trainer.data.files.LARGEST_FILE", 10_000)
    files = {f"{name}/{n}.png": encode(n, format="PNG") for name in "ab" for n in range(4)}
    files |= {"a/large.png": encode(1, (30, 30), format="PNG"), "b/long.png": bytes(10_001)}
    path = make_folder(tmp_path / "x", files)
    refused(folder(path), r"a/large\.png cannot be decoded \(30 x 30 pixels, more than")
    (note,) = load(folder(path, corrupt="skip")).notes
    assert note.startswith("2 of 10 images cannot be decoded and are left out; the first is a/lar")
    (path / "a/large.png").unlink()
    refused(folder(path), r"b/long\.png cannot be decoded \(.* has 10,001 bytes, above the limit")


def test_large_images_are_not_stored_as_they_are(
    load: Load, refused: Refused, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    files = {
        f"{name}/{n}.png": encode(n, (40, 40), format="PNG") for name in "ab" for n in range(3)
    }
    path = make_folder(tmp_path / "x", files)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "LARGE_IMAGE", 1000)
        assert load(folder(path, image_size=16)).images.shape[1:3] == (16, 16)
        assert load(folder(path, image_size=48)).images.shape[1:3] == (40, 40)
        patch.setattr("tuneoff.trainer.data.packing.LARGEST_STORED", 1500)
        refused(folder(path), "images of 40 x 40 pixels, too many to be stored .*; set image_size")


def test_few_images_are_in_hand_where_they_are_large(
    tmp_path: Path, encode: Encode, make_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{name}/{n}.png": encode(n, format="PNG") for name in "ab" for n in range(40)}
    path = make_folder(tmp_path / "x", files)
    started: list[None] = []
    monkeypatch.setattr("tuneoff.trainer.data.packing._IN_HAND", 1)
    monkeypatch.setattr(decode, "decode", recorded(decode.decode, started))
    written, add = [], PackWriter.add

    def slow(*words: Any, **more: Any) -> None:
        time.sleep(0.001)
        add(*words, **more)
        written.append(len(started))

    monkeypatch.setattr(PackWriter, "add", slow)
    load_data(folder(path), tmp_path / "cache", threads=2)
    assert all(ahead - done <= 5 for done, ahead in enumerate(written))


def test_large_files_wait_for_room_to_be_read_in(
    tmp_path: Path, encode: Encode, make_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{name}/{n}.bmp": encode(n, format="BMP") for name in "ab" for n in range(20)}
    size = len(files["a/0.bmp"])
    monkeypatch.setattr("tuneoff.trainer.data.packing._LARGE_FILE", size - 1)
    monkeypatch.setattr("tuneoff.trainer.data.packing._room", Room(2 * size))
    decoding, most, work = 0, 0, decode.decode
    lock = Lock()

    def counted(*words: Any) -> Any:
        nonlocal decoding, most
        with lock:
            decoding += 1
            most = max(most, decoding)
        time.sleep(0.002)
        with lock:
            decoding -= 1
        return work(*words)

    monkeypatch.setattr(decode, "decode", counted)
    path = make_folder(tmp_path / "x", files)
    assert len(load_data(folder(path), tmp_path / "cache", threads=8).images) == 40
    assert most == 2


def recorded(work: Callable[..., Any], calls: list[Any]) -> Callable[..., Any]:
    """The function, which adds to a list for each call."""

    def call(*words: Any) -> Any:
        calls.append(None)
        return work(*words)

    return call


@pytest.mark.slow
def test_memory_is_bounded_however_large_the_images(tmp_path: Path) -> None:
    image = Image.new("RGB", (9000, 7000))  # 63 million pixels: the 8 threads decode two at once
    for name in "ab":
        (tmp_path / "x" / name).mkdir(parents=True)
        image.save(tmp_path / "x" / name / "0.png", compress_level=1)
        for number in range(1, 4):
            (tmp_path / "x" / name / f"{number}.png").hardlink_to(tmp_path / "x" / name / "0.png")
    program = (
        "import sys; from pathlib import Path\n"
        "from tuneoff.trainer.data.load import load\n"
        "from tuneoff.trainer.recipe import DataSource\n"
        "load(DataSource('folder', sys.argv[1], image_size=16), Path(sys.argv[2]), threads=8)\n"
        # Not getrusage: its peak counts the process that started this one, too.
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "x"), str(tmp_path / "cache")]
    said = subprocess.run(words, check=True, capture_output=True, text=True)
    assert int(said.stdout) / 1024 < 1000  # MiB; all eight at once take 2,100 and more
