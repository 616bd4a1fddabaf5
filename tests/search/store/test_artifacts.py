"""Artifact stores, a folder and a bucket on a real HTTP server: both must do the same."""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tuneoff.retry import Patience
from tuneoff.search.errors import ArtifactError, ArtifactOutage, LeaseLost
from tuneoff.search.store.artifacts import Artifacts, open_artifacts
from tuneoff.search.store.artifacts.framing import CHUNK, DamagedError, framed, unframed
from tuneoff.trainer.errors import CheckpointError

KEY = "study-1/bayes/0/00003/1/checkpoint"
LARGE = 20 * 2**20  # bytes; S3 takes it in parts
SECRET = "hunter2"


@dataclass(frozen=True)
class Place:
    """A store and what stands behind it."""

    artifacts: Artifacts
    contents: Callable[[], list[str]]
    go_away: Callable[[], None]
    come_back: Callable[[], None]


@pytest.fixture
def folder(folder_url: str) -> Place:
    path = Path(unquote(urlsplit(folder_url).path))
    away = path.with_name("away")

    def keys() -> list[str]:
        return sorted(p.relative_to(path).as_posix() for p in path.rglob("*"))

    def found() -> list[str]:
        return [
            key for key in keys() if not (path / key).is_dir() or not any((path / key).iterdir())
        ]

    def go_away() -> None:
        path.rename(away)

    def come_back() -> None:
        away.rename(path)

    return Place(open_artifacts(folder_url, Patience(30)), found, go_away, come_back)


@pytest.fixture
def bucket(bucket_url: str, s3_server: Any) -> Place:
    name = urlsplit(bucket_url).netloc

    def keys() -> list[str]:
        found = s3_server.client().list_objects_v2(Bucket=name).get("Contents", [])
        return [entry["Key"].removeprefix("some/prefix/") for entry in found]

    return Place(open_artifacts(bucket_url, Patience(30)), keys, s3_server.stop, s3_server.start)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest) -> Place:
    found: Place = request.getfixturevalue(request.param)
    return found


def raw(store: Artifacts, key: str, change: Callable[[bytes], bytes]) -> None:
    """Change an object's bytes behind our own back."""
    with store.store.open_reader(store.prefix + key) as reader:
        content = reader.read()
    store.store.write(store.prefix + key, io.BytesIO(change(content)))


def put(
    store: Artifacts, path: Path, content: bytes, tick: Callable[[], bool] = lambda: False
) -> None:
    """Store a file of this content under KEY."""
    path.write_bytes(content)
    store.put(KEY, path, tick)


@pytest.mark.slow
@pytest.mark.parametrize("size", [0, 1, 1000, LARGE])
def test_what_is_put_is_got(place: Place, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    put(place.artifacts, tmp_path / "000003-00000000.ckpt", content)
    assert place.contents() == [KEY]
    path = place.artifacts.get(KEY, tmp_path / "a" / "b")
    assert path == tmp_path / "a" / "b" / "000003-00000000.ckpt"
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    place.artifacts.put_bytes(KEY, "000004-00000000.ckpt", b"later")
    later = place.artifacts.get(KEY, tmp_path / "a" / "b")
    assert later is not None
    assert (later.name, later.read_bytes()) == ("000004-00000000.ckpt", b"later")
    place.artifacts.remove([KEY])
    assert place.contents() == []


def test_what_is_not_there(place: Place, tmp_path: Path) -> None:
    assert place.artifacts.get(KEY, tmp_path / "a") is None
    assert not place.artifacts.has(KEY)
    assert not (tmp_path / "a").exists()
    place.artifacts.remove([KEY, "another"])
    place.artifacts.put_bytes(KEY, "x", b"")
    assert place.artifacts.has(KEY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda content: content[:-1], "its digest does not fit"),
        (lambda content: content[:100], "its digest does not fit"),
        (lambda content: content[:30], "not an artifact of ours"),
        (lambda content: b"", "not an artifact of ours"),
        (lambda content: content[:-1] + b"!", "its digest does not fit"),
        (lambda content: content.replace(b" x\n", b" ../x\n"), "not an artifact of ours"),
        (lambda content: b"PK\x03\x04" + content, "not an artifact of ours"),
    ],
    ids=["cut", "cut short", "cut in its header", "empty", "changed", "outside", "foreign"],
)
def test_a_damaged_object_is_passed_over(
    place: Place, tmp_path: Path, caplog: Any, change: Callable[[bytes], bytes], why: str
) -> None:
    place.artifacts.put_bytes(KEY, "x", b"0123456789" * 100)
    raw(place.artifacts, KEY, change)
    with caplog.at_level(logging.WARNING):
        assert place.artifacts.get(KEY, tmp_path / "a") is None
    assert why in caplog.text
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_a_file_that_is_there_is_not_read_again_but_a_damaged_one_is(
    place: Place, tmp_path: Path
) -> None:
    content = os.urandom(LARGE)
    place.artifacts.put_bytes(KEY, "x", content)
    file = tmp_path / "x"
    file.write_bytes(content[:-1])
    assert place.artifacts.get(KEY, tmp_path) == file
    assert file.read_bytes() == content
    # Had it been read to its end, it would have been found damaged.
    raw(place.artifacts, KEY, lambda stored: stored[:-1])
    assert place.artifacts.get(KEY, tmp_path) == file
    assert file.read_bytes() == content


