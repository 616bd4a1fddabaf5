"""What a worker does next in a search: take over, start what waits, or ask the policy.

Everything here happens under the search's lock, so workers that ask at once see each other's
answers, and a budget is never claimed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.errors import LeaseLost
from tuneoff.search.policies.base import Job, NewTrial
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.store.attributes import UNTIL
from tuneoff.search.study.checkpoints import discard
from tuneoff.search.study.state import (
    ENDS,
    SearchState,
    fail,
    history,
    last_epoch,
    new_trial,
    read_state,
    tell,
)
from tuneoff.search.study.study import Search, Study


def reclaim(study: Study) -> None:
    """End what shows no progress, so that it is seen to be lost though no worker is there."""
    live = attempts.live(study.database, [search.name for search in study.searches])
    stale = {a.search for a in live if a.is_stale(study.spec.workers.grace_seconds)}
    for search in study.searches:
        if search.name in stale:
            with study.database.lock(search.name):
                end_stale_attempts(study, search)


@dataclass(frozen=True)
class Claim:
    """A trial that this worker owns now.

    Attributes:
        attempt: the row that says so.
        before: the attempt at the same trial before this one.
    """

    search: Search
    trial: FrozenTrial
    attempt: Attempt
    before: Attempt | None


class Nothing(Enum):
    """Why there is nothing to claim in a search."""

    WAIT = "others are at work, and may free budget or trials"
    DONE = "the budget is spent, or the policy has no more"


def claim(study: Study, search: Search, worker: Worker) -> Claim | Nothing:
    """Own a trial of this search, or learn why there is none.

    May be called again after a lost connection: what a broken call left behind is an orphan and
    is taken over, at once, or after the grace period if its attempt had been stored.
    """
    with study.database.lock(search.name):
        end_stale_attempts(study, search)
        now = read_state(study, search)
        for trial in now.orphans:
            if not _give_up(study, search, trial, now):
                return _take_over(study, search, trial, now, worker)
        if (waiting := next_waiting(study, search, now)) is not None:
            trial_id = study.trial_id(search, waiting.number)
            study.database.optuna.set_trial_state_values(trial_id, TrialState.RUNNING)
            epochs = study.run_of(search, waiting).recipe.epochs
            return _insert(study, search, waiting, now, worker, epochs)
        if (job := next_job(study, search, now)) is not None:
            if isinstance(job, NewTrial):
                trial = study.add_trial(search, new_trial(study, TrialState.RUNNING, job))
            else:
                trial = now.trials[job.number]
            return _insert(study, search, trial, now, worker, job.until_epoch)
        if now.live:
            return Nothing.WAIT
        for trial in now.paused:
            tell(study, search, trial, TrialState.PRUNED)
        if search.kind == "arm":
            # Under the lock: nobody starts a trial meanwhile. Those of workers, too, who died
            # before they could do so for their own trial.
            study.discard_all_checkpoints(search)
    for trial in now.paused:
        discard(study, search, trial, now.attempts[trial.number][-1].number)
    return Nothing.DONE


def next_waiting(study: Study, search: Search, now: SearchState) -> FrozenTrial | None:
    """The first waiting trial that the budget allows."""
    remaining = history(study, search, now).remaining
    for trial in now.waiting:
        if study.run_of(search, trial).recipe.epochs <= remaining:
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


def end_stale_attempts(study: Study, search: Search) -> list[Attempt]:
    """Mark what shows no progress as lost, so that it is taken over. Needs the search's lock."""
    ended = []
    grace = study.spec.workers.grace_seconds
    stale = [a for a in attempts.live(study.database, [search.name]) if a.is_stale(grace)]
    if stale:
        trials = study.trials(search)
        for attempt in stale:
            # Told, it may be, by a worker that died before it could close its row.
            end = ENDS.get(trials[attempt.trial].state, "lost")
            reason = f"no sign of life from {attempt.worker}" if end == "lost" else None
            try:
                attempts.close(study.database, attempt, end, reason)
                ended.append(attempt)
            except LeaseLost:
                continue
    return ended


def _give_up(study: Study, search: Search, trial: FrozenTrial, now: SearchState) -> bool:
    if now.failures(trial) < study.spec.workers.max_attempts:
        return False
    last = now.last(trial)
    reason = (last and last.reason) or "unknown"
    fail(study, search, trial, f"{now.failures(trial)} attempts failed; the last: {reason}")
    return True


def _take_over(
    study: Study, search: Search, trial: FrozenTrial, now: SearchState, worker: Worker
) -> Claim:
    last = now.last(trial)
    if last is not None:
        return _insert(study, search, trial, now, worker, last.until_epoch)
    # Its maker died before the first attempt.
    until = UNTIL.get(trial) or study.run_of(search, trial).recipe.epochs
    return _insert(study, search, trial, now, worker, until)


def _insert(
    study: Study, search: Search, trial: FrozenTrial, now: SearchState, worker: Worker, until: int
) -> Claim:
    before = now.last(trial)
    number = before.number + 1 if before else 0
    # By the ledger: a worker may have died before it reported what it had entered there.
    start = before.reached if before else 0
    attempt = attempts.insert(
        study.database, worker, search.name, trial.number, number, start, until
    )
    return Claim(search, trial, attempt, before)
