"""Claims: never the same trial twice, never more than the budget, nothing left behind."""

from __future__ import annotations

import multiprocessing
import threading
import time
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import filelock
import pytest
from optuna.trial import TrialState

from tuneoff.search.errors import LeaseLost
from tuneoff.search.policies.base import NewTrial, ResumeTrial
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.attributes import FAILURE
from tuneoff.search.store.database import open_database
from tuneoff.search.store.locks import Locks
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.state import SearchState, read_state
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import add_trial
from tuneoff.search.work.claim import Claim, Nothing, claim
from tuneoff.search.work.outcome import end_stale_attempts


def own(found: Claim | Nothing) -> Claim:
    assert isinstance(found, Claim)
    return found


def end(study: Study, claimed: Claim, kind: Any, epochs: int = 0, reason: Any = None) -> None:
    """What a worker writes who trained this many epochs and then ended so."""
    for epoch in range(1, epochs + 1):
        attempts.progress(study.database, claimed.attempt, epoch, float(epoch))
        reached = claimed.attempt.from_epoch + epoch
        claimed.trial.report(reached, 1 / (1 + reached))
    if kind == "finished":
        claimed.trial.tell(TrialState.COMPLETE, 0.5)
    attempts.close(study.database, claimed.attempt, kind, reason)


def enqueue(study: Study, search: Search, lr: float) -> None:
    add_trial(study, search, TrialState.WAITING, NewTrial({"lr": lr}, 3))


@dataclass(frozen=True)
class Scripted:
    """Answers with these jobs, one for each trial that there is."""

    jobs: tuple[Any, ...]
    stops: bool = False

    def next(self, history: Any) -> Any:
        done = len(history.trials)
        return self.jobs[done] if done < len(self.jobs) else None

    def after(self, history: Any, trial: Any) -> Any:
        raise AssertionError


@pytest.mark.slow
def test_a_claim_is_a_new_trial_and_its_first_attempt(
    database: Any, make_study: Any, me: Worker
) -> None:
    study = make_study(database)
    found = own(claim(study, study.arms[0], me))
    assert found.before is None
    assert (found.trial.number, found.trial.stored.state) == (0, TrialState.RUNNING)
    attempt = found.attempt
    assert (attempt.trial, attempt.number, attempt.from_epoch, attempt.until_epoch) == (0, 0, 0, 3)
    assert attempt.worker == me.name
    now = read_state(study, study.arms[0])
    assert [t.number for t in now.live] == [0]
    assert (now.spent, now.reserved) == (0, 3)


@pytest.mark.slow
def test_the_budget_counts_what_is_spent_and_what_is_promised(
    database: Any, make_study: Any, me: Worker
) -> None:
    study = make_study(database)
    search = study.arms[0]
    claims = [own(claim(study, search, me)) for _ in range(3)]
    assert [found.trial.number for found in claims] == [0, 1, 2]
    assert claim(study, search, me) is Nothing.WAIT
    # A run that stops early frees what it had promised.
    end(study, claims[0], "finished", 1)
    assert claim(study, search, me) is Nothing.WAIT  # two epochs: too few for a run
    end(study, claims[1], "finished", 2)
    fourth = own(claim(study, search, me))
    assert fourth.trial.number == 3
    end(study, claims[2], "finished", 3)
    end(study, fourth, "finished", 3)
    assert claim(study, search, me) is Nothing.DONE
    assert read_state(study, search).spent == 9


def _claim_all(url: str, name: str, work: Path, me: Worker, barrier: Any, results: Any) -> None:
    database = open_database(url)
    study = open_study(database, name, work)
    (search,) = study.arms
    barrier.wait()
    mine = []
    while (found := claim(study, search, me)) is not Nothing.DONE:
        if isinstance(found, Claim):
            mine.append((found.trial.number, found.attempt.number))
            end(study, found, "finished", 1)
        else:
            time.sleep(0.1)
    database.close()
    results.put(mine)


