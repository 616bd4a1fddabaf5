"""Studies listed and watched; a study's name left out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from tuneoff.search.cli.launching import _StudyTerminal
from tuneoff.search.cli.main import main
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.studies import list_studies
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import add_trial


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database of its own without studies, which commands use."""
    url = f"sqlite:///{tmp_path / 'own.db'}"
    monkeypatch.setenv("TUNEOFF_STORAGE", url)
    database = open_database(url, create=True)
    yield database
    database.close()


@pytest.fixture
def tuneoff(command_line: Callable[..., tuple[int, str]]) -> Callable[..., tuple[int, str]]:
    """Runs a command line in this process: its exit code, and all that it said."""
    return command_line


Run = Callable[..., tuple[int, str]]


def begin(study: Study, me: Worker, epochs: int) -> attempts.Attempt:
    """A trial that a worker is at."""
    trial = add_trial(study, study.arms[0], TrialState.RUNNING, NewTrial({"lr": 0.1}, 3))
    attempt = attempts.insert(study.database, me, study.arms[0].name, trial.number, 0, 0, 3)
    attempts.progress(study.database, attempt, epochs, 0.5)
    return attempt


class TestNameLeftOut:
    """With one study it is that one; with several, they are named."""

    def test_no_study(self, empty: Database, tuneoff: Run) -> None:
        assert tuneoff("status") == (
            2, f"Error: {empty} has no studies yet; run `tuneoff create`\n",
        )  # fmt: skip

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("words", "answer"),
        [
            ("status", "random"),
            ("stop", "workers leave after their trials"),
            ("export", "has no finished trial yet"),
            ("compare", "Validation"),
            ("report -o OUT --no-publish", "report.html"),
            ("try --lr 0.1", "waiting: "),
            ("worker --device cuda:77", "cuda:77"),
            ("promote", "no [promote] section"),
            ("predict OUT", "no [ensemble] section"),
            ("launch --on slurm --time 9", "serves the workers of one machine only"),
        ],
    )
    def test_one_study(
        self,
        words: str,
        answer: str,
        empty: Database,
        make_study: Callable[..., Study],
        tuneoff: Run,
        tmp_path: Path,
    ) -> None:
        hand = {"configs": [{"lr": 0.2}]}
        make_study(empty, arms={"hand": hand, "random": {"sampler": "random"}})
        (tmp_path / "out").mkdir()
        _, said = tuneoff(*words.replace("OUT", str(tmp_path / "out")).split())
        assert answer in said

    @pytest.mark.parametrize("command", ["worker", "train", "predict"])
    def test_a_misspelt_device(self, command: str, tuneoff: Run) -> None:
        code, said = tuneoff(command, "small", "--device", "gpu")
        assert code == 2
        assert "'gpu' is no device; write auto, cpu, cuda, or cuda:1" in said

    def test_several_studies(
        self, empty: Database, make_study: Callable[..., Study], tuneoff: Run
    ) -> None:
        names = [make_study(empty).name for _ in range(2)]
        line = f"Error: {empty} has several studies; name one of {', '.join(names)}\n"
        assert tuneoff("status") == (2, line)
        assert tuneoff("predict", ".") == (2, line)

    def test_nothing_but_the_command(self, empty: Database, tuneoff: Run) -> None:
        code, said = tuneoff("predict")
        assert (code, said) == (
            2, "Error: Missing argument 'IMAGES'. (see `tuneoff predict --help`)\n",
        )  # fmt: skip