def test_a_folder_that_cannot_be_written(place: Place, tmp_path: Path) -> None:
    place.artifacts.put_bytes(KEY, "x", b"1")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"x cannot be fetched into .*; fix that"):
        place.artifacts.get(KEY, tmp_path / "file")


@pytest.mark.slow
def test_an_outage_is_waited_for(place: Place, tmp_path: Path, wait_for: Any) -> None:
    store = replace(place.artifacts, patience=Patience(90))
    store.put_bytes(KEY, "x", b"old")
    for action in (
        lambda tick: store.put_bytes(KEY, "x", b"new", tick),
        lambda tick: store.get(KEY, tmp_path, tick),
        lambda tick: store.has(KEY, tick),
    ):
        tries: list[None] = []
        place.go_away()
        thread = threading.Thread(target=action, args=(lambda t=tries: bool(t.append(None)),))
        thread.start()
        wait_for(lambda t=tries: len(t) > 2)
        assert thread.is_alive()
        place.come_back()
        thread.join(90)
        assert not thread.is_alive()
    assert (tmp_path / "x").read_bytes() == b"new"


@pytest.mark.slow
def test_an_outage_that_lasts(place: Place, tmp_path: Path) -> None:
    place.go_away()
    short = replace(place.artifacts, patience=Patience(0.5))
    try:
        for action in (
            lambda: short.put_bytes(KEY, "x", b"1"),
            lambda: short.get(KEY, tmp_path),
            lambda: short.has(KEY),
            short.check,
        ):
            with pytest.raises(ArtifactOutage, match=r"could not be reached for .*; start again"):
                action()
        # Who was asked to leave does not wait.
        with pytest.raises(ArtifactOutage):
            place.artifacts.put_bytes(KEY, "x", b"1", lambda: True)
        place.artifacts.remove([KEY])  # what cannot be removed stays
    finally:
        place.come_back()
    place.artifacts.check()


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, LARGE])
def test_who_lost_the_lease_stores_nothing(place: Place, tmp_path: Path, size: int) -> None:
    place.artifacts.put_bytes(KEY, "x", b"old")
    hashing = -(-size // CHUNK)
    for last in (0, hashing, hashing + 1):
        calls = iter(range(100))

        def tick(calls: Any = calls, last: int = last) -> bool:
            if next(calls) == last:
                raise LeaseLost("taken over")
            return False

        with pytest.raises(LeaseLost, match="taken over"):
            put(place.artifacts, tmp_path / "x", os.urandom(size), tick)
    assert place.contents() == [KEY]
    raw(place.artifacts, KEY, lambda content: content if content.endswith(b" x\nold") else b"")
    assert place.artifacts.has(KEY)


@pytest.mark.slow
@pytest.mark.parametrize("old", [True, False])
def test_a_writer_that_is_killed_leaves_the_old_object_or_none(
    place: Place, tmp_path: Path, old: bool
) -> None:
    if old:
        place.artifacts.put_bytes(KEY, "x", b"old")
    file = tmp_path / "x"
    file.write_bytes(b"new!" * (LARGE // 4))
    program = f"""
import os, signal
from pathlib import Path
from tuneoff.retry import Patience
from tuneoff.search.store.artifacts import open_artifacts
calls = iter(range(100))
def tick():
    if next(calls) == {LARGE // CHUNK + 5}:  # the file is hashed first
        os.kill(os.getpid(), signal.SIGKILL)
    return False
open_artifacts({place.artifacts.url!r}, Patience(30)).put({KEY!r}, Path({str(file)!r}), tick)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    path = place.artifacts.get(KEY, tmp_path / "a")
    assert (path and path.read_bytes()) == (b"old" if old else None)
    place.artifacts.remove([KEY])
    assert place.contents() == []


@pytest.mark.slow
def test_a_file_that_cannot_be_read(place: Place, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"x cannot be read \(No such file or directory\)"):
        place.artifacts.put(KEY, tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"cannot be read \(Is a directory\); fix that"):
        place.artifacts.put(KEY, tmp_path)
    assert place.contents() == []


@pytest.mark.slow
def test_no_transfer_holds_a_file_in_memory_whole(folder: Place, tmp_path: Path) -> None:
    put(folder.artifacts, tmp_path / "x", os.urandom(LARGE))
    transfers: list[Callable[[], object]] = [
        lambda: folder.artifacts.put(KEY, tmp_path / "x"),
        lambda: folder.artifacts.get(KEY, tmp_path / "elsewhere"),
    ]
    for transfer in transfers:
        tracemalloc.start()
        transfer()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < LARGE / 3
    assert (tmp_path / "elsewhere" / "x").read_bytes() == (tmp_path / "x").read_bytes()


def test_what_is_sent_can_be_sent_again_from_anywhere() -> None:
    content, ticks = os.urandom(3 * CHUNK + 7), []
    open_stream = framed("x", io.BytesIO(content), lambda: ticks.append(1))
    assert len(ticks) == 4
    open_stream().close()
    stream = open_stream()
    whole = stream.read()
    assert whole.endswith(b" x\n" + content)
    assert stream.tell() == stream.seek(0, io.SEEK_END) == len(whole)
    for at, size in ((0, 10), (0, 5 * CHUNK), (70, 2 * CHUNK), (CHUNK, 1), (len(whole), 5)):
        assert stream.seek(at) == at
        assert stream.read(size) == whole[at : at + size]
        assert stream.tell() == min(at + size, len(whole))
    assert b"".join(unframed(io.BytesIO(whole))[1]) == content
    with pytest.raises(DamagedError, match="digest"):
        list(unframed(io.BytesIO(whole[:-1]))[1])


@pytest.mark.slow
def test_writers_at_once(place: Place, tmp_path: Path) -> None:
    contents = [bytes([i]) * 2**20 for i in range(4)]
    threads = [
        threading.Thread(target=place.artifacts.put_bytes, args=(KEY, "x", content))
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    path = place.artifacts.get(KEY, tmp_path)
    assert path is not None
    assert path.read_bytes() in contents
    assert place.contents() == [KEY]


def test_the_check_leaves_nothing(place: Place) -> None:
    place.artifacts.check()
    assert place.contents() == []


def test_a_full_disk_is_not_waited_for(
    folder: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match=r"cannot be used \(No space left on device\)"):
        folder.artifacts.put_bytes(KEY, "x", b"1")
    with pytest.raises(ArtifactError, match="No space left"):
        folder.artifacts.check()
    monkeypatch.undo()
    assert [key for key in folder.contents() if key.endswith("part")] == []


@pytest.mark.slow
def test_a_bucket_that_is_gone_is_not_an_object_that_is_not_there(
    bucket: Place, bucket_url: str, s3_server: Any, tmp_path: Path
) -> None:
    s3_server.client().delete_bucket(Bucket=urlsplit(bucket_url).netloc)
    store = bucket.artifacts
    actions: list[Callable[[], Any]] = [
        lambda: store.put_bytes(KEY, "x", b"1"),
        lambda: store.put_bytes(KEY, "x", b"1" * LARGE),
        lambda: store.get(KEY, tmp_path),
        lambda: store.has(KEY),
        store.check,
    ]
    for action in actions:
        with pytest.raises(ArtifactError, match="there is no such bucket; make it"):
            action()


@pytest.mark.slow
def test_refused_credentials(bucket: Place, s3_server: Any, s3_environment: dict[str, str]) -> None:
    import requests

    url = f"{s3_server.endpoint}/moto-api/reset-auth"
    requests.post(url, data=b"0", timeout=30)
    try:
        with pytest.raises(ArtifactError, match="check the credentials") as caught:
            bucket.artifacts.check()
    finally:
        requests.post(url, data=b"inf", timeout=30)
    assert s3_environment["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    bucket.artifacts.check()


@pytest.mark.slow
def test_no_credentials(bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(ArtifactError, match="no credentials; set AWS_ACCESS_KEY_ID"):
        open_artifacts(bucket_url, Patience(30)).check()


def test_without_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ArtifactError, match=r'pip install -c \S+ -e "\.\[s3\]"'):
        open_artifacts("s3://bucket", Patience(30))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "is no artifact store; write file:///"),
        ("/shared/folder", "is no artifact store; write file:///"),
        ("bucket", "is no artifact store"),
        ("gs://bucket/prefix", "is no artifact store"),
        ("file://shared/folder", "is no folder's URL"),
        ("file:", "is no folder's URL"),
        ("file:///nowhere/at/all", "/nowhere/at/all does not exist; mount it, or make it"),
        ("file:///tmp?x=1", "is no folder's URL"),
        ("s3://", "is no bucket's URL"),
        ("s3:///prefix", "is no bucket's URL"),
        ("s3://bucket/?endpoint=http://127.0.0.1", "does not know endpoint"),
        ("s3://bucket/?endpoint_url", "cannot be read"),
        ("s3://bucket/?endpoint_url=127.0.0.1:1", "fix the URL"),
        ("s3://[bucket", "cannot be read"),
        (f"s3://me:{SECRET}@bucket/prefix", "holds credentials"),
        (f"s3://bucket?endpoint_url=http://me:{SECRET}@host", "holds credentials"),
    ],
)
def test_a_bad_url_gets_one_line_without_secrets(
    url: str, message: str, s3_environment: Any
) -> None:
    with pytest.raises(ArtifactError) as caught:
        open_artifacts(url, Patience(0))
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_endpoint_where_nothing_listens(s3_environment: Any) -> None:
    store = open_artifacts("s3://bucket?endpoint_url=http://127.0.0.1:1", Patience(0))
    with pytest.raises(ArtifactOutage, match="Could not connect"):
        store.check()