@pytest.mark.slow
def test_what_is_settled_is_read_once_and_counted_for_ever(
    database: Any, make_study: Any, me: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(database)
    (search,) = study.arms[:1]
    asked: list[set[int]] = []
    read = attempts.read

    def watched(database: Any, searches: Any, trials: Any = None) -> Any:
        asked.append(set(trials or ()))
        return read(database, searches, trials)

    def look() -> None:
        trials, rows = study.trials(search), read(study.database, [search.name])
        full, quick = SearchState.of(trials, rows), read_state(study, search)
        for name in ("spent", "reserved", "live", "paused", "orphans", "waiting"):
            assert getattr(quick, name) == getattr(full, name), name

    monkeypatch.setattr(attempts, "read", watched)
    one, two = own(claim(study, search, me)), own(claim(study, search, me))
    end(study, one, "finished", epochs=3)
    look()
    look()
    assert one.trial.number not in asked[-1]
    assert two.trial.number in asked[-1]
    # Told, but not closed: its worker may still be there.
    two.trial.tell(TrialState.COMPLETE, 0.4)
    look()
    look()
    assert two.trial.number in asked[-1]
    attempts.close(study.database, two.attempt, "finished")
    look()
    look()
    assert asked[-1] == set()
    assert read_state(study, search).spent == 3


@pytest.mark.slow
def test_a_trial_that_was_told_after_it_was_read_is_no_orphan(
    database: Any, make_study: Any, me: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(database)
    (search,) = study.arms[:1]
    mine = own(claim(study, search, me))
    before = study.trials(search)
    end(study, mine, "finished", epochs=3)
    monkeypatch.setattr(Study, "trials", lambda *_: before)
    now = read_state(study, search)
    assert (now.live, now.paused, now.orphans, now.spent) == ((), (), (), 3)


@pytest.mark.slow
def test_sixteen_processes_claim_a_budget_exactly(
    database: Any, make_study: Any, me: Worker, tmp_path: Path
) -> None:
    study = make_study(database, trial={"epochs": 1}, budget={"epochs": 20})
    for lr in (0.1, 0.2, 0.3):
        enqueue(study, study.arms[0], lr)
    url = database.url.render_as_string(hide_password=False)
    database.close()  # its connections must not be shared with the children
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(16), context.Queue()
    arguments = (url, study.name, study.work, me, barrier, results)
    workers = [context.Process(target=_claim_all, args=arguments) for _ in range(16)]
    for worker in workers:
        worker.start()
    claimed = [pair for _ in workers for pair in results.get(timeout=120)]
    for worker in workers:
        worker.join(30)
    results.close()
    assert sorted(claimed) == [(number, 0) for number in range(20)]
    now = read_state(study, study.arms[0])
    assert (now.spent, now.reserved, len(now.trials)) == (20, 0, 20)


@pytest.mark.slow
def test_claims_at_once_get_different_trials(
    database: Any, make_study: Any, me: Worker, reopen: Any
) -> None:
    study = make_study(database, budget={"epochs": 60})
    for _ in range(4):
        enqueue(study, study.arms[0], 0.1)
    barrier = threading.Barrier(6)
    found: list[Claim] = []

    def run(mine: Study) -> None:
        barrier.wait()
        found.append(own(claim(mine, mine.arms[0], me)))
        mine.database.optuna.remove_session()

    threads = [
        threading.Thread(target=run, args=[replace(study, database=reopen(database))])
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(c.trial.number for c in found) == list(range(6))


@pytest.mark.slow
def test_what_waits_comes_first_and_once(database: Any, make_study: Any, me: Worker) -> None:
    study = make_study(database)
    search = study.arms[0]
    enqueue(study, search, 0.25)
    first = own(claim(study, search, me))
    assert first.trial.stored.params == {"lr": 0.25}
    assert study.trials(search)[0].state == TrialState.RUNNING
    assert study.trials(search)[0].datetime_start is not None
    assert own(claim(study, search, me)).trial.number == 1


@pytest.mark.slow
def test_what_waits_must_be_paid_for_too(database: Any, make_study: Any, me: Worker) -> None:
    study = make_study(database, budget={"epochs": 5})
    search = study.arms[0]
    first = own(claim(study, search, me))
    enqueue(study, search, 0.25)
    assert claim(study, search, me) is Nothing.WAIT
    end(study, first, "finished", 3)
    assert claim(study, search, me) is Nothing.DONE
    # Nothing waits for ever: the budget does not grow.
    (_, told) = study.trials(search)
    assert told.state == TrialState.FAIL
    assert FAILURE.of(told) == (
        "it was never started: it takes 3 epochs, and 2 of the budget are left"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["released", "lost", "failed"])
def test_an_orphan_is_taken_over_where_it_was(
    database: Any, make_study: Any, me: Worker, kind: str
) -> None:
    study = make_study(database)
    search = study.arms[0]
    first = own(claim(study, search, me))
    end(study, first, kind, 2, "because")
    second = own(claim(study, search, me))
    assert second.trial.number == 0
    assert second.trial.stored.intermediate_values == {1: 1 / 2, 2: 1 / 3}
    attempt = second.attempt
    assert (attempt.number, attempt.from_epoch, attempt.until_epoch) == (1, 2, 3)
    assert second.before is not None
    assert (second.before.number, second.before.end) == (0, kind)


@pytest.mark.slow
def test_silence_is_loss_after_the_grace_period(
    age: Any, database: Any, make_study: Any, me: Worker
) -> None:
    study = make_study(database, budget={"epochs": 3}, workers={"grace_seconds": 60.0})
    search = study.arms[0]
    first = own(claim(study, search, me))
    age(study.database, first.attempt, 50)
    assert claim(study, search, me) is Nothing.WAIT
    age(study.database, first.attempt, 20)
    second = own(claim(study, search, me))
    assert (second.trial.number, second.attempt.number) == (0, 1)
    row = attempts.read(database, [search.name])[0]
    assert (row.end, row.reason) == ("lost", f"no sign of life from {me.name}")
    with pytest.raises(LeaseLost):
        attempts.touch(database, first.attempt)


@pytest.mark.slow
def test_the_dead_are_succeeded_at_once(
    database: Any, make_study: Any, me: Worker, doomed: Worker
) -> None:
    study = make_study(database, budget={"epochs": 3})
    own(claim(study, study.arms[0], doomed))
    assert own(claim(study, study.arms[0], me)).attempt.number == 1


@pytest.mark.slow
def test_one_of_many_takes_over(database: Any, make_study: Any, me: Any, doomed: Any) -> None:
    study = make_study(database, budget={"epochs": 6})
    search = study.arms[0]
    own(claim(study, search, doomed))
    found = [claim(study, search, me) for _ in range(3)]
    numbers = [(c.trial.number, c.attempt.number) for c in found if isinstance(c, Claim)]
    assert numbers == [(0, 1), (1, 0)]
    assert found[2] is Nothing.WAIT


@pytest.mark.slow
def test_too_many_losses_fail_a_trial_with_the_reason(
    database: Any, make_study: Any, me: Worker, doomed: Worker
) -> None:
    study = make_study(database, workers={"max_attempts": 2})
    search = study.arms[0]
    end(study, own(claim(study, search, me)), "released")  # does not count
    end(study, own(claim(study, search, me)), "failed", reason="ValueError: odd")
    own(claim(study, search, doomed))
    found = own(claim(study, search, me))
    assert found.trial.number == 1
    given_up = study.trials(search)[0]
    assert given_up.state == TrialState.FAIL
    assert FAILURE.of(given_up) == ("2 attempts failed; the last: no sign of life from doomed")
    assert read_state(study, search).reserved == 3


@pytest.mark.slow
def test_an_open_attempt_at_a_finished_trial_is_closed_as_finished(
    database: Any, make_study: Any, me: Worker, doomed: Worker
) -> None:
    study = make_study(database)
    search = study.arms[0]
    found = own(claim(study, search, doomed))
    attempts.progress(database, found.attempt, 3, 3.0)
    found.trial.tell(TrialState.COMPLETE, 0.25)
    assert read_state(study, search).reserved == 0
    assert [a.token for a in end_stale_attempts(study, search)] == [found.attempt.token]
    row = attempts.read(database, [search.name])[0]
    assert (row.end, row.reason, row.epochs) == ("finished", None, 3)
    assert end_stale_attempts(study, search) == []


@pytest.mark.slow
@pytest.mark.parametrize("gone_after", ["trial", "waiting"])
def test_a_trial_without_an_attempt_is_taken_over(
    database: Any,
    make_study: Any,
    me: Worker,
    gone_after: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(database)
    search = replace(study.arms[0], make_policy=lambda: Scripted((NewTrial({"lr": 0.5}, 2),)))
    if gone_after == "waiting":
        enqueue(study, search, 0.5)

    def die(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "insert", die)
        with pytest.raises(KeyboardInterrupt):
            claim(study, search, me)
    found = own(claim(study, search, me))
    assert (found.trial.number, found.attempt.number) == (0, 0)
    # As far as the job said; what waited is run in full.
    assert found.attempt.until_epoch == (2 if gone_after == "trial" else 3)


@pytest.mark.slow
def test_paused_trials_are_resumed_or_told_in_the_end(
    database: Any, make_study: Any, me: Worker
) -> None:
    study = make_study(database)
    jobs = (NewTrial({"lr": 0.5}, 1), NewTrial({"lr": 0.1}, 2), ResumeTrial(0, 3))
    search = replace(study.arms[0], make_policy=lambda: Scripted(jobs))
    end(study, own(claim(study, search, me)), "paused", 1)
    end(study, own(claim(study, search, me)), "paused", 2)
    now = read_state(study, search)
    assert [t.number for t in now.paused] == [0, 1]
    assert (now.spent, now.reserved) == (3, 0)
    third = own(claim(study, search, me))
    assert (third.trial.number, third.attempt.number) == (0, 1)
    assert (third.attempt.from_epoch, third.attempt.until_epoch, third.attempt.reserved) == (
        1,
        3,
        2,
    )
    search = replace(search, make_policy=lambda: Scripted(()))
    assert claim(study, search, me) is Nothing.WAIT
    end(study, third, "finished", 2)
    assert claim(study, search, me) is Nothing.DONE
    resumed, left = study.trials(search)
    assert (resumed.state, resumed.value) == (TrialState.COMPLETE, 0.5)
    assert (left.state, left.value) == (TrialState.PRUNED, 1 / 3)


@pytest.mark.slow
def test_a_resumption_costs_only_what_is_still_to_come(
    database: Any, make_study: Any, me: Worker
) -> None:
    study = make_study(database, trial={"epochs": 3}, budget={"epochs": 3})
    search = replace(
        study.arms[0],
        make_policy=lambda: Scripted((NewTrial({"lr": 0.5}, 2), ResumeTrial(0, 3))),
    )
    end(study, own(claim(study, search, me)), "paused", 2)
    assert own(claim(study, search, me)).attempt.reserved == 1


@pytest.mark.slow
def test_a_job_that_the_budget_cannot_pay_is_not_started(
    database: Any, make_study: Any, me: Worker
) -> None:
    study = make_study(database, budget={"epochs": 4})
    search = replace(
        study.arms[0],
        make_policy=lambda: Scripted((NewTrial({"lr": 0.5}, 3), NewTrial({"lr": 0.5}, 2))),
    )
    end(study, own(claim(study, search, me)), "finished", 3)
    assert claim(study, search, me) is Nothing.DONE
    assert len(study.trials(search)) == 1


@pytest.mark.slow
def test_a_trial_is_told_once(database: Any, make_study: Any, me: Worker) -> None:
    study = make_study(database)
    search = study.arms[0]
    found = own(claim(study, search, me))
    found.trial.tell(TrialState.COMPLETE, 0.25)
    found.trial.tell(TrialState.PRUNED)
    found.trial.fail("too late")
    told = study.trials(search)[0]
    assert (told.state, told.value, told.user_attrs) == (TrialState.COMPLETE, 0.25, {})


@pytest.mark.slow
def test_promoted_trials_know_no_budget(database: Any, make_study: Any, me: Worker) -> None:
    study = make_study(database, promote={"epochs": 1000})
    for lr in (0.1, 0.2):
        enqueue(study, study.full, lr)
    found = [own(claim(study, study.full, me)) for _ in range(2)]
    assert [c.trial.stored.params["lr"] for c in found] == [0.1, 0.2]
    assert claim(study, study.full, me) is Nothing.WAIT
    for one in found:
        end(study, one, "finished", 3)
    assert claim(study, study.full, me) is Nothing.DONE


def test_a_proposal_outside_of_the_space_is_refused(
    sqlite_database: Any, make_study: Any, me: Worker
) -> None:
    study = make_study(sqlite_database)
    search = replace(study.arms[0], make_policy=lambda: Scripted((NewTrial({"lr": 7.0}, 3),)))
    with pytest.raises(ValueError, match="lies outside the space"):
        claim(study, search, me)
    assert study.trials(search) == ()


class TestAsksWithoutTheLock:
    """The policy is asked while others may claim, and its answer counts only if none did."""

    @dataclass
    class Meddling:
        """Proposes the rate 1 / (trials + 2), and does something before it answers.

        Attributes:
            meddle: called with the number of the question, from 1.
        """

        meddle: Any
        stops: bool = False
        asked: int = 0

        def next(self, history: Any) -> Any:
            self.asked += 1
            self.meddle(self.asked)
            if history.remaining < history.horizon:
                return None
            return NewTrial({"lr": 1 / (2 + len(history.trials))}, history.horizon)

        def after(self, history: Any, trial: Any) -> Any:
            raise AssertionError

    @pytest.mark.slow
    def test_a_slow_policy_holds_up_no_other_search(
        self, sqlite_database: Any, make_study: Any, me: Worker, reopen: Any
    ) -> None:
        arms = {"slow": {"sampler": "random"}, "quick": {"sampler": "random"}}
        study = make_study(sqlite_database, arms=arms)
        asking, answer = threading.Event(), threading.Event()

        def think(_: int) -> None:
            asking.set()
            assert answer.wait(60)

        mine = replace(study, database=reopen(sqlite_database))
        slow = replace(mine.arms[0], make_policy=lambda: self.Meddling(think))
        found: list[Any] = []

        def run() -> None:
            found.append(claim(mine, slow, me))
            mine.database.optuna.remove_session()

        thread = threading.Thread(target=run)
        thread.start()
        assert asking.wait(60)
        own(claim(study, study.arms[1], me))
        assert found == []
        answer.set()
        thread.join(60)
        assert own(found[0]).trial.number == 0

    @pytest.mark.slow
    @pytest.mark.parametrize("trials", [1, 2])
    def test_two_that_ask_at_once_start_different_trials_within_the_budget(
        self, database: Any, make_study: Any, me: Worker, reopen: Any, trials: int
    ) -> None:
        study = make_study(database, budget={"epochs": 3 * trials})
        both = threading.Barrier(2)

        def meet(question: int) -> None:
            if question == 1:
                both.wait(60)

        found: list[Any] = []

        def run(mine: Study) -> None:
            found.append(
                claim(mine, replace(mine.arms[0], make_policy=lambda: self.Meddling(meet)), me)
            )
            mine.database.optuna.remove_session()

        threads = [
            threading.Thread(target=run, args=[replace(study, database=reopen(database))])
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        claims = [c for c in found if isinstance(c, Claim)]
        assert sorted(c.trial.number for c in claims) == list(range(trials))
        assert [c for c in found if not isinstance(c, Claim)] == [Nothing.WAIT] * (2 - trials)
        # Each proposal was made from a history that had all trials before it.
        rates = [trial.params["lr"] for trial in study.trials(study.arms[0])]
        assert rates == [1 / 2, 1 / 3][:trials]
        now = read_state(study, study.arms[0])
        assert (now.spent, now.reserved) == (0, 3 * trials)

    @pytest.mark.slow
    def test_a_paused_trial_is_resumed_by_one_of_two(
        self, database: Any, make_study: Any, me: Worker, reopen: Any
    ) -> None:
        study = make_study(database, budget={"epochs": 60})
        first = replace(study.arms[0], make_policy=lambda: Scripted((NewTrial({"lr": 0.5}, 1),)))
        end(study, own(claim(study, first, me)), "paused", 1)
        both = threading.Barrier(2)

        @dataclass
        class Resume:
            stops: bool = False
            asked: int = 0

            def next(self, history: Any) -> Any:
                self.asked += 1
                if self.asked == 1:
                    both.wait(60)
                return ResumeTrial(0, 3) if history.paused else NewTrial({"lr": 0.1}, 3)

            def after(self, history: Any, trial: Any) -> Any:
                raise AssertionError

        found: list[Any] = []

        def run(mine: Study) -> None:
            found.append(own(claim(mine, replace(mine.arms[0], make_policy=Resume), me)))
            mine.database.optuna.remove_session()

        threads = [
            threading.Thread(target=run, args=[replace(study, database=reopen(database))])
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted((c.trial.number, c.attempt.number) for c in found) == [(0, 1), (1, 0)]

    @pytest.mark.slow
    @pytest.mark.parametrize("database", ["postgres"], indirect=True)
    def test_a_policy_may_take_longer_than_the_lock_waits_for_its_holder(
        self, database: Any, make_study: Any, me: Worker, reopen: Any
    ) -> None:
        """Postgres takes a lock from a holder that is silent for so long."""
        mine = reopen(database)
        study = make_study(replace(mine, locks=Locks(mine.engine, frozen_seconds=0.5)))
        policy = self.Meddling(lambda _: time.sleep(1.5))
        assert (
            own(claim(study, replace(study.arms[0], make_policy=lambda: policy), me)).trial.number
            == 0
        )
        assert policy.asked == 1

    def in_between(self, study: Study, me: Worker, until: int) -> Any:
        """Another worker claims a trial during each of so many questions."""
        locked: list[bool] = []

        def meddle(question: int) -> None:
            lock = filelock.FileLock(f"{study.database.url.database}.lock")
            try:
                with lock.acquire(timeout=0):
                    locked.append(False)
            except filelock.Timeout:
                locked.append(True)
            if question <= until:
                own(claim(study, study.arms[0], me))

        return meddle, locked

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("seconds", "others", "where"),
        [
            (0.01, 1, [False, True]),  # asked again at once
            (1.0, 3, [False, False, False, True]),  # in the last of three rounds
            (1.0, 2, [False, False, False]),
            (10.0, 5, [False] * 6),  # it would hold others up for too long
        ],
    )
    def test_a_policy_is_asked_under_the_lock_only_if_it_takes_a_moment(
        self,
        sqlite_database: Any,
        make_study: Any,
        me: Worker,
        seconds: float,
        others: int,
        where: list[bool],
    ) -> None:
        study = make_study(sqlite_database, budget={"epochs": 99})
        meddle, locked = self.in_between(study, me, until=others)
        readings = count()
        search = replace(study.arms[0], make_policy=lambda: self.Meddling(meddle))
        found = own(claim(study, search, me, lambda: next(readings) * seconds))
        assert locked == where
        assert found.trial.number == others
        assert found.trial.stored.params["lr"] == 1 / (2 + others)

    @pytest.mark.slow
    def test_epochs_that_end_meanwhile_make_no_difference(
        self, sqlite_database: Any, make_study: Any, me: Worker
    ) -> None:
        study = make_study(sqlite_database, budget={"epochs": 99})
        other = own(claim(study, study.arms[0], me))

        def train(_: int) -> None:
            attempts.progress(study.database, other.attempt, 1, 1.0)
            other.trial.report(1, 0.5)

        policy = self.Meddling(train)
        assert (
            own(claim(study, replace(study.arms[0], make_policy=lambda: policy), me)).trial.number
            == 1
        )
        assert policy.asked == 1
