"""The dashboard and the report of a real run, in a real browser."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

GROUPS = sorted(
    [f"digits/{arm}/{repeat}" for arm in ("bayes", "hand", "random") for repeat in range(2)]
    + ["digits/full", "digits/ensemble"]
)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def get(url: str) -> bytes | None:
    """What is served there; None while nobody listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=30) as answer:
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, ConnectionError):
        return None


@pytest.fixture
def site(finished: Any, until: Callable[..., Any]) -> Iterator[str]:
    """The address of a dashboard of the finished study."""
    port = free_port()
    server = finished.start("dashboard", "--port", port)
    url = f"http://127.0.0.1:{port}"
    until(lambda: get(url) or server.process.poll() is not None, "the dashboard")
    yield url
    server.signal(signal.SIGINT)
    assert server.wait(30) == 128 + signal.SIGINT
    assert "Traceback" not in server.text
    assert url in server.text


def test_every_group_is_listed(site: str) -> None:
    assert b"<html" in (get(f"{site}/") or b"").lower()
    studies = json.loads(get(f"{site}/api/studies") or b"{}")["study_summaries"]
    assert sorted(study["study_name"] for study in studies) == GROUPS


def test_the_browser_shows_them(site: str, dump_dom: Callable[..., str], tmp_path: Path) -> None:
    dom = dump_dom(f"{site}/dashboard/", tmp_path / "profile", "--virtual-time-budget=20000")
    for search in GROUPS:
        assert search in dom


def test_a_port_in_use_is_refused(finished: Any, inside: Callable[..., Any]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        said = inside(finished, "dashboard", "--port", port, code=2)
    assert said.out == []
    assert len(said.err) == 1
    assert f"--port {port}" in said.err[0]


def test_the_report_shows_its_figures(
    finished_once: Any, dump_dom: Callable[..., str], tmp_path: Path
) -> None:
    (page,) = finished_once.folder.glob("work/digits-*/report/report.html")
    dom = dump_dom(page.as_uri(), tmp_path / "profile", "--virtual-time-budget=10000")
    figures = re.findall(r'id="figure-([\w-]+)"', dom)
    assert {"anytime-0", "recommendations-0"} <= set(figures)
    for name in figures:
        part = dom[dom.index(f'id="figure-{name}"') :].split('id="figure-')[1]
        assert part.count('class="main-svg"') >= 2
    for arm in ("bayes", "hand", "random"):
        assert re.search(rf'class="legendtext"[^>]*>{arm}<', dom)
