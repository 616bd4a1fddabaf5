"""Files kept where every machine can reach them: a shared folder or an S3 bucket, by URL.

An object is one header line, ``tuneoff-artifact 1 SHA256 NAME\\n``, then the bytes of the file of
that name, to which that SHA-256 belongs: half an object is never taken for a whole one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import logging
import os
import random
import re
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from optuna.artifacts.exceptions import ArtifactNotFound

from tuneoff.search.errors import ArtifactError, ArtifactOutage
from tuneoff.trainer.errors import CheckpointError

log = logging.getLogger(__name__)

HOW = "file:///ABSOLUTE/FOLDER or s3://BUCKET/PREFIX?endpoint_url=URL"
CHUNK = 2**20
# Failures that no amount of waiting fixes.
LASTING_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
PASSING_CODES = ("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException")

_HEADER = re.compile(rb"tuneoff-artifact 1 ([0-9a-f]{64}) ([\w][\w.-]{0,200})\n")

T = TypeVar("T")

Tick = Callable[[], bool]
"""Called again and again while a transfer lasts; True asks not to wait for a store that is away.

What it raises passes through.
"""


class _DamagedError(Exception):
    """Why an object does not serve."""


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
    """As Optuna's ``ArtifactStore``: what its stores can do."""

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The object's bytes (ArtifactNotFound if it is not there)."""

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an object."""

    def remove(self, artifact_id: str) -> None:
        """Remove an object, which may not be there."""


class FolderStore:
    """A folder as an Optuna ``ArtifactStore``; identifiers are paths in it.

    Unlike ``optuna.artifacts.FileSystemArtifactStore`` it writes aside, syncs and renames, so that
    a reader elsewhere finds an object whole or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The object's bytes (ArtifactNotFound if it is not there)."""
        self._mounted()
        try:
            return (self.folder / artifact_id).open("rb")
        except FileNotFoundError:
            raise ArtifactNotFound(f"{self.folder} has no {artifact_id}") from None

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an object; when this returns it survives a power cut."""
        self._mounted()
        path = self.folder / artifact_id
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, content_body)

    def remove(self, artifact_id: str) -> None:
        """Remove an object, and the folders that this leaves empty."""
        self._mounted()
        path = self.folder / artifact_id
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            for part in path.parent.glob(f".{path.name}.*.part"):  # of writers that were killed
                part.unlink(missing_ok=True)
            for parent in path.parents:
                if parent == self.folder:
                    break
                parent.rmdir()

    def _mounted(self) -> None:
        # Never made here: what looks missing is a share that is not mounted, as a rule.
        if not self.folder.is_dir():
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(self.folder))


class _Ticking(io.BytesIO):
    """Bytes that tick while they are read, so that a long upload counts as progress."""

    def __init__(self, content: bytes, tick: Tick) -> None:
        super().__init__(content)
        self._tick = tick

    def read(self, size: int | None = -1, /) -> bytes:
        self._tick()
        return super().read(size)


@dataclass(frozen=True)
class Artifacts:
    """An open artifact store.

    Attributes:
        url: holds no password; boto3 finds credentials.
        prefix: of every key, "" or "PREFIX/".
        patience: seconds to wait for a store that is away.
    """

    url: str
    store: Store
    prefix: str
    failures: Failures
    patience: float

    def __str__(self) -> str:
        return self.url

    def put(self, key: str, name: str, content: bytes, tick: Tick = lambda: False) -> None:
        """Store a file, whole or not at all.

        Raises:
            ArtifactOutage: the store stayed away for too long, or was away and ``tick`` was True.
            ArtifactError: the store refuses.
        """
        header = f"tuneoff-artifact 1 {hashlib.sha256(content).hexdigest()} {name}\n".encode()
        assert _HEADER.fullmatch(header), name

        def write() -> None:
            self.store.write(self.prefix + key, _Ticking(header + content, tick))

        self._patiently(write, tick)

    def get(self, key: str, folder: Path, tick: Tick = lambda: False) -> Path | None:
        """Bring a stored file into a folder, unless it is there.

        Returns:
            The file; None if there is no such object, or if it is damaged.

        Raises:
            ArtifactOutage, ArtifactError: as ``put``.
            CheckpointError: the folder cannot be written.
        """
        try:
            name, content = self._patiently(lambda: self._read(key, folder, tick), tick)
        except ArtifactNotFound:
            return None
        except _DamagedError as error:
            log.warning("%s in %s is passed over: %s", key, self, error)
            return None
        path = folder / name
        if content is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                write_aside(path, io.BytesIO(content))
            except OSError as error:
                raise CheckpointError(
                    f"{name} cannot be fetched into {folder} ({error.strerror}); fix that and "
                    "start again: nothing is lost"
                ) from error
        return path

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
            ArtifactError: with one line that says what does not work and how to fix it.
        """
        probe = f"probe-{secrets.token_hex(8)}"
        nowhere = Path(os.devnull)
        try:
            self.has(probe, tick)  # S3 forbids to ask for what is not there, unless one may list
            self.put(probe, "probe", b"tuneoff", tick)
            self._patiently(lambda: self._read(probe, nowhere, tick), tick)
            self._patiently(lambda: self.store.remove(self.prefix + probe), tick)
        except ArtifactOutage as error:
            raise ArtifactError(str(error)) from None
        except (ArtifactNotFound, _DamagedError):
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

    def _read(self, key: str, folder: Path, tick: Tick) -> tuple[str, bytes | None]:
        """(name, content) of an object; no content if the folder has the same already."""
        with closing(self._open(key)) as reader:
            content = bytearray(reader.read(CHUNK))
            header = _HEADER.match(content)
            if header is None:
                raise _DamagedError("it is not an artifact of ours")
            digest, name = header[1].decode(), header[2].decode()
            if _digest(folder / name) == digest:
                return name, None
            while chunk := reader.read(CHUNK):
                content += chunk
                tick()
        body = bytes(content[header.end() :])
        if hashlib.sha256(body).hexdigest() != digest:
            raise _DamagedError("its digest does not fit")
        return name, body

    def _patiently(self, action: Callable[[], T], tick: Tick) -> T:
        began, pause = time.monotonic(), 0.1
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
                waited = time.monotonic() - began
                if hurry or waited >= self.patience:
                    raise ArtifactOutage(
                        f"{self}: could not be reached for {waited:.0f} s ({reason}); "
                        "start again when it can be"
                    ) from None
                log.warning("artifact store %s: %s; trying again", self, reason)
                time.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, 5.0)


