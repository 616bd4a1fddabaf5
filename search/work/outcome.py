"""What becomes of a trial: how an attempt at it may end, and what is then told and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from optuna.trial import TrialState

from tuneoff.search.errors import LeaseLost
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, End
from tuneoff.search.study.checkpoints import discard, discard_folder
from tuneoff.search.study.state import SearchState, read_state
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef

ENDS: Mapping[TrialState, End] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
"""How the last attempt at a finished trial ended."""


@dataclass(frozen=True)
class Completed:
    """Trained to the last epoch.

    Attributes:
        error: the validation error then, 0 to 1.
    """

    error: float
    end: ClassVar[End] = ENDS[TrialState.COMPLETE]
    reason: ClassVar[None] = None

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Tell the trial its error."""
        trial.tell(TrialState.COMPLETE, self.error)


@dataclass(frozen=True)
class Divergence:
    """The loss became non-finite in this epoch: the run is as good as guessing."""

    epoch: int
    end: ClassVar[End] = ENDS[TrialState.COMPLETE]

    @property
    def reason(self) -> str:
        """For the ledger."""
        return f"diverged in epoch {self.epoch}"

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Pay for the epoch, and tell the trial the error of guessing."""
        attempts.diverged(trial.study.database, attempt, self.epoch)
        trial.tell_diverged(self.epoch)


@dataclass(frozen=True)
class Pruned:
    """Stopped for good, as the policy decided."""

    end: ClassVar[End] = ENDS[TrialState.PRUNED]
    reason: ClassVar[None] = None

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Tell the trial so."""
        trial.tell(TrialState.PRUNED)


@dataclass(frozen=True)
class Paused:
    """Stopped at the end of its job, or by the policy, and perhaps resumed later."""

    end: ClassVar[End] = "paused"
    reason: ClassVar[None] = None

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Nothing: the trial stays RUNNING."""


@dataclass(frozen=True)
class Interruption:
    """Stopped from outside, to be continued; ``fatal`` if this worker cannot go on at all."""

    reason: str
    fatal: Exception | None = None
    end: ClassVar[End] = "released"

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Nothing: the trial stays RUNNING."""


@dataclass(frozen=True)
class Failure:
    """The trainer raised what it should not: this attempt failed."""

    reason: str
    end: ClassVar[End] = ENDS[TrialState.FAIL]

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Tell the trial FAIL if this was the last attempt that it was allowed."""
        before = read_state(trial.study, trial.search).failures(trial.stored)
        give_up(trial, before + 1, self.reason)


Outcome = Completed | Divergence | Pruned | Paused | Interruption | Failure


def record(trial: TrialRef, attempt: Attempt, outcome: Outcome) -> None:
    """Tell the trial and close the attempt, as one step under the search's lock.

    Raises:
        LeaseLost: the trial belongs to another worker by now; nothing was written.
    """
    study = trial.study
    with study.database.lock(trial.search.name):
        attempts.touch(study.database, attempt)  # only the owner of the trial tells it
        outcome.tell(trial, attempt)
        attempts.close(study.database, attempt, outcome.end, outcome.reason)
    # The checkpoints of full training and of the ensemble stay: predictions are made with them.
    if outcome.end in ("finished", "pruned") and trial.search.kind == "arm":
        discard(trial, attempt.number)


def give_up(trial: TrialRef, failures: int, reason: str) -> bool:
    """Tell a trial FAIL if so many failed attempts are too many; True if they are.

    Needs the search's lock.

    Args:
        reason: of the last failure.
    """
    if failures < trial.study.spec.workers.max_attempts:
        return False
    attempts_failed = "1 attempt failed" if failures == 1 else f"{failures} attempts failed"
    trial.fail(f"{attempts_failed}; the last: {reason}")
    return True


def end_stale_attempts(study: Study, search: Search) -> list[Attempt]:
    """End attempts that show no progress, so that their trials are taken over.

    Needs the search's lock.
    """
    ended = []
    grace = study.spec.workers.grace_seconds
    stale = [a for a in attempts.live(study.database, [search.name]) if a.is_stale(grace)]
    if stale:
        trials = study.trials(search)
        for attempt in stale:
            # A worker may have died after it told the trial and before it closed its attempt.
            end = ENDS.get(trials[attempt.trial].state, "lost")
            reason = f"no sign of life from {attempt.worker}" if end == "lost" else None
            try:
                attempts.close(study.database, attempt, end, reason)
                ended.append(attempt)
            except LeaseLost:
                continue
    return ended


def prune_paused(study: Study, search: Search, now: SearchState) -> None:
    """Tell the paused trials of a search that has nothing left to run PRUNED.

    Needs the search's lock: nobody may start a trial meanwhile.
    """
    for trial in now.paused:
        TrialRef(study, search, trial).tell(TrialState.PRUNED)
    if search.kind == "arm":
        discard_folder(study, search)


def discard_paused(study: Study, search: Search, now: SearchState) -> None:
    """Delete what the artifact store has of the trials that ``prune_paused`` told; no lock."""
    for trial in now.paused:
        discard(TrialRef(study, search, trial), now.attempts[trial.number][-1].number)
