"""One large file from the network: resumed where it broke off, checked, fetched once."""

from __future__ import annotations

import hashlib
import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from tuneoff.trainer.errors import DataError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (bytes here, bytes in all); the latter is 0 while it is not known."""

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
TIMEOUT = 60.0  # seconds without a byte
_PIECE = 2**18
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class _InterruptedError(Exception):
    """The transfer broke off; another try may go on from there. The message says how."""


def fetch(
    url: str,
    path: Path,
    md5: str,
    progress: Progress | None = None,
    *,
    pauses: Sequence[float] = PAUSES,
    timeout: float = TIMEOUT,
) -> Path:
    """Makes sure that a file of the network is at ``path``; one that is there stays untouched.

    The file gets its name only when it is whole and its digest fits. Until then it grows under
    that name with ``.part`` added, from which a later call goes on. Of several processes that
    ask together, one fetches and the others wait for it.

    Args:
        url: what to fetch; http or https.
        path: where to put it; its folder is made if missing.
        md5: the file's MD5, hexadecimal: against a damaged transfer, not against forgery.
        progress: told how it goes.
        pauses: seconds to wait before each further try in a row that brings nothing.
        timeout: seconds without a byte after which the transfer counts as broken off.

    Returns:
        ``path``.

    Raises:
        DataError: it cannot be had, is not what it should be, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with FileLock(path.with_name(f"{path.name}.lock")):
                if not path.exists():  # fetched while we waited?
                    _fetch(_Transfer(url, path, progress, timeout), md5, pauses)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}); free some space or choose "
            "another folder"
        ) from error
    return path


class _Transfer:
    """One URL on its way into one file."""

    def __init__(self, url: str, path: Path, progress: Progress | None, timeout: float) -> None:
        self.url = url
        self.path = path
        self.part = path.with_name(f"{path.name}.part")
        self._progress = progress or (lambda done, of_all: None)
        self._timeout = timeout
        self._reached = False

    @property
    def here(self) -> int:
        """Bytes of the file that are here."""
        return self.part.stat().st_size if self.part.exists() else 0

    def go_on(self) -> None:
        """Fetches what is missing.

        Raises:
            _InterruptedError: it broke off.
            DataError: the server does not give it.
        """
        start = self.here
        request = urllib.request.Request(self.url, headers={"User-Agent": "tuneoff"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        try:
            response = urllib.request.urlopen(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            self._reached = True
            with error:
                code, reason = error.code, error.reason
            if code == 416:  # nothing after what is here: it is whole, or another file's
                return
            if code in _PASSING:
                raise _InterruptedError(f"the server answers {code} {reason}") from error
            raise DataError(self.fix(f"the server answers {code} {reason}")) from error
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.URLError) and not self._reached:
                # There is no network, or no such server; do not make anybody wait for it.
                raise DataError(self.fix(_reason(error))) from error
            raise _InterruptedError(_reason(error)) from error
        self._reached = True
        with response:
            self._receive(response, start)

    def _receive(self, response: http.client.HTTPResponse, start: int) -> None:
        ranged = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", response.headers.get("Content-Range", ""))
        if response.status != 206:
            start = 0  # all of it, whatever we asked for
        elif ranged is None or int(ranged[1]) != start:
            self.part.unlink()
            raise _InterruptedError("the server sends another part than was asked for")
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
            raise _InterruptedError(f"the connection ended after {done:,} of {total:,} bytes")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read1(_PIECE)
        except (OSError, http.client.HTTPException) as error:
            raise _InterruptedError(_reason(error)) from error

    def fix(self, problem: str) -> str:
        """The message for a file that cannot be had."""
        return (
            f"{self.url} cannot be fetched ({problem}); fetch it on another machine and put it at "
            f"{self.path}"
        )


def _fetch(transfer: _Transfer, md5: str, pauses: Sequence[float]) -> None:
    resumed = transfer.here > 0
    _persist(transfer, pauses)
    found = _md5(transfer.part)
    if found != md5 and resumed:
        # What an earlier call left may have been of another file: once more, all of it.
        log.warning("%s is not what it should be: fetching all of it again", transfer.part)
        transfer.part.unlink(missing_ok=True)
        _persist(transfer, pauses)
        found = _md5(transfer.part)
    if found != md5:
        transfer.part.unlink(missing_ok=True)
        raise DataError(transfer.fix(f"its MD5 is {found} and not {md5}; it was removed"))
    transfer.part.replace(transfer.path)


def _persist(transfer: _Transfer, pauses: Sequence[float]) -> None:
    """Tries until the file is whole, or too many tries in a row have brought nothing."""
    began = most = transfer.here
    failures = 0
    while True:
        try:
            return transfer.go_on()
        except _InterruptedError as error:
            now = transfer.here
            failures = 0 if now > most else failures + 1
            most = max(most, now)
            if failures > len(pauses):
                kept = f"; the same command goes on from {now:,} bytes" if now > began else ""
                raise DataError(transfer.fix(f"{error}{kept}")) from error
            pause = pauses[max(0, failures - 1)] if pauses else 0.0
            log.warning("%s: %s; trying again in %g s", transfer.url, error, pause)
            time.sleep(pause)


def _md5(path: Path) -> str:
    if not path.exists():
        return hashlib.md5(usedforsecurity=False).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str(cause).split()) or type(cause).__name__
