"""A user's folder in one file: it comes back as it was, or an earlier one does, or none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tuneoff.trainer.errors import CheckpointError
from tuneoff.trainer.own import kept

RUN = {"command": "train", "params": {"lr": 0.1}, "seed": (1, 2, 3)}


def records(count: int) -> list[dict[str, float]]:
    return [{"epoch": epoch, "value": 1 / epoch} for epoch in range(1, count + 1)]


def test_a_folder_comes_back_as_it_was(tmp_path: Path) -> None:
    files = tmp_path / "files"
    (files / "deep").mkdir(parents=True)
    (files / "deep" / "weights").write_bytes(os.urandom(100_000))
    (files / "ü").write_text("text")
    (files / "last").symlink_to("deep/weights")
    (files / "deep" / "absolute").symlink_to(files / "ü")
    (files / "out").symlink_to("/etc/hostname")
    os.mkfifo(files / "pipe")
    weights = (files / "deep" / "weights").read_bytes()
    kept.save(tmp_path / "kept", RUN, records(2), files)
    (files / "deep" / "weights").write_text("later")
    (files / "later").touch()
    found = kept.load_newest(tmp_path / "kept", RUN, files)
    assert found == kept.Kept(records(2), has_files=True)
    assert sorted(p.relative_to(files).as_posix() for p in files.rglob("*")) == [
        "deep", "deep/absolute", "deep/weights", "last", "ü"
    ]  # fmt: skip
    assert (files / "last").read_bytes() == weights
    assert (files / "deep" / "absolute").read_text() == "text"


def test_the_newest_file_alone_is_enough(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for count in (1, 2):
        (files / "state").write_text(str(count))
        kept.save(tmp_path / "here", RUN, records(count), files)
    newest = kept.newest(tmp_path / "here")
    assert newest is not None
    (tmp_path / "there").mkdir()
    shutil.copy(newest, tmp_path / "there")
    assert kept.load_newest(tmp_path / "there", RUN, tmp_path / "new") is not None
    assert (tmp_path / "new" / "state").read_text() == "2"


def test_more_of_the_same_epoch_has_a_later_name(tmp_path: Path) -> None:
    names = [kept.save(tmp_path, RUN, records(n), tmp_path / "files").name for n in (1, 1, 1, 2)]
    assert names == sorted(set(names))
    assert len(list(tmp_path.glob("*.tar"))) == 2


def test_where_nothing_was_written_nothing_is_there_to_go_on_from(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    kept.save(tmp_path, RUN, records(1), tmp_path / "files")
    for files in (None, tmp_path / "files"):
        assert kept.load_newest(tmp_path, RUN, files) == kept.Kept(records(1), has_files=False)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "other"])
def test_what_is_damaged_or_of_another_run_is_passed_over(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "state").write_text("1")
    kept.save(tmp_path, RUN, records(1), files)
    (files / "state").write_text("2")
    newest = kept.save(
        tmp_path, {**RUN, "seed": 9} if damage == "other" else RUN, records(2), files
    )
    data = bytearray(newest.read_bytes())
    if damage == "cut":
        newest.write_bytes(data[:-600])
    elif damage == "flip":
        data[len(data) // 2] ^= 1
        newest.write_bytes(data)
    elif damage == "empty":
        newest.write_bytes(b"")
    assert kept.load_newest(tmp_path, RUN, files) == kept.Kept(records(1), has_files=True)
    assert (files / "state").read_text() == "1"
    assert "is not used" in caplog.text


def test_a_run_that_begins_finds_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "old").touch()
    assert kept.load_newest(tmp_path / "none", RUN, tmp_path / "files") is None
    assert list((tmp_path / "files").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="cannot be written"):
        kept.save(tmp_path / "file" / "kept", RUN, records(1), tmp_path / "files")
