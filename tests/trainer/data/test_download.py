"""Fetching one file from a real server on this machine, which misbehaves on request."""

from __future__ import annotations

import hashlib
import multiprocessing
import re
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tuneoff.retry import Patience
from tuneoff.testing.clock import FakeClock
from tuneoff.trainer.data import download
from tuneoff.trainer.errors import DataError

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
TRIES = 4  # that bring nothing new, by the patience of ``fetch``


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every path, with ranges.

    Attributes:
        content: what is served.
        cuts: after how many bytes of the body to break off, one for each answer; then never.
        ranges: whether Range is heeded.
        statuses: an error to answer with, one for each request; then 200 or 206.
        asked: the Range header of each request, "" without one.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.cuts: list[int] = []
        self.ranges = True
        self.statuses: list[int] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/tiny.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range", "")
        server.asked.append(wanted)
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        start = int(re.findall(r"\d+", wanted)[0]) if wanted and server.ranges else 0
        whole = len(server.content)
        if start >= whole:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(whole - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()
        end = start + server.cuts.pop(0) if server.cuts else whole
        self.wfile.write(server.content[start:end])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


Fetch = Callable[..., Path]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "tiny.zip"


@pytest.fixture
def fetch(server: Server, path: Path) -> Fetch:
    clock = FakeClock()
    patience = Patience(
        7.0, first_pause=1.0, clock=clock, sleep=clock.sleep, jitter=lambda: 1.0
    )  # after 1, 2 and 4 seconds
    return lambda **more: download.fetch(
        server.url, path, MD5, **{"patience": patience, "timeout": 60, **more}
    )


def part(path: Path) -> Path:
    return path.with_name("tiny.zip.part")


def leave(path: Path, content: bytes) -> None:
    """What a call that was killed leaves."""
    path.parent.mkdir(parents=True)
    part(path).write_bytes(content)


def test_a_file_is_fetched_once(server: Server, fetch: Fetch, path: Path) -> None:
    seen: list[tuple[int, int]] = []
    assert fetch(progress=lambda done, total: seen.append((done, total))) == path
    assert path.read_bytes() == CONTENT
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert not part(path).exists()
    fetch()
    assert server.asked == [""]


def test_a_broken_transfer_goes_on_where_it_was(server: Server, fetch: Fetch, path: Path) -> None:
    server.cuts = [300_000, 5, 400_000]
    fetch()
    assert path.read_bytes() == CONTENT
    assert server.asked == ["", "bytes=300000-", "bytes=300005-", "bytes=700005-"]


def test_another_call_goes_on_too(server: Server, fetch: Fetch, path: Path) -> None:
    server.cuts = [1000, 0, 0, 0, 0]
    kept = r"the connection ended after 1,000 of 1,024,000 bytes; the same command goes on from 1,0"
    with pytest.raises(DataError, match=kept):
        fetch()
    assert not path.exists()
    fetch()
    assert path.read_bytes() == CONTENT
    assert server.asked[-1] == "bytes=1000-"


def test_a_server_that_ignores_ranges(server: Server, fetch: Fetch, path: Path) -> None:
    leave(path, b"of another time" * 100)
    server.ranges = False
    server.cuts = [2000]
    fetch()
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=1500-", "bytes=2000-"]


def test_a_server_that_ignores_ranges_and_always_breaks_off(
    server: Server, fetch: Fetch, path: Path
) -> None:
    server.ranges = False
    server.cuts = [2000] * 20
    with pytest.raises(DataError, match=r"ended after 2,000 of 1,024,000 bytes"):
        fetch()
    assert len(server.asked) == TRIES


def test_what_was_left_of_another_file_is_given_up(
    server: Server, fetch: Fetch, path: Path
) -> None:
    leave(path, b"x" * 500)
    fetch()
    assert path.read_bytes() == CONTENT
    assert server.asked == ["bytes=500-", ""]


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more"], ids=["whole", "too long"])
def test_what_was_left_is_as_long_as_the_file(
    server: Server, fetch: Fetch, path: Path, left: bytes
) -> None:
    leave(path, left)
    fetch()
    assert path.read_bytes() == CONTENT


def test_wrong_bytes_are_not_kept(server: Server, fetch: Fetch, path: Path) -> None:
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(
        DataError, match=rf"its MD5 is \w{{32}} and not {MD5}; it was rem"
    ) as caught:
        fetch()
    assert "\n" not in str(caught.value)
    assert [file.name for file in path.parent.iterdir() if file.suffix != ".lock"] == []


def test_a_page_that_is_not_there_is_not_tried_again(
    server: Server, fetch: Fetch, path: Path
) -> None:
    server.statuses = [404]
    fix = rf"{server.url} cannot be fetched \(the server answers 404 .*another machine.* at {path}"
    with pytest.raises(DataError, match=fix):
        fetch()
    assert server.asked == [""]


def test_a_busy_server_is_tried_again(server: Server, fetch: Fetch, path: Path) -> None:
    server.statuses = [503, 429]
    fetch()
    assert path.read_bytes() == CONTENT


def test_a_server_that_stays_busy(server: Server, fetch: Fetch) -> None:
    server.statuses = [503] * 9
    with pytest.raises(DataError, match="the server answers 503"):
        fetch()
    assert len(server.asked) == TRIES


def test_no_network(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/tiny.zip"
        with pytest.raises(DataError, match=rf"refused\); fetch it on another machine .* {path}"):
            download.fetch(url, path, MD5, patience=Patience(3600.0, first_pause=3600.0))


def test_a_folder_that_cannot_be_made(fetch: Fetch, path: Path) -> None:
    path.parent.write_text("in the way")
    with pytest.raises(DataError, match=r"tiny\.zip cannot be written \(.*\); free some space"):
        fetch()


def _fetch_in_child(url: str, path: str) -> None:
    download.fetch(url, Path(path), MD5)


@pytest.mark.slow
def test_several_processes_fetch_once(server: Server, path: Path) -> None:
    context = multiprocessing.get_context("fork")
    children = [
        context.Process(target=_fetch_in_child, args=(server.url, str(path))) for _ in range(4)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(90)
    assert [child.exitcode for child in children] == [0] * 4
    assert path.read_bytes() == CONTENT
    assert server.asked == [""]
