"""The copy of all search runs equals them, whatever has happened and whoever publishes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.report.dashboard import mirror as module
from tuneoff.search.report.dashboard.mirror import (
    Mirror,
    NotOurs,
    copy_runs,
    find_mirror,
    look,
    make_mirror,
)
from tuneoff.search.store import attempts, trial_writing
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.store.attributes import COMPARISON, SOURCE
from tuneoff.search.store.database import Database
from tuneoff.search.study.opening import open_repeats
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef, add_trial

SPACE = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "schedule": {"choices": ["plateau", "cosine"]},
}
ARMS: dict[str, Any] = {
    "random": {"sampler": "random"},
    "hand": {"configs": [{"lr": 0.01, "schedule": "plateau", "note": "the paper's <b>"}]},
}


@pytest.fixture
def study(make_study: Callable[..., Study], database: Database) -> Study:
    return make_study(database, arms=ARMS, space=SPACE, repeats=2, budget={"epochs": 60})


def publish(study: Study) -> Mirror:
    """Publish until all of it is there."""
    while True:
        make_mirror(study)
        with study.database.engine.connect() as connection:
            found = find_mirror(connection, study)
        assert found is not None
        if (copied := copy_runs(study, found)) is not None:
            return copied


def start(study: Study, search: Search, worker: Worker, **params: Any) -> tuple[TrialRef, Attempt]:
    """A run that has begun."""
    values = {"lr": 0.1, "schedule": "plateau"} | params
    trial = add_trial(study, search, TrialState.RUNNING, NewTrial(values, 3))
    made = attempts.insert(study.database, worker, search.name, trial.number, 0, 0, 3)
    return trial, made


def copies(study: Study) -> list[FrozenTrial]:
    """The copy's trials as Optuna's own storage reads them, opened anew."""
    url = study.database.url.render_as_string(hide_password=False)
    storage = optuna.storages.RDBStorage(url)
    try:
        found: list[FrozenTrial] = optuna.load_study(
            study_name=study.name, storage=storage
        ).get_trials()
        return found
    finally:
        storage.remove_session()
        storage.engine.dispose()


def check(study: Study) -> None:
    """Every run is copied once, as it stands, and nothing else is there."""
    now = Snapshot.of(study)
    found = {(t.user_attrs["arm"], t.user_attrs["repeat"], t.user_attrs["trial"]): t
             for t in copies(study)}  # fmt: skip
    assert [t.number for t in copies(study)] == list(range(len(found)))
    runs = {(s.arm, s.repeat, t.number): (s, t) for s in study.arms for t in now.trials(s)}
    assert found.keys() == runs.keys()
    for key, (search, trial) in runs.items():
        copied, rows = found[key], now.state(search).attempts.get(trial.number, [])
        assert copied.state == trial.state
        assert copied.value == trial.value
        assert copied.params == trial.params
        assert copied.distributions == trial.distributions
        assert repr(sorted(copied.intermediate_values.items())) == repr(
            sorted(trial.intermediate_values.items())
        )
        assert copied.datetime_start == trial.datetime_start
        assert (copied.datetime_complete is None) == (trial.datetime_complete is None)
        assert copied.user_attrs["attempts"] == len(rows)
        assert copied.user_attrs["epochs"] == sum(row.epochs for row in rows)
        assert copied.user_attrs.get("worker") == (rows[-1].worker if rows else None)


class TestOneRun:
    @pytest.mark.slow
    def test_it_has_what_a_person_looks_for(self, study: Study, me: Worker) -> None:
        trial, attempt = start(study, study.arms[1], me)
        trial.report(1, 0.5)
        attempts.progress(study.database, attempt, 1, 2.5)
        publish(study)
        (copied,) = copies(study)
        assert copied.user_attrs == {
            "arm": "hand", "arm number": 1, "repeat": 0, "trial": 0, "outcome": "running",
            "epochs": 1,
            "seed": "7, 0, 0", "recipe": copied.user_attrs["recipe"], "worker": me.name,
            "device": "cpu", "attempts": 1, "seconds": 2.5,
        }  # fmt: skip
        assert copied.user_attrs["recipe"].endswith("3 epochs, batches of 128")
        (link,) = (v for k, v in copied.system_attrs.items() if k.startswith("artifacts:"))
        assert json.loads(link)["filename"] == f"{study.name}-hand-0-0.log.txt"

    @pytest.mark.slow
    def test_one_that_diverged_is_complete_at_chance(self, study: Study, me: Worker) -> None:
        trial, attempt = start(study, study.arms[0], me)
        attempts.diverged(study.database, attempt, 1)
        trial.tell_diverged(1)
        attempts.close(study.database, attempt, "finished")
        publish(study)
        (copied,) = copies(study)
        assert (copied.state, copied.value) == (TrialState.COMPLETE, 0.9)
        assert copied.user_attrs["outcome"] == "diverged"

    @pytest.mark.slow
    def test_one_that_is_told_and_not_in_the_ledger_runs(self, study: Study, me: Worker) -> None:
        trial, attempt = start(study, study.arms[0], me)
        trial.report(1, 0.5)
        attempts.progress(study.database, attempt, 1, 1.0)
        trial.tell(TrialState.PRUNED)
        publish(study)
        assert copies(study)[0].state == TrialState.RUNNING
        attempts.close(study.database, attempt, "pruned")
        publish(study)
        check(study)
        assert copies(study)[0].state == TrialState.PRUNED

    @pytest.mark.slow
    def test_it_ends_when_its_training_does(self, study: Study, me: Worker) -> None:
        """Not when a paused one is told, at the end of the search."""
        trial, attempt = start(study, study.arms[0], me)
        trial.report(1, 0.5)
        attempts.progress(study.database, attempt, 1, 1.0)
        attempts.close(study.database, attempt, "paused")
        publish(study)
        assert copies(study)[0].user_attrs["outcome"] == "paused"
        paused = datetime.now()
        (row,) = attempts.read(study.database, [study.arms[0].name])
        assert row.ended is not None
        trial.tell(TrialState.PRUNED)
        publish(study)
        (copied,) = copies(study)
        assert copied.datetime_complete is not None
        assert copied.datetime_complete <= paused
        assert copied.user_attrs["outcome"] == "pruned"

    @pytest.mark.slow
    def test_numbers_that_are_none_are_copied(self, study: Study, me: Worker) -> None:
        trial, attempt = start(study, study.arms[0], me)
        trial.report(1, math.nan)
        trial.report(2, math.inf)
        attempts.progress(study.database, attempt, 2, 1.0)
        publish(study)
        check(study)

    @pytest.mark.slow
    def test_why_it_failed_is_said(self, study: Study, me: Worker) -> None:
        trial, attempt = start(study, study.arms[0], me)
        trial.fail("no\x1b room")
        attempts.close(study.database, attempt, "failed", "no room")
        publish(study)
        (copied,) = copies(study)
        assert copied.state == TrialState.FAIL
        assert copied.user_attrs["reason"] == "no\\x1b room"


@pytest.mark.slow
def test_runs_come_in_the_order_in_which_they_began(study: Study, me: Worker) -> None:
    for place in (1, 0, 2, 0, 3):
        start(study, study.arms[place], me)
    publish(study)
    begun = [t.datetime_start for t in copies(study) if t.datetime_start is not None]
    assert len(begun) == 5
    assert begun == sorted(begun)
    check(study)


@pytest.mark.slow
def test_one_that_waits_is_there(study: Study, me: Worker) -> None:
    job = NewTrial({"lr": 0.1, "schedule": "cosine"}, 3)
    add_trial(study, study.arms[0], TrialState.WAITING, job)
    start(study, study.arms[0], me)
    publish(study)
    check(study)
    TrialRef(study, study.arms[0], study.trials(study.arms[0])[0]).start()
    publish(study)
    check(study)


@pytest.mark.slow
def test_repeats_that_are_opened_later_are_copied(study: Study, me: Worker) -> None:
    start(study, study.arms[0], me)
    publish(study)
    study = open_repeats(study, 3)
    start(study, study.arms[-1], me)
    publish(study)
    check(study)


@pytest.mark.slow
def test_one_that_was_deleted_is_made_again(study: Study, me: Worker) -> None:
    start(study, study.arms[0], me)
    publish(study)
    optuna.delete_study(study_name=study.name, storage=study.database.optuna)
    publish(study)
    check(study)


def test_one_of_somebody_else_stays_as_it_is(study: Study, me: Worker) -> None:
    theirs = optuna.create_study(study_name=study.name, storage=study.database.optuna)
    theirs.set_user_attr("mine", 1)
    with pytest.raises(NotOurs, match="is not tuneoff's"):
        publish(study)
    assert theirs.user_attrs == {"mine": 1}
    assert theirs.get_trials() == []


def test_it_is_no_search(study: Study, me: Worker) -> None:
    """A copy changes nothing of what we say of a study."""
    start(study, study.arms[0], me)
    before = {name: state.trials for name, state in Snapshot.of(study).states.items()}
    publish(study)
    assert {name: state.trials for name, state in Snapshot.of(study).states.items()} == before
    assert study.name not in {search.name for search in study.searches}


@pytest.mark.slow
def test_only_what_has_changed_is_written(
    study: Study, me: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, attempt = start(study, study.arms[0], me)
    start(study, study.arms[1], me)
    first = publish(study)
    written: list[int] = []
    replace = trial_writing.replace_trials

    def count(connection: Any, ids: Any, *rest: Any) -> None:
        written.extend(ids)
        replace(connection, ids, *rest)

    monkeypatch.setattr(module, "replace_trials", count)
    assert publish(study) == first
    running.report(1, 0.5)
    attempts.progress(study.database, attempt, 1, 1.0)
    assert publish(study).stored.revision == first.stored.revision + 1
    assert written == [copies(study)[0]._trial_id]
    check(study)


def test_a_look_changes_with_what_is_shown(study: Study, me: Worker) -> None:
    def seen() -> str:
        with study.database.engine.connect() as connection:
            return look(connection, study)

    found = [seen()]
    assert seen() == found[0]
    trial, attempt = start(study, study.arms[0], me)
    found.append(seen())
    attempts.progress(study.database, attempt, 1, 1.0)
    found.append(seen())
    trial.tell(TrialState.FAIL)
    found.append(seen())
    attempts.close(study.database, attempt, "failed")
    found.append(seen())
    assert len(set(found)) == 5


@pytest.mark.slow
def test_however_many_publish_a_run_is_copied_once(
    study: Study, me: Worker, reopen: Callable[[Database], Database]
) -> None:
    databases = [reopen(study.database) for _ in range(4)]
    errors: list[BaseException] = []
    done = threading.Event()

    def run(database: Database) -> None:
        mine = Study(database, study.spec, study.uid, study.task, study.work, study.repeats)
        try:
            while not done.is_set():
                publish(mine)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for n in range(24):
        trial, attempt = start(study, study.arms[n % 4], me)
        trial.report(1, 0.5)
        attempts.progress(study.database, attempt, 1, 1.0)
        if n % 3:
            trial.tell(TrialState.PRUNED)
            attempts.close(study.database, attempt, "pruned")
    done.set()
    for thread in threads:
        thread.join(60)
    assert errors == []
    publish(study)
    check(study)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["start", "wait", "go", "report", "pause", "resume", "prune", "complete",
                         "fail", "diverge", "tell first", "lose", "publish"]),
        st.integers(0, 7),
    ),
    max_size=25,
)  # fmt: skip


class Course:
    """Events of a study, each of which does nothing where it makes no sense."""

    def __init__(self, study: Study, me: Worker) -> None:
        self.study, self.me = study, me
        self.runs: list[list[Any]] = []  # trial, attempt or None

    def do(self, event: str, which: int) -> None:
        if event == "publish":
            publish(self.study)
            return
        if event == "start":
            self.runs.append(list(start(self.study, self.study.arms[which % 4], self.me)))
            return
        if event == "wait":
            job = NewTrial({"lr": 0.1, "schedule": "cosine"}, 3)
            search = self.study.arms[which % 4]
            add_trial(self.study, search, TrialState.WAITING, job)
            return
        if not self.runs:
            return
        trial, attempt = run = self.runs[which % len(self.runs)]
        database = self.study.database
        if trial._read().state.is_finished():
            if attempt is not None:
                attempts.close(database, attempt, "finished")
                run[1] = None
            return
        if event == "resume" and attempt is None:
            rows = attempts.read(database, [trial.search.name], {trial.number})
            run[1] = attempts.insert(
                database, self.me, trial.search.name, trial.number, len(rows), 1, 3
            )
        elif attempt is not None:
            self.owned(event, run)

    def owned(self, event: str, run: list[Any]) -> None:
        trial, attempt = run
        database = self.study.database
        match event:
            case "report":
                epoch = max(trial._read().intermediate_values, default=0) + 1
                attempts.progress(database, attempt, epoch - attempt.from_epoch, 1.5)
                TrialRef(self.study, trial.search, trial._read()).report(epoch, 0.9 / epoch)
            case "pause" | "lose":
                attempts.close(database, attempt, "paused" if event == "pause" else "lost")
                run[1] = None
            case "tell first":
                trial.tell(TrialState.PRUNED)
            case "prune" | "complete" | "fail" | "diverge":
                if event == "prune":
                    trial.tell(TrialState.PRUNED)
                elif event == "complete":
                    trial.tell(TrialState.COMPLETE, 0.25)
                elif event == "fail":
                    trial.fail("it broke")
                else:
                    trial.tell_diverged(1)
                attempts.close(database, attempt, "finished")
                run[1] = None


@pytest.mark.slow
@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(events=EVENTS)
def test_after_any_events_the_copy_equals_the_searches(
    make_study: Callable[..., Study], sqlite_database: Database, me: Worker, events: Any
) -> None:
    study = make_study(sqlite_database, arms=ARMS, space=SPACE, repeats=2)
    course = Course(study, me)
    for event, which in events:
        course.do(event, which)
    publish(study)
    check(study)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few runs take several transactions."""
    monkeypatch.setattr(module, "BATCH", 4)


@pytest.mark.slow
def test_marks(study: Study, me: Worker) -> None:
    publish(study)
    found = optuna.load_study(study_name=study.name, storage=study.database.optuna)
    assert found.user_attrs[COMPARISON.name] == study.uid
    assert found.direction == optuna.study.StudyDirection.MINIMIZE
    assert found.metric_names == ["validation error"]
    start(study, study.arms[0], me)
    publish(study)
    (source,) = (SOURCE.of(t) for t in copies(study))
    assert source.id == study.trials(study.arms[0])[0]._trial_id
