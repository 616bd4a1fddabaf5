"""What a worker does next in a search: take over, start what waits, or ask the policy.

Whatever is written here is written under the search's lock, so that workers that ask at once see
each other's answers, and a budget is never claimed twice. The policy, which may fit a model, is
asked without the lock: on SQLite there is one lock for all searches, and Postgres takes a lock from
a holder that is silent for too long. Its answer counts only if the search, looked at again under
the lock, is still as the policy saw it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import Job, NewTrial
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.store.attributes import UNTIL
from tuneoff.search.study.state import SearchState, history, read_state
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef, add_trial, last_epoch
from tuneoff.search.work.crew import Crew
from tuneoff.search.work.early_stop import note_early_stop
from tuneoff.search.work.outcome import (
    discard_unfinished,
    end_stale_attempts,
    fail_unaffordable,
    give_up,
    prune_unfinished,
)
from tuneoff.search.work.sharing import has_room

INSTANT_SECONDS = 0.05
"""A policy that takes no longer than this is asked again under the lock as soon as it was asked in
vain: that keeps others waiting for less time than another wait for the lock would take."""
QUICK_SECONDS = 5.0
"""A policy that takes no longer than this is asked under the lock in the last of ``ROUNDS``; one
that takes longer never is."""
ROUNDS = 3
"""How often a policy is asked without the lock before it is asked under it."""


@dataclass(frozen=True)
class Claim:
    """A trial that this worker owns now.

    Attributes:
        attempt: the row that says so.
        before: the attempt at the same trial before this one.
    """

    trial: TrialRef
    attempt: Attempt
    before: Attempt | None


class Nothing(Enum):
    """Why there is nothing to claim in a search."""

    WAIT = "others are at work, and may free budget, trials or the search"
    AGAIN = "there are only trials that failed on this worker, and nobody else to try them"
    DONE = "the budget is spent, or the policy has no more"


def claim(
    study: Study,
    search: Search,
    worker: Worker,
    clock: Callable[[], float] = time.monotonic,
    again: bool = True,
) -> Claim | Nothing:
    """Own a trial of this search, or learn why there is none.

    If the database goes away in the middle, a trial may be left that nobody owns, or an attempt at
    which nobody works. The one is taken over at once, the other after the grace period.

    Args:
        clock: tells how many seconds the policy takes.
        again: take what has failed on this worker before, too, if there is nobody else to try it.
            Without it such a trial comes last, so that what comes before shows whose fault it is.

    Raises:
        StorageOutage: the database stayed away for too long.
    """
    step, in_vain, longest = study.ledger.step, 0, 0.0
    while True:
        seen = step(read_state, study, search)
        answer = None
        there = step(_has_trials, study, search, seen, worker, again)
        if not (there or _has_stale_attempts(study, seen)):
            if not step(has_room, study, search, seen, worker):
                return Nothing.WAIT
            started = clock()
            answer = _Answer(_version(search, seen), step(next_job, study, search, seen))
            longest = max(longest, clock() - started)
        # Others may have changed the search meanwhile, so that the policy must be asked again. So
        # that this does not go on for ever, they have to wait in the end, but never for long.
        last = in_vain + 1 >= ROUNDS
        insist = longest <= (QUICK_SECONDS if last else INSTANT_SECONDS)
        found = step(_settle, study, search, worker, answer, insist, again)
        if found is not None:
            return found
        in_vain += answer is not None


@dataclass(frozen=True)
class _Answer:
    """What the policy answered when the search had this version; None if there is no more to do."""

    version: object
    job: Job | None


def _settle(
    study: Study,
    search: Search,
    worker: Worker,
    answer: _Answer | None,
    insist: bool,
    again: bool,
) -> Claim | Nothing | None:
    """Own a trial under the search's lock, or find that there is none.

    Args:
        answer: of the policy; None if it was not asked, because there seemed to be other trials.
        insist: ask it again if the search has changed since.
        again: see ``claim``.

    Returns:
        None if the policy is to be asked, without the lock.
    """
    with study.database.lock(search.name):
        end_stale_attempts(study, search)
        now = read_state(study, search)
        if _give_up_hopeless(study, search, now, worker):
            now = read_state(study, search)
        over = now.is_out_of_time(search.seconds)
        if not over and (found := _take_over(study, search, now, worker, again)) is not None:
            return found
        if not has_room(study, search, now, worker):
            return Nothing.WAIT
        if (found := _start_waiting(study, search, now, worker)) is not None:
            return found
        if insist and answer is not None and answer.version != _version(search, now):
            answer = _Answer(_version(search, now), next_job(study, search, now))
        if answer is None or answer.version != _version(search, now):
            return None
        if answer.job is not None:
            return _start(study, search, now, worker, answer.job)
        if now.orphans and not over:
            mine = next(_open_to(study, now, worker, again=True), None)
            return Nothing.WAIT if mine is None else Nothing.AGAIN
        if now.live:
            return Nothing.WAIT
        note_early_stop(study, search, now)
        fail_unaffordable(study, search, now)
        prune_unfinished(study, search, now)
    discard_unfinished(study, search, now)
    return Nothing.DONE


def next_waiting(study: Study, search: Search, now: SearchState) -> FrozenTrial | None:
    """The first waiting trial that the budget allows."""
    remaining = history(study, search, now).remaining
    for trial in now.waiting:
        if TrialRef(study, search, trial).run.recipe.epochs <= remaining:
            return trial
    return None


def next_job(study: Study, search: Search, now: SearchState) -> Job | None:
    """The policy's answer, if the budget allows it."""
    seen = history(study, search, now)
    job = search.policy.next(seen) if seen.remaining > 0 else None
    if job is None:
        return None
    done = 0 if isinstance(job, NewTrial) else last_epoch(now.trials[job.number])
    return job if job.until_epoch - done <= seen.remaining else None


