"""A folder or a zip file as one read-only tree of named files; nothing is ever extracted."""

from __future__ import annotations

import hashlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from tuneoff.trainer.errors import DataError

_LOCAL_HEADER = 30  # bytes of a member's own header, before its name

LARGEST_FILE = 256 * 2**20
"""Bytes. No image or list comes near this; a member that would is a decompression bomb."""


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

    def read(self, name: str) -> bytes:
        """The bytes of one file (DataError if they cannot be read)."""


class Folder:
    """The files below a folder. Hidden files and folders (a leading dot) are left out."""

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

    def read(self, name: str) -> bytes:
        path = self._root / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})") from error


class Zip:
    """The members of a zip file, read without unpacking it. Hidden ones are left out."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise DataError(_not_a_zip(path)) from error
        except OSError as error:
            raise DataError(f"{path} cannot be read ({error.strerror})") from error
        members = [member for member in self._zip.infolist() if not member.is_dir()]
        for member in self._zip.infolist():
            _refuse_unsafe(path, member)
        self.names = tuple(sorted(m.filename for m in members if not _is_hidden(m.filename)))
        holders = {name.rpartition("/")[0] for name in self.names}
        parents = {p.as_posix() for h in map(PurePosixPath, holders) for p in (h, *h.parents)}
        empty = {m.filename.rstrip("/") for m in self._zip.infolist() if m.is_dir()}
        self.folders = tuple(sorted((parents | empty) - {"."}))

    def read(self, name: str) -> bytes:
        try:
            plain = self._read_plain(self._zip.getinfo(name))
            return self._zip.read(name) if plain is None else plain
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DataError(f"{self.where} is damaged at {name}; fetch it again") from error
        except (RuntimeError, NotImplementedError) as error:
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


def identity(path: Path) -> str:
    """A string that changes whenever a file of a folder, or a zip file, is added or written.

    Nothing is opened: only the sizes and times of change of the files are looked at.

    Raises:
        DataError: nothing is there, or a file cannot be looked at.
    """
    if not path.is_dir():
        _refuse_missing(path)
        size, changed = _size_and_time(path)
        return hashlib.sha256(f"{path.resolve()}\0{size}\0{changed}".encode()).hexdigest()
    digest = hashlib.sha256(str(path.resolve()).encode())
    for folder, inside, files in _walk(path):
        for name in files:
            size, changed = _size_and_time(path / folder / name)
            digest.update(f"{folder}{name}\0{size}\0{changed}\n".encode())
        if folder and not (inside or files):
            digest.update(f"{folder}\n".encode())  # an empty folder can be a class without images
    return digest.hexdigest()


def _walk(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Each folder, as a relative path with a slash at its end, and the names inside, sorted.

    Yields:
        (folder, names of its folders, names of its files), without hidden ones.
    """
    for path, inside, files in os.walk(root):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        relative = Path(path).relative_to(root).as_posix()
        folder = "" if relative == "." else f"{relative}/"
        yield folder, inside, sorted(name for name in files if not name.startswith("."))


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from error
    return stat.st_size, stat.st_mtime_ns


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path} does not exist; check the data path")


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return any(part.startswith(".") and part != "." for part in parts) or "__MACOSX" in parts


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
