"""An artifact store in memory, and what every artifact store must do."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import BinaryIO, Protocol

from optuna.artifacts.exceptions import ArtifactNotFound

CHUNK = 2**20


class Store(Protocol):
    """Optuna's ``ArtifactStore``: objects by key, written whole and read whole."""

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The object's bytes (ArtifactNotFound if it is not there)."""

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an object, in the place of one that was there."""

    def remove(self, artifact_id: str) -> None:
        """Remove an object."""


class MemoryStore:
    """An artifact store that can be made to fail.

    Attributes:
        objects: bytes by key.
        failures: errors to raise, one for each of the next calls; an empty list for none.
    """

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.failures: list[Exception] = []

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The object's bytes (ArtifactNotFound if it is not there)."""
        self._fail()
        if artifact_id not in self.objects:
            raise ArtifactNotFound(f"there is no {artifact_id}")
        return io.BytesIO(self.objects[artifact_id])

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store an object."""
        self._fail()
        content = b"".join(iter(lambda: content_body.read(CHUNK), b""))
        self.objects[artifact_id] = content

    def remove(self, artifact_id: str) -> None:
        """Remove an object; it may not be there."""
        self._fail()
        self.objects.pop(artifact_id, None)

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


class StoreConformance:
    """What tuneoff relies on in an artifact store."""

    def make_store(self, tmp_path: Path) -> Store:
        """An empty store; called once in each test."""
        raise NotImplementedError

    def test_an_object_is_read_back(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.write("some/key", io.BytesIO(b"content"))
        assert _read(store, "some/key") == b"content"

    def test_an_empty_object_is_an_object(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.write("key", io.BytesIO(b""))
        assert _read(store, "key") == b""

    def test_a_large_object_is_read_back(self, tmp_path: Path) -> None:
        store, content = self.make_store(tmp_path), bytes(range(256)) * 2**14
        store.write("key", io.BytesIO(content))
        assert _read(store, "key") == content

    def test_writing_again_replaces(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for content in (b"a longer first content", b"second"):
            store.write("key", io.BytesIO(content))
        assert _read(store, "key") == b"second"

    def test_what_is_not_there_is_not_found(self, tmp_path: Path) -> None:
        assert _is_missing(self.make_store(tmp_path), "no/such/key")

    def test_a_removed_object_is_gone_and_others_stay(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        for key in ("folder/one", "folder/other"):
            store.write(key, io.BytesIO(key.encode()))
        store.remove("folder/one")
        assert _is_missing(store, "folder/one")
        assert _read(store, "folder/other") == b"folder/other"

    def test_a_source_that_breaks_off_leaves_no_half_object(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.write("key", io.BytesIO(b"whole"))
        try:
            store.write("key", _Breaking())
        except OSError:
            pass
        else:
            raise AssertionError("the source's error was swallowed")
        assert _read(store, "key") == b"whole"

    def test_a_reader_meets_whole_objects_only(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        contents = [bytes([n]) * 100_000 for n in range(20)]
        store.write("key", io.BytesIO(contents[0]))
        writer = threading.Thread(target=lambda: _write_all(store, contents))
        writer.start()
        while writer.is_alive():
            assert _read(store, "key") in contents
        writer.join()
        assert _read(store, "key") == contents[-1]


class _Breaking(io.BytesIO):
    """Gives some bytes and then fails, as a file on a disk that goes away."""

    def __init__(self) -> None:
        super().__init__(b"half of ")
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > 1:
            raise OSError("the source is gone")
        return super().read(4)


def _write_all(store: Store, contents: list[bytes]) -> None:
    for content in contents:
        store.write("key", io.BytesIO(content))


def _read(store: Store, key: str) -> bytes:
    with store.open_reader(key) as reader:
        return reader.read()


def _is_missing(store: Store, key: str) -> bool:
    try:
        store.open_reader(key).close()
    except ArtifactNotFound:
        return True
    return False
