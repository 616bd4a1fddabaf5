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

import optuna
import optuna_dashboard
import pytest
from browser import Browser, find_browser

pytestmark = pytest.mark.slow

GROUPS = sorted(
    [f"digits/{arm}/{repeat}" for arm in ("bayes", "hand", "random") for repeat in range(2)]
    + ["digits/full", "digits/ensemble", "digits"]
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


@pytest.mark.parametrize("command", ["report", "dashboard"])
def test_a_study_that_an_earlier_version_finished(
    command: str, finished: Any, until: Callable[..., Any], inside: Callable[..., Any]
) -> None:
    """It has no copy of its runs yet, but notes in the old place."""
    storage = optuna.storages.RDBStorage(finished.storage)
    optuna.delete_study(study_name="digits", storage=storage)
    full = optuna.load_study(study_name="digits/full", storage=storage)
    optuna_dashboard.save_note(full, "Mine.\n\n## Comparison by tuneoff\n\nOld.")
    names = [s.study_name for s in optuna.get_all_study_summaries(storage)]
    searches = [
        optuna.load_study(study_name=name, storage=storage)
        for name in names
        if name.count("/") == 2
    ]
    runs = sum(len(search.trials) for search in searches)

    def note(name: str) -> str:
        try:
            found = optuna.load_study(study_name=name, storage=storage)
        except KeyError:
            return ""
        body: str = optuna_dashboard.get_note(found)
        return body

    if command == "report":
        inside(finished, "report", "digits", "-o", "out")
    else:
        server = finished.start("dashboard", "--port", free_port())
        until(lambda: "What came of it" in note("digits"), "the note", 120)
        server.signal(signal.SIGINT)
        assert server.wait(30) == 128 + signal.SIGINT
    assert "What came of it" in note("digits")
    assert note("digits/full").startswith("Mine.\n\n## Written by tuneoff\n\n### Full trainings")
    assert "Old" not in note("digits/full")
    copied = optuna.load_study(study_name="digits", storage=storage).trials
    assert len(copied) == runs
    assert {t.user_attrs["arm"] for t in copied} == {"bayes", "hand", "random"}


class TestARunningStudy:
    """A person clicks through the dashboard while the study runs."""

    @pytest.fixture(params=["sqlite", "postgres"])
    def running(
        self,
        request: pytest.FixtureRequest,
        make_tuneoff: Callable[..., Any],
        digits: Callable[..., list[str]],
        until: Callable[..., Any],
    ) -> Iterator[str]:
        """The address of a dashboard of a study that goes on for longer than the test."""
        url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
        tuneoff = make_tuneoff(url)
        study = digits(budget__epochs="3000", promote="{top = 1, seeds = 2, epochs = 3}")
        run = tuneoff.start("run", *study, "--workers", "1")
        port = free_port()
        until(lambda: "epochs: " in run.text or run.process.poll() is not None, "workers", 240)
        site = f"http://127.0.0.1:{port}"
        server = tuneoff.start("dashboard", "--port", port)
        until(lambda: get(site) or server.process.poll() is not None, "the dashboard", 120)
        until(lambda: len(trials_of(site)) >= 4, "runs in the copy", 240)
        yield site
        assert run.process.poll() is None
        for process in (server, run):
            assert "not up to date" not in process.text
            assert "Traceback" not in process.text

    def test_everything_is_found(self, running: str, tmp_path: Path) -> None:
        if find_browser() is None:
            pytest.skip("no browser here")
        with Browser(tmp_path / "profile") as browser:
            tab = browser.open(f"{running}/dashboard")
            first = "document.querySelector('a[href*=\"/studies/\"]')"
            tab.wait_for(first)
            assert tab.evaluate(f"{first}.innerText").split()[1] == "digits"
            where = tab.evaluate(f"{first}.href")
            tab.evaluate(f"{first}.click()")

            # History, importance, timeline, and our figures
            for graph in ("plot-history", "user-defined-plot:tuneoff-anytime"):
                tab.wait_for(drawn(graph))
            for words in ("Hyperparameter Importance", "Timeline", "Intermediate values"):
                tab.wait_for(f"document.body?.innerText.includes({words!r})")
            tab.wait_for("document.body?.innerText.includes('weight_decay')")

            # Parallel coordinates are drawn by the graphics card, or what stands for it
            tab.go(f"{where}/smartSelection")
            tab.wait_for("document.querySelector('#plot-parallel-coordinate canvas')")
            assert "WebGL is not supported" not in tab.evaluate("document.body.innerText")

            tab.go(f"{where}/note")
            tab.wait_for("document.body?.innerText.includes('Where it stands')")
            # Between two runs nobody is at work: the page asks for news
            tab.wait_for("document.body?.innerText.includes('1 worker at work')", 180)

            # From the note to a search behind it, and back
            behind = "[...document.querySelectorAll('a')].find(a => a.innerText === '1')"
            tab.evaluate(f"{behind}.click()")
            tab.wait_for("document.body?.innerText.includes('digits/bayes/1')")
            tab.go(f"{tab.evaluate('location.href').rstrip('/')}/note")
            tab.wait_for("document.body?.innerText.includes('Arm bayes, repeat 1')")

            # A run, with what is known of it, and its log
            tab.go(f"{where}/trials")
            tab.wait_for("document.body?.innerText.includes('User Attributes')")
            said = tab.evaluate("document.body.innerText")
            for words in ("arm bayes", "repeat 0", "trial 0", "device cpu", "attempts "):
                assert words in said
            link = "document.querySelector('a[href*=\"/artifacts/\"]')?.href"
            tab.wait_for(link)
            log = (get(tab.evaluate(link)) or b"").decode()
            assert log.startswith("digits/bayes/0#0: ")
            assert "epoch    1: validation error " in log
            assert not [problem for problem in tab.problems if "WebGL" not in problem]


def drawn(graph: str) -> str:
    """In JavaScript: a figure of this id has lines or dots."""
    return f"document.getElementById({graph!r})?.querySelector('.point, .js-line')"


def trials_of(site: str) -> list[Any]:
    """The trials of the copy; none while it is not there."""
    studies = json.loads(get(f"{site}/api/studies") or b"{}").get("study_summaries", [])
    found = [study["study_id"] for study in studies if study["study_name"] == "digits"]
    if not found:
        return []
    trials: list[Any] = json.loads(get(f"{site}/api/studies/{found[0]}") or b"{}")["trials"]
    return trials


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
        assert re.search(rf"<text[^>]*>{arm}<", dom)
