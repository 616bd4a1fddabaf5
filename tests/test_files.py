"""Files are whole or not there, and nothing stays beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneoff.files import put_in_place, remove_parts, replacing, write_text


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


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    for name in (".x.0a1b.part", ".y.0a1b.part", "x"):
        (tmp_path / name).write_text("")
    remove_parts(tmp_path / "x")
    assert names(tmp_path) == [".y.0a1b.part", "x"]
