"""Files are whole or not there, and nothing stays beside them."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tuneoff.files import (
    make_folder,
    put_in_place,
    remove_parts,
    replacing,
    write_text,
    write_texts,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for text in ("old", "new: é"):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert names(tmp_path) == ["x"]


def test_what_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_readers_see_the_old_file_until_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_finished_file_gets_its_name(tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    part.write_text("new")
    (tmp_path / "x").write_text("old")
    put_in_place(part, tmp_path / "x")
    assert names(tmp_path) == ["x"]
    assert (tmp_path / "x").read_text() == "new"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What was synced to the disk, in order."""
    found: list[Path] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        found.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return found


def test_a_finished_folder_gets_its_name(tmp_path: Path, synced: list[Path]) -> None:
    (tmp_path / "making").mkdir()
    (tmp_path / "making" / "x").write_text("new")
    put_in_place(tmp_path / "making", tmp_path / "made")
    assert (tmp_path / "made" / "x").read_text() == "new"
    assert synced == [tmp_path / "making", tmp_path]


def test_a_new_folder_outlives_a_power_cut_with_all_above_it(
    tmp_path: Path, synced: list[Path]
) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert set(synced) == {tmp_path, tmp_path / "a"}
    synced.clear()
    make_folder(tmp_path / "a" / "b")
    assert synced == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_share_that_cannot_sync_folders_serves_and_a_disk_that_fails_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    real = os.fsync

    def sync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            write_text(tmp_path / "x", "new")
    else:
        write_text(tmp_path / "x", "new")
        assert (tmp_path / "x").read_text() == "new"


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    for name in (".x.0a1b.part", ".y.0a1b.part", "x"):
        (tmp_path / name).write_text("")
    remove_parts(tmp_path / "x")
    assert names(tmp_path) == [".y.0a1b.part", "x"]


def test_several_files_are_replaced(tmp_path: Path) -> None:
    for text in ("old", "new: é"):
        write_texts({tmp_path / name: text for name in "ab"})
        assert {(tmp_path / name).read_text(encoding="utf-8") for name in "ab"} == {text}
    assert names(tmp_path) == ["a", "b"]


def test_one_that_cannot_be_written_leaves_all_as_they_were(tmp_path: Path) -> None:
    write_texts({tmp_path / name: "old" for name in "ab"})
    (tmp_path / "c").mkdir()
    with pytest.raises(IsADirectoryError):
        write_texts({tmp_path / name: "new" for name in "abc"})
    assert {(tmp_path / name).read_text() for name in "ab"} == {"old"}
    assert names(tmp_path) == ["a", "b", "c"]