def _has_trials(
    study: Study, search: Search, seen: SearchState, worker: Worker, again: bool
) -> bool:
    """True if the policy need not be asked."""
    if seen.is_out_of_time(search.seconds):
        return False
    mine = next(_open_to(study, seen, worker, again), None)
    return mine is not None or next_waiting(study, search, seen) is not None


def _open_to(study: Study, now: SearchState, worker: Worker, again: bool) -> Iterator[FrozenTrial]:
    """The trials that nobody owns and that this worker may take over (``again``: see ``claim``)."""
    crew = None
    for trial in now.orphans:
        rows = now.attempts.get(trial.number, [])
        if any(row.end in ("failed", "lost") for row in rows):
            crew = crew or Crew.of(study, worker.name)
            if not crew.may_try(rows, again):
                continue
        yield trial


def _has_stale_attempts(study: Study, seen: SearchState) -> bool:
    grace = study.spec.workers.grace_seconds
    return any(rows[-1].is_stale(grace) for rows in seen.attempts.values())


def _version(search: Search, now: SearchState) -> object:
    """Equal for equal searches, as far as they change under the lock alone.

    That is: which trials there are, which of them are owned, paused or finished, and how much of
    the budget is left. That epochs of runs end meanwhile does not count: they move from what is
    reserved to what is spent, and a policy that was asked under the lock would not see them either.
    """
    unfinished = [trial for trial in now.trials if not trial.state.is_finished()]
    lasts = [(trial, now.last(trial)) for trial in unfinished]
    return (
        len(now.trials),
        now.spent + now.reserved,
        now.is_out_of_time(search.seconds),
        [(trial.number, trial.state, last and (last.number, last.end)) for trial, last in lasts],
    )


def _give_up_hopeless(study: Study, search: Search, now: SearchState, worker: Worker) -> bool:
    """Tell the trials that failed too often FAIL; True if there were any."""
    told, crew = False, None
    for stored in now.orphans:
        rows = now.attempts.get(stored.number, [])
        if sum(row.end in ("failed", "lost") for row in rows) >= study.spec.workers.max_attempts:
            crew = crew or Crew.of(study, worker.name)
            told |= give_up(TrialRef(study, search, stored), rows, crew, rows[-1].reason)
    return told


def _take_over(
    study: Study, search: Search, now: SearchState, worker: Worker, again: bool
) -> Claim | None:
    """Own the first trial that nobody owns and that is open to this worker."""
    for stored in _open_to(study, now, worker, again):
        trial, last = TrialRef(study, search, stored), now.last(stored)
        if last is not None:
            return _insert(trial, now, worker, last.until_epoch)
        # The worker that made the trial died before the first attempt.
        until = UNTIL.get(stored) or trial.run.recipe.epochs
        return _insert(trial, now, worker, until)
    return None


def _start_waiting(study: Study, search: Search, now: SearchState, worker: Worker) -> Claim | None:
    """Own the first waiting trial that the budget allows."""
    waiting = next_waiting(study, search, now)
    if waiting is None:
        return None
    trial = TrialRef(study, search, waiting)
    trial.start()
    return _insert(trial, now, worker, trial.run.recipe.epochs)


def _start(study: Study, search: Search, now: SearchState, worker: Worker, job: Job) -> Claim:
    """Own the trial that a job is about."""
    if isinstance(job, NewTrial):
        trial = add_trial(study, search, TrialState.RUNNING, job)
    else:
        trial = TrialRef(study, search, now.trials[job.number])
    return _insert(trial, now, worker, job.until_epoch)


def _insert(trial: TrialRef, now: SearchState, worker: Worker, until: int) -> Claim:
    before = now.last(trial.stored)
    number = before.number + 1 if before else 0
    # By the ledger: a worker may have died before it reported what it had entered there.
    start = before.reached if before else 0
    attempt = attempts.insert(
        trial.study.database, worker, trial.search.name, trial.number, number, start, until
    )
    return Claim(trial, attempt, before)
