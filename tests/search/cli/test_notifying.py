"""Messages to a webhook: each event once, signed, bounded, and to nobody else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tuneoff.retry import Patience
from tuneoff.search.cli.launching import _StudyTerminal
from tuneoff.search.cli.notifying import Notifier, webhook_of
from tuneoff.search.errors import SearchError, SpecError, UserError
from tuneoff.search.report.notify.events import claim
from tuneoff.search.report.notify.webhook import SIGNATURE, NotSent, Webhook, signature
from tuneoff.search.results.progress import ArmProgress
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.search.work.worker import work
from tuneoff.testing import FakeClock


@dataclass
class Receiver:
    """A web server that keeps what it gets; ``answers`` are its first codes, then 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((dict(self.headers), body))
            code = found.answers.pop(0) if found.answers else 200
            self.send_response(code)
            if code == 302:
                self.send_header("Location", f"{found.url}/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook/TOKEN"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


def quick(url: str, secret: str | None = None) -> Webhook:
    clock = FakeClock()
    return Webhook(url, secret, Patience(60, 1.0, clock=clock, sleep=clock.sleep))


@dataclass
class Gone:
    """Workers that have left already, or that cannot be kept at work."""

    error: str = ""

    def __enter__(self) -> Gone:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def poll(self) -> bool:
        if self.error:
            raise SearchError(self.error)
        return False

    def news(self) -> list[str]:
        return []

    def drain(self) -> None:
        pass


class TestWebhook:
    def test_a_message_is_signed(self, receiver: Receiver) -> None:
        quick(receiver.url, "s3cret").send({"text": "é"})
        ((headers, body),) = receiver.got
        assert json.loads(body) == {"text": "é"}
        assert headers[SIGNATURE] == signature(body, "s3cret")

    def test_the_signature_is_the_one_that_github_documents(self) -> None:
        assert signature(b"Hello, World!", "It's a Secret to Everybody") == (
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        )

    def test_without_a_secret_there_is_no_signature(self, receiver: Receiver) -> None:
        quick(receiver.url).send({})
        assert SIGNATURE not in receiver.got[0][0]

    def test_it_is_tried_again_while_that_may_help(self, receiver: Receiver) -> None:
        receiver.answers += [503, 429, 500]
        quick(receiver.url).send({"n": 1})
        assert receiver.messages == [{"n": 1}] * 4

    @pytest.mark.parametrize("code", [400, 401, 404, 410, 302])
    def test_a_refusal_is_final_and_a_redirect_is_not_followed(
        self, receiver: Receiver, code: int
    ) -> None:
        receiver.answers += [code]
        with pytest.raises(NotSent, match=f"127.0.0.1: it answered {code}"):
            quick(receiver.url).send({})
        assert len(receiver.got) == 1

    def test_tries_are_bounded_and_the_token_is_not_shown(self, receiver: Receiver) -> None:
        receiver.answers += [503] * 1000
        with pytest.raises(NotSent) as raised:
            quick(receiver.url).send({})
        assert 3 <= len(receiver.got) <= 20
        assert "TOKEN" not in str(raised.value)
        assert "TOKEN" not in repr(quick(receiver.url))

    def test_nobody_there(self) -> None:
        with pytest.raises(NotSent, match=r"127\.0\.0\.1"):
            quick("http://127.0.0.1:9/x").send({})


@pytest.fixture
def study(database: Any, make_study: Any, receiver: Receiver) -> Any:
    arms = {"hand": {"configs": [{"lr": 0.1}]}, "random": {"sampler": "random"}}
    return make_study(database, arms=arms, notify={"url": receiver.url, "stalled_minutes": 5})


@pytest.mark.slow
def test_of_many_supervisors_one_tells(study: Any, reopen: Any) -> None:
    studies = [open_study(reopen(study.database), study.name, study.work) for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(lambda one: claim(one, "decided"), studies))
    assert sum(claimed) == 1
    assert claim(study, "failed")
    assert not claim(study, "failed")


@pytest.mark.slow
def test_a_study_that_has_ended_is_told_once_with_its_answer(
    study: Any, receiver: Receiver, make_trainer: Any, me: Any, never: Any
) -> None:
    work(study, study.arms, make_trainer(), me, never)
    for _ in range(2):
        _StudyTerminal(study).follow(Gone())
    (message,) = receiver.messages
    assert message["schema"] == "tuneoff/notification/1"
    assert (message["event"], message["study"]) == ("decided", study.name)
    assert message["answers"][0]["against"]
    assert "lr" in message["settings"]
    assert message["text"].startswith(f"{study.name}: ")


@pytest.mark.slow
def test_a_search_that_is_not_over_is_not_told(study: Any, receiver: Receiver) -> None:
    _StudyTerminal(study).follow(Gone())
    assert receiver.got == []


@pytest.mark.slow
def test_workers_that_cannot_go_on_are_told(study: Any, receiver: Receiver) -> None:
    for _ in range(2):
        with pytest.raises(SearchError):
            _StudyTerminal(study).follow(Gone("workers die as soon as they start"))
    (message,) = receiver.messages
    assert message["event"] == "failed"
    assert "workers die" in message["text"]


def test_a_stall_is_told_once_and_only_if_there_is_work(study: Any, receiver: Receiver) -> None:
    clock = FakeClock()
    notifier = Notifier(study, webhook_of(study), clock)
    going, done = [ArmProgress("a", 3, 9, None)], [ArmProgress("a", 9, 9, None)]
    for arms in (going, done):
        notifier.progress(arms)
        clock.sleep(299)
        notifier.progress(arms)
    clock.sleep(301)
    notifier.progress(done)
    assert receiver.got == []
    notifier.progress(going)
    for _ in range(3):
        clock.sleep(301)
        notifier.progress(going)
    notifier.close()
    (message,) = receiver.messages
    assert message["event"] == "stalled"
    assert "no epoch was trained for 5 minutes" in message["text"]


def test_only_what_was_asked_for_is_told(
    sqlite_database: Any, make_study: Any, receiver: Receiver
) -> None:
    study = make_study(sqlite_database, notify={"url": receiver.url, "on": ["failed"]})
    Notifier(study, webhook_of(study)).ended()
    assert receiver.got == []


def test_a_message_that_is_not_delivered_hurts_nobody(
    study: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    notifier = Notifier(study, quick("http://127.0.0.1:9/TOKEN"))
    notifier.failed("why")
    notifier.close()
    said = capsys.readouterr().err
    assert said.startswith(f"the message about {study.name} was not delivered: 127.0.0.1")
    assert "TOKEN" not in said
    assert len(said.splitlines()) == 1


class TestSettings:
    def test_the_environment_goes_before_the_file(
        self, study: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNEOFF_NOTIFY_URL", "https://hooks.example.org/T")
        monkeypatch.setenv("TUNEOFF_NOTIFY_SECRET", "s")
        found = webhook_of(study)
        assert found is not None
        assert (found.host, found.secret) == ("hooks.example.org", "s")

    def test_without_a_url_nobody_is_told(self, sqlite_database: Any, make_study: Any) -> None:
        assert webhook_of(make_study(sqlite_database)) is None

    def test_a_wrong_url_in_the_environment_is_one_line(
        self, study: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TUNEOFF_NOTIFY_URL", "ftp://x/TOKEN")
        with pytest.raises(UserError, match="TUNEOFF_NOTIFY_URL is no address") as raised:
            _StudyTerminal(study)
        assert "TOKEN" not in str(raised.value)

    @pytest.mark.parametrize(
        ("notify", "said"),
        [
            ({"url": "ftp://host/x"}, "notify.url.*write https://HOST/PATH"),
            ({"url": "https://"}, "notify.url.*write https://HOST/PATH"),
            ({"url": "https://host:abc/"}, "notify.url.*write https://HOST/PATH"),
            ({"url": "https://ho st/"}, "notify.url.*write https://HOST/PATH"),
            ({"url": "https://me:pw@host/"}, "notify.url.*TUNEOFF_NOTIFY_SECRET"),
            ({"on": ["finished"]}, "notify.on"),
            ({"on": []}, "notify.on"),
            ({"stalled_minutes": 0}, "notify.stalled_minutes"),
            ({"uri": "https://host/"}, "did you mean 'url'"),
        ],
    )
    def test_bad_input_is_one_line(self, spec_values: Any, notify: Any, said: str) -> None:
        with pytest.raises(SpecError, match=said) as raised:
            StudySpec.parse(spec_values(notify=notify), "study.toml")
        assert "\n" not in str(raised.value)
        assert "pw" not in str(raised.value)

    def test_it_may_change_while_the_study_runs(self, study: Any) -> None:
        changed = study.spec.changed(['notify.url="https://other.example.org/"'])
        again = create_study(study.database, changed, study.task, study.work)
        assert again.spec.notify is not None
        assert again.spec.notify.url == "https://other.example.org/"
