"""Folders and zip files as trees of files: what is refused, and what identity means."""

from __future__ import annotations

import contextlib
import errno
import os
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
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


def test_a_database_beside_the_images_is_no_part_of_the_identity(
    tmp_path: Path, make_folder: Make
) -> None:
    folder = make_folder(tmp_path / "x", {**FILES, "tuneoff.db": b"1", "f.JPG": b"x"})
    first = identity(folder)
    (folder / "tuneoff.db").write_bytes(b"another")
    (folder / "tuneoff.db-wal").write_bytes(b"x")
    assert identity(folder) == first
    (folder / "f.JPG").write_bytes(b"another")
    assert identity(folder) != first


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


@pytest.mark.slow
def test_a_damaged_zip_is_one_kind_of_error(tmp_path: Path, make_zip: Make) -> None:
    path = make_zip(tmp_path / "x.zip", {f"a/caf\u00e9{n}.txt": b"hello" * 50 for n in range(3)})
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    rng = np.random.default_rng(0)
    opened = 0
    for _ in range(400):
        damaged = bytearray(content)
        for place in rng.integers(directory, len(content), 2):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(DataError):
            files = open_files(path)
            opened += 1
            for name in files.names:
                with contextlib.suppress(DataError):
                    files.read(name)
    assert 0 < opened < 400


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


def test_links_are_followed_and_count_in_the_identity(tmp_path: Path, make_folder: Make) -> None:
    make_folder(tmp_path / "elsewhere", {"f.txt": b"f", "g/h.txt": b"h"})
    root = make_folder(tmp_path / "x", FILES)
    (root / "a" / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "i.txt").symlink_to(tmp_path / "elsewhere" / "f.txt")
    files = open_files(root)
    more = {"a/linked/f.txt": b"f", "a/linked/g/h.txt": b"h", "i.txt": b"f"}
    assert {name: files.read(name) for name in files.names} == {**FILES, **more}
    assert files.folders == ("a", "a/c", "a/linked", "a/linked/g")
    first = identity(root)
    (tmp_path / "elsewhere" / "g" / "h.txt").write_bytes(b"longer")
    assert identity(root) != first
    (tmp_path / "link").symlink_to(root)
    assert open_files(tmp_path / "link").names == files.names


@pytest.mark.parametrize("target", ["..", "../..", "."])
def test_links_in_a_circle_are_refused(tmp_path: Path, make_folder: Make, target: str) -> None:
    root = make_folder(tmp_path / "x", FILES)
    (root / "a" / "c" / "round").symlink_to(target)
    for work in (open_files, identity):
        with pytest.raises(DataError, match=r"round is a link to a folder in which it lies itself"):
            work(root)


def test_two_links_to_a_folder_are_no_circle(tmp_path: Path, make_folder: Make) -> None:
    make_folder(tmp_path / "elsewhere", {"f.txt": b"f"})
    root = make_folder(tmp_path / "x", {"e.txt": b"e"})
    for name in ("one", "two"):
        (root / name).symlink_to(tmp_path / "elsewhere")
    assert open_files(root).names == ("e.txt", "one/f.txt", "two/f.txt")


def test_what_is_neither_file_nor_folder_is_refused(tmp_path: Path, make_folder: Make) -> None:
    root = make_folder(tmp_path / "x", FILES)
    (root / "a" / "lost.jpg").symlink_to(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"lost\.jpg is a link that leads nowhere; fetch"):
        open_files(root)
    (root / "a" / "lost.jpg").unlink()
    (root / "a" / "itself").symlink_to("itself")
    with pytest.raises(DataError, match=r"itself cannot be read \(Too many levels"):
        open_files(root)
    (root / "a" / "itself").unlink()
    os.mkfifo(root / "pipe.jpg")
    for work in (open_files, identity):
        with pytest.raises(DataError, match=r"pipe\.jpg is neither a file nor a folder"):
            work(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, make_folder: Make) -> None:
    root = make_folder(tmp_path / "x", FILES)
    (root / "a" / "c").chmod(0)
    with pytest.raises(DataError, match=r"a/c.* cannot be read \(Permission denied"):
        open_files(root)


def test_a_folder_that_fails_while_it_is_read_is_named(
    tmp_path: Path, make_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder(tmp_path / "x", FILES)
    scan = os.scandir

    def failing(path: Path) -> object:
        if path.name == "c":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(DataError, match=r"a/c cannot be read \(Permission denied\)"):
        open_files(root)


def test_links_in_a_zip_file_are_listed_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    link = zipfile.ZipInfo("a/link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/b.txt", b"b")
        archive.writestr(link, b"../b.txt")
    files = open_files(path)
    assert (files.names, files.links) == (("a/b.txt",), ("a/link.jpg",))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_was_replaced_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", b"old")
        archive.writestr("a.txt", b"new")
    files = open_files(path)
    assert files.names == ("a.txt",)
    assert files.read("a.txt") == b"new"


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"data-\xff")
    (root / os.fsdecode(b"caf\xe9")).mkdir(parents=True)
    name = os.fsdecode(b"caf\xe9/\n\xfc.txt")
    (root / name).write_bytes(b"x")
    files = open_files(root)
    assert files.names == (name,)
    assert files.read(name) == b"x"
    assert len(identity(root)) == 64
    (root / name).unlink()
    with pytest.raises(DataError) as caught:
        files.read(name)
    str(caught.value).encode()
    assert "\n" not in str(caught.value)


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, make_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuneoff.trainer.data.files.LARGEST_FILE", 1000)
    files = open_files(make_folder(tmp_path / "x", {"bomb.jpg": bytes(2000)}))
    with pytest.raises(DataError, match=r"bomb\.jpg has 2,000 bytes, above the limit of 1,000"):
        files.read("bomb.jpg")
