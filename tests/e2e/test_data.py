"""`tuneoff data`: what it fetches, and what it says of the images."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = "tiny-imagenet-200"


@pytest.fixture
def fetched(tuneoff: Any) -> Path:
    """Where the official zip file goes."""
    path: Path = tuneoff.work / "data" / "tiny-imagenet-200.zip"
    return path


@pytest.fixture
def with_copies(
    fetched: Path, write_zip: Callable[..., Path], tiny_files: Mapping[str, bytes]
) -> Path:
    """A zip file where it would be after fetching, with a train image that is in test too, under
    another label."""
    copied = tiny_files[f"{ROOT}/train/n01443537/images/n01443537_0.JPEG"]
    made = write_zip({**tiny_files, f"{ROOT}/val/images/val_7.JPEG": copied})
    fetched.parent.mkdir(parents=True)
    return made.rename(fetched)


@pytest.mark.slow
def test_prepare_and_info_take_what_lies_there(tuneoff: Any, with_copies: Path) -> None:
    first = tuneoff("data", "prepare", "tiny-imagenet").text
    assert "tiny-imagenet: 22 train, 2 validation, 8 test images; packed in" in first
    assert "Decoded 32 images in " in first
    assert "images/s) with " in first
    assert "1 groups of identical images: 1 across splits, 1 with conflicting labels" in first
    assert 'duplicates = "drop" in [data]' in first
    assert f'path = "{with_copies}"' in first

    again = tuneoff("data", "prepare", "tiny-imagenet", "--duplicates", "drop").text
    assert "Decoded" not in again
    assert "1 images are left out" in again

    said = tuneoff("data", "info", "tiny-imagenet", "--duplicates", "drop", "--json")
    facts = json.loads("".join(said.out))
    assert facts["duplicates"] == {"groups": 1, "crossing": 1, "conflicting": 1, "dropped": 1}
    assert sum(facts["sizes"].values()) == 31
    assert facts["sizes"]["test"] == 8


@pytest.mark.slow
def test_info_before_anything_is_fetched(tuneoff: Any) -> None:
    said = tuneoff("data", "info", "tiny-imagenet", code=2)
    (line,) = said.err
    assert "`tuneoff data prepare tiny-imagenet` fetches it" in line


class Proxy(BaseHTTPRequestHandler):
    """Answers for every server with something that is not the file."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>log in first</html>")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def wrong_network() -> Iterator[dict[str, str]]:
    """The environment of a network that answers with a page of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        yield {"http_proxy": address, "HTTP_PROXY": address, "no_proxy": ""}
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_the_wrong_bytes_are_refused(
    tuneoff: Any, wrong_network: dict[str, str], fetched: Path
) -> None:
    (line,) = tuneoff("data", "prepare", "tiny-imagenet", code=2, **wrong_network).err
    assert "MD5" in line
    assert f"put it at {fetched}" in line
    assert [path.name for path in fetched.parent.iterdir() if path.suffix != ".lock"] == []


@pytest.mark.slow
def test_without_a_network(tuneoff: Any, fetched: Path) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        proxies = {"http_proxy": address, "HTTP_PROXY": address, "no_proxy": ""}
        said = tuneoff("data", "prepare", "tiny-imagenet", code=2, **proxies)
    (line,) = said.err
    assert said.out == []
    assert "tiny-imagenet-200.zip cannot be fetched" in line
    assert f"fetch it on another machine and put it at {fetched}" in line
