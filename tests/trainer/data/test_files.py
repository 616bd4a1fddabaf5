"""Folders and zip files as trees of files: what is refused, and what identity means."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tuneoff.trainer.data.files import identity, open_files
from tuneoff.trainer.errors import DataError

Make = Callable[[Path, dict[str, bytes]], Path]

FILES = {"a/b.txt": b"b", "a/c/d.txt": b"d", "e.txt": b"e"}


def test_zip_and_folder_read_the_same(tmp_path: Path, make_zip: Make, make_folder: Make) -> None:
    for files in (
        open_files(make_zip(tmp_path / "x.zip", FILES)),
        open_files(make_folder(tmp_path / "x", FILES)),
    ):
        assert files.names == tuple(sorted(FILES))
        assert files.folders == ("a", "a/c")
        assert {name: files.read(name) for name in files.names} == FILES


def test_hidden_files_are_left_out(tmp_path: Path, make_zip: Make, make_folder: Make) -> None:
    files = {**FILES, ".DS_Store": b"", "a/._b.txt": b"", "__MACOSX/a": b"", ".git/x": b""}
    assert open_files(make_zip(tmp_path / "x.zip", files)).names == tuple(sorted(FILES))
    del files["__MACOSX/a"]
    assert open_files(make_folder(tmp_path / "x", files)).names == tuple(sorted(FILES))


def test_identity_changes_with_the_files(tmp_path: Path, make_zip: Make, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "x", FILES)
    first = identity(folder)
    assert identity(folder) == first
    os.utime(folder / "e.txt", ns=(1, 1))
    assert identity(folder) != first
    path = make_zip(tmp_path / "x.zip", FILES)
    first = identity(path)
    os.utime(path, ns=(1, 1))
    assert identity(path) != first


def test_identity_changes_with_an_empty_folder(tmp_path: Path, make_folder: Make) -> None:
    folder = make_folder(tmp_path / "x", FILES)
    first = identity(folder)
    (folder / "a" / "empty").mkdir()
    assert identity(folder) != first
    with pytest.raises(DataError, match=r"nothing does not exist; check"):
        identity(tmp_path / "nothing")


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing does not exist; check"):
        open_files(tmp_path / "nothing")


def test_not_a_zip(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match=r"x\.zip is neither a folder nor a zip file"):
        open_files(path)


def test_truncated_zip(tmp_path: Path, make_zip: Make) -> None:
    path = make_zip(tmp_path / "x.zip", FILES)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"x\.zip is a damaged or incomplete zip file; fetch"):
        open_files(path)


def test_damaged_member(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.txt", b"hello hello")
    path.write_bytes(path.read_bytes().replace(b"hello hello", b"hello jello"))
    files = open_files(path)
    with pytest.raises(DataError, match=r"x\.zip is damaged at a\.txt; fetch it again"):
        files.read("a.txt")


def test_a_member_that_is_longer_than_announced(tmp_path: Path, make_zip: Make) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.txt": b"x" * 5000})
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\x01\x02") + 24
    content[size : size + 4] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip is damaged at a\.txt; fetch it again"):
        open_files(path).read("a.txt")


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_every_way_of_packing(tmp_path: Path, method: int) -> None:
    path = tmp_path / "x.zip"
    files = {"a.bin": bytes(range(256)) * 40, "empty": b""}
    with path.open("wb") as file:
        file.write(b"something before the zip")
        with zipfile.ZipFile(file, "w", method) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    opened = open_files(path)
    assert {name: opened.read(name) for name in opened.names} == files


def test_threads_may_read_together(tmp_path: Path, make_zip: Make) -> None:
    files = {f"{n}.bin": bytes([n]) * (n * 100) for n in range(200)}
    opened = open_files(make_zip(tmp_path / "x.zip", files))
    with ThreadPoolExecutor(8) as pool:
        assert dict(zip(files, pool.map(opened.read, files), strict=True)) == files


@pytest.mark.parametrize(
    "name", ["../evil.txt", "a/../../evil.txt", "/etc/passwd", "..\\evil.txt", "C:\\evil.txt"]
)
def test_members_that_point_outside_are_refused(tmp_path: Path, make_zip: Make, name: str) -> None:
    path = make_zip(tmp_path / "x.zip", {"wnids.txt": b"", name: b"x"})
    with pytest.raises(DataError, match="points outside of it; do not use"):
        open_files(path)


def test_a_huge_member_is_refused(
    tmp_path: Path, make_zip: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneoff.trainer.data.files.LARGEST_FILE", 1000)
    path = make_zip(tmp_path / "x.zip", {"bomb.jpg": bytes(2000)})
    with pytest.raises(DataError, match=r"bomb\.jpg would unpack to 2,000 bytes"):
        open_files(path)


def test_an_encrypted_member_is_refused(tmp_path: Path, make_zip: Make) -> None:
    path = make_zip(tmp_path / "x.zip", {"a.txt": b"x"})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag in the central directory
    content[6] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.txt is encrypted or packed in an unknown way"):
        open_files(path).read("a.txt")


def test_an_unreadable_file_is_named(tmp_path: Path, make_folder: Make) -> None:
    files = open_files(make_folder(tmp_path / "x", FILES))
    (tmp_path / "x" / "e.txt").unlink()
    with pytest.raises(DataError, match=r"e\.txt cannot be read \(No such file"):
        files.read("e.txt")
