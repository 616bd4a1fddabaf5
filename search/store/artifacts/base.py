"""An open artifact store: whole files by key, whatever keeps them."""

from __future__ import annotations

import contextlib
import io
import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from optuna.artifacts.exceptions import ArtifactNotFound

from tuneoff.files import replacing
from tuneoff.retry import Patience
from tuneoff.search.errors import ArtifactError, ArtifactOutage
from tuneoff.search.store.artifacts.framing import DamagedError, digest_of, framed, unframed
from tuneoff.trainer.errors import CheckpointError

log = logging.getLogger(__name__)

T = TypeVar("T")

Tick = Callable[[], bool]
"""Called again and again while a transfer lasts; True asks not to wait for a store that is away.

What it raises passes through.
"""


@dataclass(frozen=True)
class Failures:
    """What a kind of store raises.

    Attributes:
        kinds: of exceptions.
        passing: True for one that may pass by itself.
        describe: the reason, and the fix, in one line without secrets.
    """

    kinds: tuple[type[Exception], ...]
    passing: Callable[[Exception], bool]
    describe: Callable[[Exception], str]


class Store(Protocol):
    """What Optuna's artifact stores can do: see its ``ArtifactStore``."""

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The object's bytes (ArtifactNotFound if it is not there)."""

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an object."""

    def remove(self, artifact_id: str) -> None:
        """Remove an object, which may not be there."""


@dataclass(frozen=True)
class Artifacts:
    """An open artifact store.

    Attributes:
        url: holds no password; boto3 finds credentials.
        prefix: of every key, "" or "PREFIX/".
        patience: with a store that is away.
    """

    url: str
    store: Store
    prefix: str
    failures: Failures
    patience: Patience

    def __str__(self) -> str:
        return self.url

    def put(self, key: str, path: Path, tick: Tick = lambda: False) -> None:
        """Store a file under its name, whole or not at all.

        The file is read twice, once for its digest, and never held in memory whole.

        Raises:
            ArtifactOutage: the store stayed away for too long, or was away and ``tick`` was True.
            ArtifactError: the store refuses.
            CheckpointError: the file cannot be read.
        """
        try:
            file = path.open("rb")
        except OSError as error:
            raise CheckpointError(
                f"{path} cannot be read ({error.strerror}); fix that and start again"
            ) from error
        with file:
            self._put(key, path.name, file, tick)

    def put_bytes(self, key: str, name: str, content: bytes, tick: Tick = lambda: False) -> None:
        """Store a small file of this name (errors as ``put``)."""
        self._put(key, name, io.BytesIO(content), tick)

    def _put(self, key: str, name: str, file: BinaryIO, tick: Tick) -> None:
        # A store may close what it is given, whether it could send it or not.
        open_stream = framed(name, file, tick)
        self._patiently(lambda: self.store.write(self.prefix + key, open_stream()), tick)

    def get(self, key: str, folder: Path, tick: Tick = lambda: False) -> Path | None:
        """Bring a stored file into a folder, unless it is there.

        Returns:
            The file; None if there is no such object, or if it is damaged.

        Raises:
            ArtifactOutage, ArtifactError: as ``put``.
            CheckpointError: the folder cannot be written.
        """
        try:
            return self._patiently(lambda: self._fetch(key, folder, tick), tick)
        except ArtifactNotFound:
            return None
        except DamagedError as error:
            log.warning("%s in %s is passed over: %s", key, self, error)
            return None

    def has(self, key: str, tick: Tick = lambda: False) -> bool:
        """True if there is such an object (errors as ``put``)."""

        def look() -> bool:
            with closing(self._open(key)):
                return True

        try:
            return self._patiently(look, tick)
        except ArtifactNotFound:
            return False

    def remove(self, keys: Iterable[str]) -> None:
        """Remove what is there of these; a store that fails is not asked for the rest."""
        try:
            for key in keys:
                with contextlib.suppress(ArtifactNotFound):
                    self.store.remove(self.prefix + key)
        except self.failures.kinds as error:
            log.warning("%s in %s stays there (%s)", key, self, self.failures.describe(error))

    def check(self, tick: Tick = lambda: False) -> None:
        """Write, read and remove a probe.

        Raises:
            ArtifactOutage: the store stayed away for too long, or was away and ``tick`` was True.
            ArtifactError: with one line that says what does not work and how to fix it.
        """
        probe = f"probe-{secrets.token_hex(8)}"
        try:
            self.has(probe, tick)  # S3 forbids to ask for what is not there, unless one may list
            self.put_bytes(probe, "probe", b"tuneoff", tick)
            self._patiently(lambda: self._read_to_end(probe, tick), tick)
            self._patiently(lambda: self.store.remove(self.prefix + probe), tick)
        except (ArtifactNotFound, DamagedError):
            raise ArtifactError(
                f"{self}: what was written could not be read back; use another store"
            ) from None

    def _open(self, key: str) -> BinaryIO:
        try:
            return self.store.open_reader(self.prefix + key)
        except ArtifactNotFound as error:
            # Optuna says the same of a bucket that is not there.
            if error.__cause__ is not None and "NoSuchBucket" in str(error.__cause__):
                raise error.__cause__ from None
            raise

    def _fetch(self, key: str, folder: Path, tick: Tick) -> Path:
        with closing(self._open(key)) as reader:
            header, content = unframed(reader)
            path = folder / header.name
            if digest_of(path) != header.digest:
                with _writing(path) as write:
                    for chunk in content:
                        write(chunk)
                        tick()
        return path

    def _read_to_end(self, key: str, tick: Tick) -> None:
        with closing(self._open(key)) as reader:
            for _ in unframed(reader)[1]:
                tick()

    def _patiently(self, action: Callable[[], T], tick: Tick) -> T:
        retry = self.patience.begin()
        while True:
            hurry = tick()
            try:
                return action()
            except self.failures.kinds as error:
                reason = self.failures.describe(error)
                if not self.failures.passing(error):
                    raise ArtifactError(
                        f"{self}: cannot be used ({reason}); fix that and start again"
                    ) from None
                if hurry or retry.is_over:
                    raise ArtifactOutage(
                        f"{self}: could not be reached for {retry.waited:.0f} s ({reason}); "
                        "start again when it can be"
                    ) from None
                log.warning("artifact store %s: %s; trying again", self, reason)
                retry.pause()


@contextmanager
def _writing(path: Path) -> Iterator[Callable[[bytes], None]]:
    """Write a file piece by piece; it is there when all of it was written, or not at all.

    Raises:
        CheckpointError: it cannot be written. What else the block raises passes through: the store
            that it reads from may raise OSError, too.
    """
    in_block = False

    def unwritable(error: OSError) -> CheckpointError:
        return CheckpointError(
            f"{path.name} cannot be fetched into {path.parent} ({error.strerror}); fix that and "
            "start again: nothing is lost"
        )

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:

            def write(chunk: bytes) -> None:
                try:
                    file.write(chunk)
                except OSError as error:
                    raise unwritable(error) from error

            in_block = True
            yield write
            in_block = False
    except BaseException as error:
        with contextlib.suppress(OSError):
            path.parent.rmdir()  # it stays if anything else is in it
        if isinstance(error, OSError) and not in_block:
            raise unwritable(error) from error
        raise
