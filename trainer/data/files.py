"""A folder or a zip file as one read-only tree of named files; nothing is ever extracted."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from tuneoff.trainer.data.formats import is_foreign, is_image
from tuneoff.trainer.errors import DataError

_LOCAL_HEADER = 30  # bytes of a member's own header, before its name

# What zipfile raises for damaged files; ValueError for a name that is not in its encoding.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, struct.error)

LARGEST_FILE = 256 * 2**20
"""Bytes. No image or list comes near this; a member that would is a decompression bomb."""


class FileTooLargeError(DataError):
    """A file has more than ``LARGEST_FILE`` bytes."""


class Files(Protocol):
    """Named files that can be read, from several threads at once too."""

    @property
    def where(self) -> str:
        """The folder or zip file, for messages."""

    @property
    def names(self) -> tuple[str, ...]:
        """Relative paths with forward slashes, sorted."""

    @property
    def folders(self) -> tuple[str, ...]:
        """Relative paths of the folders, empty ones too, sorted."""

    @property
    def links(self) -> tuple[str, ...]:
        """Relative paths of the links that are not followed: those in zip files, sorted."""

    def size(self, name: str) -> int:
        """The number of bytes of one file (DataError if it cannot be looked at)."""

    def read(self, name: str) -> bytes:
        """The bytes of one file (DataError if they cannot be read)."""


class Folder:
    """The files below a folder, links followed. Hidden ones (a leading dot) are left out.

    Raises:
        DataError: a folder cannot be read, or a link leads nowhere or round in a circle.
    """

    links: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        self._root = root
        self.where = str(root)
        names: list[str] = []
        folders: list[str] = []
        for folder, inside, files in _walk(root):
            folders += [f"{folder}{name}" for name in inside]
            names += [f"{folder}{name}" for name in files]
        self.names = tuple(sorted(names))
        self.folders = tuple(sorted(folders))

    def size(self, name: str) -> int:
        return size_of(self._root / name)

    def read(self, name: str) -> bytes:
        return read_file(self._root / name)


class Zip:
    """The members of a zip file, read without unpacking it. Hidden ones are left out, and links,
    which most programs that unpack zip files do not make either."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except (*_DAMAGE, NotImplementedError) as error:
            raise DataError(_not_a_zip(path)) from error
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})") from error
        for member in self._zip.infolist():
            _refuse_unsafe(path, member)
        shown = [m for m in self._zip.infolist() if not m.is_dir() and not _is_hidden(m.filename)]
        self.links = tuple(sorted({m.filename for m in shown if _is_link(m)}))
        # A set, since a member that was replaced is listed twice, and the last one counts.
        self.names = tuple(sorted({m.filename for m in shown} - set(self.links)))
        holders = {name.rpartition("/")[0] for name in self.names}
        parents = {p.as_posix() for h in map(PurePosixPath, holders) for p in (h, *h.parents)}
        empty = {m.filename.rstrip("/") for m in self._zip.infolist() if m.is_dir()}
        self.folders = tuple(sorted((parents | empty) - {"."}))

    def size(self, name: str) -> int:
        return self._zip.getinfo(name).file_size

    def read(self, name: str) -> bytes:
        try:
            plain = self._read_plain(self._zip.getinfo(name))
            return self._zip.read(name) if plain is None else plain
        except _DAMAGE as error:
            raise DataError(f"{self.where} is damaged at {name}; fetch it again") from error
        except RuntimeError as error:  # NotImplementedError is one
            raise DataError(
                f"{self.where}: {name} is encrypted or packed in an unknown way; "
                "pack it again with a plain zip"
            ) from error
        except OSError as error:
            raise DataError(f"{self.where} cannot be read ({error})") from error

    def _read_plain(self, member: zipfile.ZipInfo) -> bytes | None:
        """The bytes of a member that is stored or deflated; None for any other or a damaged one.

        ``ZipFile.read`` takes four times as long, and its lock makes threads wait for each other.
        It is left to say what is wrong with the members that are None here.
        """
        encrypted = member.flag_bits & 1
        known = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if self._zip.fp is None or encrypted or not known or not member.file_size:
            return None
        descriptor = self._zip.fp.fileno()
        header = os.pread(descriptor, _LOCAL_HEADER, member.header_offset)
        if len(header) < _LOCAL_HEADER or not header.startswith(b"PK\x03\x04"):
            return None
        # The lengths of the name and the extra field here may differ from those in the directory.
        start = member.header_offset + _LOCAL_HEADER + sum(struct.unpack_from("<HH", header, 26))
        content = os.pread(descriptor, member.compress_size, start)
        if member.compress_type == zipfile.ZIP_DEFLATED:
            # At most as many bytes as announced, so that a decompression bomb does no harm.
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.file_size)
        whole = len(content) == member.file_size and zlib.crc32(content) == member.CRC
        return content if whole else None


