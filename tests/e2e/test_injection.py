"""Hostile names, notes, files and pages, and the dashboard, in a real browser."""

from __future__ import annotations

import json
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import optuna
import optuna_dashboard
import pytest
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from tuneoff.search.store.database import open_database

NAME = "nasty<script>document.title='owned'</script>"
ATTACK = "fetch(`/api/studies/1`,{method:`DELETE`});document.title=`owned`"
NOTE = f"""# A note

<script>{ATTACK}</script>
<img src=x onerror="{ATTACK}">
<iframe srcdoc="<script>{ATTACK}</script>"></iframe>
<svg onload="{ATTACK}"></svg>

[click](javascript:{ATTACK}) ![beacon](BEACON/from-a-note)
"""


@dataclass
class Attacker:
    """A web server of somebody else, and what was asked of it."""

    url: str = ""
    page: bytes = b""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    """An attacker's server, on another port of this machine."""
    found = Attacker()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(found.page)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield found
        server.shutdown()


@dataclass
class Site:
    """A dashboard of one study, whose id is 1, with a trial that waits and one that is complete."""

    url: str
    port: int
    artifact: str
    storage: str

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
        """Code and body of an answer."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers)
        try:
            with opener.open(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def studies(self) -> list[str]:
        """The names of the studies that are left."""
        found = json.loads(self.ask("/api/studies")[1])["study_summaries"]
        return [study["study_name"] for study in found]

    def skipped(self) -> list[int]:
        """The numbers of the study's trials that somebody has skipped."""
        numbers: list[int] = json.loads(self.ask("/api/studies/1")[1])["skipped_trial_numbers"]
        return numbers


@pytest.fixture
def site(
    make_tuneoff: Callable[..., Any], tmp_path: Path, attacker: Attacker, until: Callable[..., Any]
) -> Iterator[Site]:
    """A dashboard of a study whose every text is hostile."""
    storage = f"sqlite:///{tmp_path}/own.db"
    tuneoff = make_tuneoff(storage)
    database = open_database(storage, create=True)
    study = optuna.create_study(study_name=NAME, storage=database.optuna)
    trial = study.ask({NAME: optuna.distributions.FloatDistribution(0, 1)})
    trial.set_user_attr(NAME, NAME)
    study.tell(trial, 0.5)
    study.enqueue_trial({NAME: 0.5})
    optuna_dashboard.save_note(study, NOTE.replace("BEACON", attacker.url))
    store = tmp_path / "store"
    store.mkdir()
    html = tmp_path / "harmless.html"
    html.write_text(f"<title>mine</title><script>{ATTACK}</script>")
    artifact = upload_artifact(
        artifact_store=FileSystemArtifactStore(store),
        file_path=str(html),
        study_or_trial=study,
        mimetype="text/html",
    )
    database.close()
    (tuneoff.work / "artifacts").parent.mkdir(parents=True, exist_ok=True)
    store.rename(tuneoff.work / "artifacts")
    port = free_port()
    server = tuneoff.start("dashboard", "--port", port)
    found = Site(f"http://127.0.0.1:{port}", port, artifact, storage)

    def is_up() -> bool:
        try:
            return found.ask("/api/meta")[0] == 200
        except OSError:
            return server.process.poll() is not None

    until(is_up, "the dashboard")
    yield found
    server.signal(signal.SIGINT)
    server.wait(30)


def free_port() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return server.server_port


def test_hostile_names_notes_and_files_run_nothing(
    site: Site, attacker: Attacker, dump_dom: Callable[..., str], tmp_path: Path
) -> None:
    budget = "--virtual-time-budget=10000"
    dom = dump_dom(f"{site.url}/dashboard/studies/1/note", tmp_path / "profile", budget)
    assert "A note" in dom
    assert "&lt;script&gt;" in dom
    assert "<title>owned" not in dom
    dom = dump_dom(f"{site.url}/dashboard/studies/1", tmp_path / "profile", budget)
    assert "main-svg" in dom  # figures are drawn under the page's policy, too
    dom = dump_dom(f"{site.url}/artifacts/1/{site.artifact}", tmp_path / "profile", budget)
    assert "owned" not in dom.replace(ATTACK, "")
    assert site.studies() == [NAME]
    assert attacker.asked == []


def test_pages_of_others_read_and_change_nothing(
    site: Site, attacker: Attacker, dump_dom: Callable[..., str], tmp_path: Path
) -> None:
    # Of the requests that a foreign page may send without asking first, the one that is obeyed:
    # where people compare trials, it takes one out.
    database = open_database(site.storage)
    database.optuna.set_study_system_attr(1, "preference:is_preferential", True)
    database.close()
    trial = json.loads(site.ask("/api/studies/1")[1])["trials"][1]["trial_id"]
    skip = f"{site.url}/api/studies/1/{trial}/skip"
    attacker.page = f"""<title>waiting</title>
        <form id="form" method="post" action="{skip}" target="frame"></form>
        <iframe name="frame"></iframe><iframe src="{site.url}/dashboard/"></iframe>
        <script>
        document.getElementById("form").submit();
        fetch("{skip}", {{method: "POST", mode: "no-cors"}}).finally(
            () => fetch("{site.url}/api/studies").then(
                () => {{ document.title = "has read it"; }},
                () => {{ document.title = "tried it"; }}));
        </script>""".encode()
    dom = dump_dom(attacker.url, tmp_path / "profile", "--virtual-time-budget=10000")
    assert "<title>tried it</title>" in dom
    assert site.skipped() == []
    # DNS rebinding: the attacker's name has our address.
    rebound = f"http://evil.example:{site.port}/api/studies"
    rules = "--host-resolver-rules=MAP evil.example 127.0.0.1"
    dom = dump_dom(rebound, tmp_path / "profile", rules)
    assert "403: this dashboard does not serve that host" in dom
    assert NAME.partition("<")[0] not in dom
    # What they were kept from is there, and the page's own requests may do it.
    assert site.ask(f"/api/studies/1/{trial}/skip", "POST", Origin=site.url)[0] == 204
    assert site.skipped() == [1]
