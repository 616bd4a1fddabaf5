"""One large file from the network: continued where it broke off, checked, fetched once."""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tuneoff.files import put_in_place
from tuneoff.messages import first_line
from tuneoff.once import made_once
from tuneoff.retry import Patience
from tuneoff.trainer.errors import DataError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of bytes received so far and of all; the latter is 0 if not known."""

PATIENCE = Patience(120.0, first_pause=1.0, longest_pause=16.0)  # since the last new bytes
TIMEOUT = 60.0  # seconds without a byte
_PIECE = 2**18  # bytes
_TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # HTTP statuses after which to try again


class _BrokenOffError(Exception):
    """The transfer broke off, for the reason that the message gives; another try may succeed."""


def fetch(
    url: str,
    path: Path,
    md5: str,
    progress: Progress | None = None,
    *,
    patience: Patience = PATIENCE,
    timeout: float = TIMEOUT,
) -> Path:
    """Makes sure that a file of the network is at ``path``. What is there already is not touched.

    Until the file is complete and its MD5 is right, it is kept under its name with ``.part`` added;
    a later call continues from there. Of several processes that ask together, one fetches the file
    and the others wait for it.

    Args:
        url: of the file; http or https.
        path: where to put it; its folder is made if missing.
        md5: the file's MD5, hexadecimal: it guards against a damaged transfer, not forgery.
        progress: told how many bytes have been received.
        patience: with a transfer that breaks off. It begins anew after each try that has brought
            new bytes.
        timeout: seconds without a byte after which the transfer counts as broken off.

    Returns:
        ``path``.

    Raises:
        DataError: the file cannot be had, is not what it should be, or cannot be written.
    """

    def find() -> Path | None:
        return path if path.exists() else None

    def make() -> Path:
        transfer = _Transfer(url, path, progress, timeout)
        _fetch(transfer, md5, patience)
        put_in_place(transfer.part, path)
        return path

    try:
        return made_once(find, make, path.with_name(f"{path.name}.lock"))
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); free some space or choose "
            "another folder"
        ) from error


class _Transfer:
    """One file on its way from the network to the disk."""

    def __init__(self, url: str, path: Path, progress: Progress | None, timeout: float) -> None:
        self.url = url
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self._progress = progress or (lambda done, of_all: None)
        self._timeout = timeout
        self._reached = False

    @property
    def received(self) -> int:
        """Bytes of the file that are on the disk."""
        return self.part.stat().st_size if self.part.exists() else 0

    def receive_rest(self) -> None:
        """Fetches the bytes that are missing.

        Raises:
            _BrokenOffError: the transfer broke off before the end.
            DataError: the server cannot be reached or refuses, so that trying again is in vain.
        """
        start = self.received
        request = urllib.request.Request(self.url, headers={"User-Agent": "tuneoff"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            response = urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            self._reached = True
            with error:
                code, reason = error.code, error.reason
            if code == 416:
                # The file has no bytes after those received: these are all of it, or of another
                # file. Its MD5 will tell.
                return
            if code in _TEMPORARY:
                raise _BrokenOffError(f"the server answers {code} {reason}") from error
            raise self.failure(f"the server answers {code} {reason}") from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.URLError) and not self._reached:
                # There is no network or no such server: waiting would only delay the message.
                raise self.failure(_reason(error)) from error
            raise _BrokenOffError(_reason(error)) from error
        self._reached = True
        with response:
            self._receive(response, start)

    def _receive(self, response: http.client.HTTPResponse, start: int) -> None:
        ranged = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
        if response.status != 206:
            start = 0  # the server sends the whole file, though a part was asked for
        elif ranged is None or int(ranged[1]) != start:
            self.part.unlink()
            raise _BrokenOffError("the server sends another part of the file than was asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else 0
        done = start
        with self.part.open("ab") as file:
            file.truncate(start)
            self._progress(done, total)
            while piece := self._read(response):
                file.write(piece)
                done += len(piece)
                self._progress(done, total)
        if done < total:
            raise _BrokenOffError(f"the connection ended after {done:,} of {total:,} bytes")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(_PIECE)
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenOffError(_reason(error)) from error

    def failure(self, problem: str) -> DataError:
        """The error for a file that cannot be had."""
        return DataError(
            f"{self.url} cannot be fetched ({problem}); fetch it on another machine and put it at "
            f"{self.path}"
        )


def _fetch(transfer: _Transfer, md5: str, patience: Patience) -> None:
    """Completes ``transfer.part``.

    Raises:
        DataError: the file cannot be had, or its MD5 is wrong; it was removed then.
    """
    continued = transfer.received > 0
    _try_until_complete(transfer, patience)
    found = _md5(transfer.part)
    if found != md5 and continued:
        # The bytes that an earlier call left may belong to another file.
        log.warning("%s is not what it should be: fetching all of it again", transfer.part)
        transfer.part.unlink(missing_ok=True)
        _try_until_complete(transfer, patience)
        found = _md5(transfer.part)
    if found != md5:
        transfer.part.unlink(missing_ok=True)
        raise transfer.failure(f"its MD5 is {found} and not {md5}; it was removed")


def _try_until_complete(transfer: _Transfer, patience: Patience) -> None:
    """Tries until the file is complete, or no new bytes have come for too long."""
    began = most = transfer.received
    retry = patience.begin()
    while True:
        try:
            return transfer.receive_rest()
        except _BrokenOffError as error:
            now = transfer.received
            if now > most:
                most, retry = now, patience.begin()
            elif retry.is_over:
                kept = f"; the same command goes on from {now:,} bytes" if now > began else ""
                raise transfer.failure(f"{error}{kept}") from error
            log.warning("%s: %s; trying again", transfer.url, error)
            retry.pause()


def _md5(path: Path) -> str:
    if not path.exists():
        return hashlib.md5(usedforsecurity=False).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return first_line(cause) if isinstance(cause, BaseException) else str(cause)
