"""How a file stands in a store: one header line, then its bytes.

The header is ``tuneoff-artifact 1 SHA256 NAME\\n``, the digest and the name of the file. So half an
object, or somebody else's, is never taken for a whole one of ours.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from tuneoff.trainer.errors import CheckpointError

CHUNK = 2**20

_HEADER = re.compile(rb"tuneoff-artifact 1 ([0-9a-f]{64}) ([\w][\w.-]{0,200})\n")


class DamagedError(Exception):
    """Why an object does not serve."""


@dataclass(frozen=True)
class Header:
    """The first line of an object.

    Attributes:
        name: of the file.
        digest: of its bytes, SHA-256 in hexadecimal.
    """

    name: str
    digest: str

    def line(self) -> bytes:
        """The line as it is stored."""
        line = f"tuneoff-artifact 1 {self.digest} {self.name}\n".encode()
        assert _HEADER.fullmatch(line), self.name
        return line


def framed(name: str, file: BinaryIO, tick: Callable[[], object]) -> Callable[[], BinaryIO]:
    """Opens a file with its header before it as one stream, once for each time that it is sent.

    Args:
        file: is read to its end here, for the digest, and again whenever a stream is read. It
            stays open when a stream is closed.
        tick: called again and again while either lasts.

    Raises:
        CheckpointError: the file cannot be read; reading a stream raises it, too.
    """
    hashed = hashlib.sha256()
    try:
        while chunk := file.read(CHUNK):
            hashed.update(chunk)
            tick()
    except OSError as error:
        raise _unreadable(name, error) from error
    header = Header(name, hashed.hexdigest())

    def open_stream() -> BinaryIO:
        file.seek(0)
        return io.BufferedReader(_Framed(header, file, tick), CHUNK)

    return open_stream


class _Framed(io.RawIOBase):
    def __init__(self, header: Header, file: BinaryIO, tick: Callable[[], object]) -> None:
        self._name, self._head = header.name, header.line()
        self._file, self._tick, self._at = file, tick, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset += len(self._head) + self._file.seek(0, io.SEEK_END)
        elif whence == io.SEEK_CUR:
            offset += self._at
        self._at = offset
        self._file.seek(max(0, offset - len(self._head)))
        return offset

    def readinto(self, buffer: Any) -> int:
        self._tick()
        chunk = self._head[self._at : self._at + len(buffer)]
        if not chunk:
            try:
                chunk = self._file.read(len(buffer))
            except OSError as error:
                raise _unreadable(self._name, error) from error
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)


def unframed(reader: BinaryIO) -> tuple[Header, Iterator[bytes]]:
    """An object's header, and the bytes of its file, which are read as they are asked for.

    Raises:
        DamagedError: it has no header of ours; at the end of the bytes, if their digest is wrong.
    """
    first = reader.read(CHUNK)
    found = _HEADER.match(first)
    if found is None:
        raise DamagedError("it is not an artifact of ours")
    header = Header(name=found[2].decode(), digest=found[1].decode())

    def content() -> Iterator[bytes]:
        hashed, chunk = hashlib.sha256(), first[found.end() :]
        while chunk:
            hashed.update(chunk)
            yield chunk
            chunk = reader.read(CHUNK)
        if hashed.hexdigest() != header.digest:
            raise DamagedError("its digest does not fit")

    return header, content()


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _unreadable(name: str, error: OSError) -> CheckpointError:
    return CheckpointError(f"{name} cannot be read ({error.strerror}); fix that and start again")