def open_files(path: Path) -> Files:
    """The files of a folder or of a zip file.

    Raises:
        DataError: nothing is there, or it is neither, or the zip file is damaged or unsafe.
    """
    if path.is_dir():
        return Folder(path)
    _refuse_missing(path)
    return Zip(path)


def read_file(path: Path) -> bytes:
    """The bytes of a file (DataError if they cannot be read, or are too many)."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST_FILE:
                raise FileTooLargeError(
                    f"{path} has {size:,} bytes, above the limit of {LARGEST_FILE:,}"
                )
            return file.read()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error


def identity(path: Path) -> str:
    """A string that changes whenever an image or a list (.txt) of a folder is added or written, or
    a zip file.

    Nothing is opened: only the sizes and times of change of the files are looked at; of a link it
    is the file that it leads to. Other files do not count, since a study's database may lie beside
    the images.

    Raises:
        DataError: nothing is there, or a file cannot be looked at.
    """
    digest = hashlib.sha256(os.fsencode(path.resolve()))  # a path may be any bytes
    if not path.is_dir():
        _refuse_missing(path)
        size, changed = _size_and_time(path)
        digest.update(f"\0{size}\0{changed}".encode())
        return digest.hexdigest()
    for folder, inside, files in _walk(path):
        for name in files:
            if not (is_image(name) or is_foreign(name) or name.endswith(".txt")):
                continue
            size, changed = _size_and_time(path / folder / name)
            digest.update(os.fsencode(f"{folder}{name}\0{size}\0{changed}\n"))
        if folder and not (inside or files):
            # An empty folder can be a class without images.
            digest.update(os.fsencode(f"{folder}\n"))
    return digest.hexdigest()


def identity_of_files(paths: Iterable[Path]) -> str:
    """As ``identity``, of these files (DataError if one cannot be looked at)."""
    digest = hashlib.sha256()
    for path in paths:
        size, changed = _size_and_time(path)
        digest.update(os.fsencode(path.absolute()) + f"\0{size}\0{changed}\n".encode())
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """The number of bytes of a file (DataError if it cannot be looked at)."""
    return _size_and_time(path)[0]


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder, as a relative path with a slash at its end, and the names inside, sorted.

    Links are followed, so that a file to which several lead is there several times.

    Yields:
        (folder, names of its folders, names of its files), without hidden ones.

    Raises:
        DataError: see ``Folder``.
    """
    waiting: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while waiting:
        folder, above = waiting.pop()
        path = root / folder
        try:
            found = path.stat()
            here = (found.st_dev, found.st_ino)
            if here in above:
                raise DataError(
                    f"{path} is a link to a folder in which it lies itself; remove the link"
                )
            with os.scandir(path) as entries:
                shown = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
            inside = [entry.name for entry in shown if entry.is_dir()]
            files = [entry.name for entry in shown if entry.is_file()]
        except OSError as error:
            raise DataError(
                f"{error.filename or path} cannot be read ({error.strerror})"
            ) from error
        if len(inside) + len(files) < len(shown):
            known = {*inside, *files}
            _refuse_odd(next(entry for entry in shown if entry.name not in known))
        yield folder, inside, files
        here_too = above | {here}
        waiting += [(f"{folder}{name}/", here_too) for name in reversed(inside)]


def _refuse_odd(entry: os.DirEntry[str]) -> None:
    """DataError for what is no file and no folder; to read a pipe would take for ever."""
    if entry.is_symlink():
        raise DataError(
            f"{entry.path} is a link that leads nowhere; fetch what it leads to, or remove it"
        )
    raise DataError(f"{entry.path} is neither a file nor a folder; remove it")


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    return found.st_size, found.st_mtime_ns


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} does not exist; check the data path")


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return any(part.startswith(".") and part != "." for part in parts) or "__MACOSX" in parts


def _is_link(member: zipfile.ZipInfo) -> bool:
    # The upper half holds the file's mode where the zip file was made on Unix.
    return stat.S_ISLNK(member.external_attr >> 16)


def _refuse_unsafe(path: Path, member: zipfile.ZipInfo) -> None:
    # Both names: ``filename`` has already lost backslashes and anything after a NUL byte.
    for name in {member.filename, member.orig_filename}:
        parts = name.replace("\\", "/").split("/")
        if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
            raise DataError(
                f"{path} has a member named {name!r}, which points outside of it; "
                "do not use this file"
            )
    if member.file_size > LARGEST_FILE:
        raise DataError(
            f"{path}: {member.filename} would unpack to {member.file_size:,} bytes, above the "
            f"limit of {LARGEST_FILE:,}; this is not an image data set"
        )


def _not_a_zip(path: Path) -> str:
    with path.open("rb") as file:
        starts_as_zip = file.read(4) == b"PK\x03\x04"
    if starts_as_zip:
        return f"{path} is a damaged or incomplete zip file; fetch it again"
    return f"{path} is neither a folder nor a zip file; check the data path"