def open_artifacts(url: str, patience: float) -> Artifacts:
    """The artifact store behind a URL; nothing is asked of it yet, see ``Artifacts.check``.

    Args:
        url: "file:///ABSOLUTE/FOLDER", or "s3://BUCKET/PREFIX" with "?endpoint_url=URL" and
            "&region=NAME" where boto3 does not know them.
        patience: see Artifacts.

    Raises:
        ArtifactError: a bad URL, a folder that is not there, or boto3 is not installed. The
            message shows no password.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ArtifactError(f"the artifact store's URL cannot be read; write {HOW}") from None
    endpoint = options.get("endpoint_url", "")
    if "@" in parts.netloc or "@" in urlsplit(endpoint).netloc:
        raise ArtifactError(
            "the artifact store's URL holds credentials, which others could read; take them out "
            "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if parts.scheme == "file":
        return _folder(url, parts, patience)
    if parts.scheme == "s3":
        return _bucket(url, parts, options, patience)
    raise ArtifactError(f"{url!r} is no artifact store; write {HOW}")


def write_aside(path: Path, content: BinaryIO) -> None:
    """Write a file under another name, sync it, and rename it (OSError if that fails)."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("wb") as file:
            while chunk := content.read(CHUNK):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _folder(url: str, parts: SplitResult, patience: float) -> Artifacts:
    folder = Path(unquote(parts.path))
    if parts.netloc or parts.query or parts.fragment or not folder.is_absolute():
        raise ArtifactError(f"{url!r} is no folder's URL; write file:///ABSOLUTE/FOLDER")
    try:
        there = folder.is_dir()
    except OSError as error:
        raise ArtifactError(f"{url}: cannot be used ({error.strerror}); fix that") from None
    if not there:
        raise ArtifactError(f"{url}: the folder {folder} does not exist; mount it, or make it")
    failures = Failures(
        (OSError,),
        lambda error: isinstance(error, OSError) and error.errno not in LASTING_ERRNOS,
        lambda error: (isinstance(error, OSError) and error.strerror) or str(error),
    )
    return Artifacts(url, FolderStore(folder), "", failures, patience)


def _bucket(url: str, parts: SplitResult, options: dict[str, str], patience: float) -> Artifacts:
    unknown = sorted(options.keys() - {"endpoint_url", "region"})
    if not parts.netloc or parts.fragment or unknown:
        what = f"does not know {unknown[0]}" if unknown else "is no bucket's URL"
        raise ArtifactError(
            f"{url!r} {what}; write s3://BUCKET/PREFIX?endpoint_url=URL&region=NAME"
        )
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ArtifactError(
            f'{url}: S3 needs boto3; install it with pip install "tuneoff[s3]"'
        ) from None
    from optuna.artifacts import Boto3ArtifactStore

    config = Config(
        connect_timeout=10,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 2},
        # Not every S3-compatible store knows the newer checksums; objects have a digest of ours.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        client = boto3.Session().client(
            "s3",
            endpoint_url=options.get("endpoint_url"),
            region_name=options.get("region"),
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise ArtifactError(f"{url}: cannot be used ({_first_line(error)}); fix the URL") from None
    prefix = unquote(parts.path).strip("/")
    return Artifacts(
        url,
        # Our bytes need not outlive the upload, and must be read as they are sent.
        Boto3ArtifactStore(parts.netloc, client, avoid_buf_copy=True),
        prefix and f"{prefix}/",
        Failures((BotoCoreError, ClientError), _s3_passing, _s3_reason),
        patience,
    )


def _s3_passing(error: Exception) -> bool:
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        return status >= 500 or status in (408, 429) or _s3_code(error) in PASSING_CODES
    return isinstance(
        error,
        exceptions.ConnectionError
        | exceptions.HTTPClientError
        | exceptions.IncompleteReadError
        | exceptions.CredentialRetrievalError,
    )


def _s3_code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _s3_reason(error: Exception) -> str:
    from botocore import exceptions

    code = _s3_code(error)
    if code == "NoSuchBucket":
        return "there is no such bucket; make it, or fix the URL"
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
    if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return f"{code}; check the credentials, which must let us get, put, delete and list"
    message = getattr(error, "response", {}).get("Error", {}).get("Message")
    return f"{code}: {message}" if message else _first_line(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