class TestList:
    """``tuneoff list``."""

    @pytest.mark.slow
    def test_states(
        self, empty: Database, make_study: Callable[..., Study], me: Worker, tuneoff: Run
    ) -> None:
        new, busy, left, stopped = (make_study(empty) for _ in range(4))
        begin(busy, me, 2)
        attempts.close(empty, begin(left, me, 1), "released")
        stopped.drain(True)
        assert [(line.name, line.state, line.spent) for line in list_studies(empty)] == [
            (new.name, "not begun", 0),
            (busy.name, "1 at work", 2),
            (left.name, "nobody is at work", 1),
            (stopped.name, "stopped", 0),
        ]
        code, said = tuneoff("list")
        assert code == 0
        assert all(name in said for name in (new.name, "1 at work", "2 / 9"))
        code, said = tuneoff("list", "--json")
        assert [line["budget"] for line in json.loads(said)] == [9] * 4

    def test_no_studies(self, empty: Database, tuneoff: Run) -> None:
        assert tuneoff("list") == (0, f"{empty} has no studies yet; `tuneoff create` makes one.\n")

    def test_one_that_cannot_be_read_hides_none(
        self, empty: Database, make_study: Callable[..., Study], tuneoff: Run
    ) -> None:
        good, bad = make_study(empty), make_study(empty)
        with empty.engine.begin() as connection:
            connection.execute(
                sa.text("update tuneoff_studies set spec = '{}' where name = :name"),
                {"name": bad.name},
            )
        lines = list_studies(empty)
        assert [line.name for line in lines] == [good.name, bad.name]
        assert lines[1].state.startswith(f"stored study {bad.name}: ")


class TestStatus:
    """What a user sees who may only look, and one who watches while the database goes away."""

    def test_a_trial_whose_worker_is_gone_is_not_called_running(
        self, empty: Database, make_study: Callable[..., Study], me: Worker, tuneoff: Run
    ) -> None:
        attempts.close(empty, begin(make_study(empty), me, 1), "released")
        code, said = tuneoff("status")
        assert code == 0
        assert "1 interrupted" in said
        assert "running" not in said
        assert "No worker has a trial. One that starts takes up to a minute" in said

    def test_a_user_who_may_only_read_sees_it(
        self,
        empty: Database,
        make_study: Callable[..., Study],
        doomed: Worker,
        tuneoff: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        study = make_study(empty)
        begin(study, doomed, 1)
        refused = sqlite3.OperationalError("attempt to write a readonly database")

        def lock(self: Database, name: str) -> Any:
            raise sa.exc.OperationalError("BEGIN", {}, refused)

        monkeypatch.setattr(Database, "lock", lock)
        code, said = tuneoff("status")
        assert code == 0
        assert f"could not be ended: {refused}" in said
        assert "random" in said
        assert tuneoff("stop") == (0, f"{study.name}: workers leave after their trials.\n")

    def test_a_database_that_fails_is_one_line(
        self,
        empty: Database,
        make_study: Callable[..., Study],
        tuneoff: Run,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        make_study(empty)

        def drain(study: Study, on: bool) -> None:
            raise sa.exc.OperationalError("U", {}, Exception("database or disk is full"))

        monkeypatch.setattr(Study, "drain", drain)
        line = "Error: the database could not be used: database or disk is full\n"
        assert tuneoff("stop") == (1, line)


def test_to_launch_says_that_it_takes_stop_back(
    sqlite_database: Database, make_study: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(sqlite_database)
    _StudyTerminal(study).begin()
    assert capsys.readouterr().out == ""
    study.drain(True)
    _StudyTerminal(study).begin()
    assert not study.is_draining()
    assert "was stopped by `tuneoff stop`. This takes it back" in capsys.readouterr().out


@pytest.mark.parametrize("drained", [False, True])
def test_a_launch_ends_with_a_line_that_says_why(
    drained: bool,
    sqlite_database: Database,
    make_study: Callable[..., Study],
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Gone:
        """Workers that have left already."""

        def __enter__(self) -> Gone:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def poll(self) -> bool:
            return False

        def news(self) -> list[str]:
            return []

        def drain(self) -> None:
            pass

    study = make_study(sqlite_database)
    study.drain(drained)
    assert _StudyTerminal(study).follow(Gone()) == 0
    stopped = "Stopped by `tuneoff stop`. The same command goes on from here.\n"
    done = f"{study.name}: the workers are done.\n"
    assert capsys.readouterr().out.splitlines(True)[-1] == (stopped if drained else done)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_the_output_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as file:
        monkeypatch.setattr("sys.stdout", file)
        with pytest.raises(SystemExit) as ended:
            main(["--help"])
    assert ended.value.code == 1
    assert capsys.readouterr().err == (
        "Error: No space left on device; free some space, or choose another folder\n"
    )
