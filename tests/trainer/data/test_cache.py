"""The cache of packs: each built once, verified once, trusted while unchanged, else rebuilt."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from tuneoff.trainer.data import pack as packed
from tuneoff.trainer.data.cache import load_or_build
from tuneoff.trainer.data.pack import Pack, PackWriter
from tuneoff.trainer.data.stamped import Build
from tuneoff.trainer.errors import DataError

CLASSES = ("a", "b")


def add_five(folder: Path) -> str:
    with PackWriter(folder, CLASSES) as writer:
        for number in range(5):
            image = np.full((4, 6, 3), number, dtype=np.uint8)
            writer.add(image, number % 2, test=number == 4)
        return writer.finish()


def never(folder: Path) -> str:
    pytest.fail("the pack was built again")


def load(cache: Path, build: Build = never, *, verify: bool = False) -> Pack:
    return load_or_build(cache, "x", build, verify=verify)


def stamps(cache: Path) -> list[Path]:
    return sorted((cache / "x").glob("verified-*.json"))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Pack]:
    """The packs whose images were read whole and hashed since the test began."""
    seen: list[Pack] = []
    digest = packed._digest

    def note(pack: Pack) -> str:
        seen.append(pack)
        return digest(pack)

    monkeypatch.setattr(packed, "_digest", note)
    return seen


class TestTrust:
    def test_a_second_load_does_not_read_the_images(
        self, tmp_path: Path, hashed: list[Pack]
    ) -> None:
        first = load(tmp_path, add_five)
        assert load(tmp_path).digest == first.digest
        assert np.array_equal(load(tmp_path).images, first.images)
        assert hashed == []

    def test_an_explicit_verification_reads_them(self, tmp_path: Path, hashed: list[Pack]) -> None:
        load(tmp_path, add_five)
        load(tmp_path, verify=True)
        assert len(hashed) == 1

    def test_a_pack_without_a_stamp_is_verified_once(
        self, tmp_path: Path, hashed: list[Pack]
    ) -> None:
        load(tmp_path, add_five)
        (stamp,) = stamps(tmp_path)
        stamp.unlink()  # as earlier versions left packs
        for _ in range(3):
            load(tmp_path)
        assert len(hashed) == 1
        assert stamps(tmp_path) == [stamp]

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"files": {}}', b"\xff\xfe\x00"])
    def test_a_torn_stamp_is_made_again(
        self, tmp_path: Path, hashed: list[Pack], content: bytes
    ) -> None:
        load(tmp_path, add_five)
        (stamp,) = stamps(tmp_path)
        whole = json.loads(stamp.read_bytes())
        stamp.write_bytes(content)
        load(tmp_path)
        assert len(hashed) == 1
        assert json.loads(stamp.read_bytes()) == whole
        load(tmp_path)
        assert len(hashed) == 1

    def test_a_copied_pack_is_verified(self, tmp_path: Path, hashed: list[Pack]) -> None:
        load(tmp_path / "a", add_five)
        shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copy2)
        for _ in range(2):
            load(tmp_path / "b")
        assert len(hashed) == 1

    def test_a_touched_pack_is_verified_and_kept(self, tmp_path: Path, hashed: list[Pack]) -> None:
        load(tmp_path, add_five)
        for _ in range(2):
            os.utime(tmp_path / "x" / "images.npy", ns=(1, 1))
            load(tmp_path)
        assert len(hashed) == 1

    def test_a_cache_that_cannot_be_written_serves(
        self, tmp_path: Path, hashed: list[Pack], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        load(tmp_path, add_five)
        for path in (*stamps(tmp_path), tmp_path / "x.lock"):
            path.unlink()

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("tuneoff.lockfile.FileLock", refuse)
        monkeypatch.setattr("tuneoff.trainer.data.stamped.write_text", refuse)
        assert len(load(tmp_path).images) == 5
        assert len(hashed) == 1
        assert stamps(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("file", packed.FILES)
@pytest.mark.parametrize("damage", ["flip", "flip in place", "cut", "empty", "remove"])
def test_a_damaged_pack_is_rebuilt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, damage: str
) -> None:
    first = load(tmp_path, add_five)
    expected = first.images.copy()
    path = tmp_path / "x" / file
    content = bytearray(path.read_bytes())
    if damage.startswith("flip"):
        content[-2] ^= 1
    kept = {"cut": len(content) // 2, "empty": 0}.get(damage, len(content))
    if damage == "flip in place":
        later = path.stat().st_mtime_ns + 1
        path.write_bytes(content)
        os.utime(path, ns=(later, later))  # a clock may be too coarse to show that it was written
    else:
        path.unlink()  # not in place: ``first`` still maps the old file
        if damage != "remove":
            path.write_bytes(content[:kept])
    with caplog.at_level(logging.WARNING):
        again = load(tmp_path, add_five)
    assert again.digest == first.digest
    assert np.array_equal(again.images, expected)
    assert caplog.messages == [f"{tmp_path / 'x'} is damaged: decoding again"]


def test_what_changed_without_a_trace_is_found_by_verifying(tmp_path: Path) -> None:
    first = load(tmp_path, add_five)
    path = tmp_path / "x" / "images.npy"
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load(tmp_path).images.max() == 255
    assert load(tmp_path, add_five, verify=True).images.max() == 4
    assert load(tmp_path).digest == first.digest


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> str:
        add_five(folder)
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        load(tmp_path, fail)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "making-x-abc" / "pack"
    left.mkdir(parents=True)
    load(tmp_path, add_five)
    assert not left.exists()


def test_a_full_disk_is_a_data_error(tmp_path: Path) -> None:
    def full(folder: Path) -> str:
        raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match=r"cannot be kept in .*No space left.*free some space"):
        load(tmp_path, full)


def _build_slowly_and_log(folder: Path) -> str:
    with (folder.parents[1] / "builds.log").open("a") as log:
        log.write("built\n")
    time.sleep(0.3)
    return add_five(folder)


def _load_in_child(cache: str, results: multiprocessing.SimpleQueue[str]) -> None:
    results.put(load(Path(cache), _build_slowly_and_log).digest)


@pytest.mark.slow
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
