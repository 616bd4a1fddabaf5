"""What becomes of a trial: how an attempt at it may end, and what is then told and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from optuna.trial import TrialState

from tuneoff.messages import counted
from tuneoff.search.errors import LeaseLost
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt, End
from tuneoff.search.study.checkpoints import discard, discard_folder
from tuneoff.search.study.state import SearchState, history, read_state
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work.crew import Crew

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
    """The loss became non-finite in this epoch: the run is as good as guessing.

    Attributes:
        seconds: that the attempt took, that epoch included; None: as entered so far.
    """

    epoch: int
    seconds: float | None = None
    end: ClassVar[End] = ENDS[TrialState.COMPLETE]

    @property
    def reason(self) -> str:
        """For the ledger."""
        return f"diverged in epoch {self.epoch}"

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Pay for the epoch, and tell the trial the error of guessing."""
        attempts.diverged(trial.study.database, attempt, self.epoch, self.seconds)
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
class Unaffordable:
    """Paused before, and not to be resumed: its checkpoint is gone, and the budget too small."""

    reason: str
    end: ClassVar[End] = ENDS[TrialState.PRUNED]

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Tell the trial PRUNED, as any that was paused and is not resumed."""
        trial.tell(TrialState.PRUNED)


@dataclass(frozen=True)
class OutOfTime:
    """Stopped at the end of the epoch in which the search's seconds ran out.

    Not even its last epoch counts: it ended after the time that all arms have.
    """

    epoch: int
    seconds: float
    end: ClassVar[End] = ENDS[TrialState.PRUNED]

    @property
    def reason(self) -> str:
        """For the ledger."""
        return f"the budget of {self.seconds:g} s ran out in epoch {self.epoch}"

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Tell the trial PRUNED."""
        trial.tell(TrialState.PRUNED)


@dataclass(frozen=True)
class Failure:
    """The trainer raised what it should not: this attempt failed."""

    reason: str
    end: ClassVar[End] = ENDS[TrialState.FAIL]

    def tell(self, trial: TrialRef, attempt: Attempt) -> None:
        """Tell the trial FAIL if this was the last attempt that it was allowed."""
        rows = read_state(trial.study, trial.search).attempts.get(trial.number, [])
        rows = [row for row in rows if row.token != attempt.token]
        crew = Crew.of(trial.study, attempt.worker)
        give_up(trial, [*rows, replace(attempt, end=self.end)], crew, self.reason)


Outcome = (
    Completed | Divergence | Pruned | Paused | Interruption | Unaffordable | OutOfTime | Failure
)


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
    if outcome.end in ("finished", "pruned") and trial.search.kind in ("arm", "horizon"):
        discard(trial, attempt.number)


def give_up(trial: TrialRef, rows: Sequence[Attempt], crew: Crew, reason: str | None) -> bool:
    """Tell a trial FAIL if it has failed or was lost too often; True if it has.

    Needs the search's lock.

    Args:
        rows: the attempts at it.
        crew: who is there to try it.
        reason: of the last failure, if it is known.
    """
    if not crew.is_hopeless(rows, trial.study.spec.workers.max_attempts):
        return False
    failures = sum(row.end in ("failed", "lost") for row in rows)
    attempts_failed = "1 attempt failed" if failures == 1 else f"{failures} attempts failed"
    trial.fail(f"{attempts_failed}; the last: {reason or 'unknown'}")
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


def fail_unaffordable(study: Study, search: Search, now: SearchState) -> None:
    """Tell the waiting trials of a search that has nothing left to run FAIL: they wait in vain.

    Needs the search's lock.
    """
    left = history(study, search, now).remaining
    for waiting in now.waiting:
        trial = TrialRef(study, search, waiting)
        if search.seconds is not None:
            trial.fail(f"it was never started: the budget of {search.seconds:g} s was spent before")
            continue
        trial.fail(
            f"it was never started: it takes {counted(trial.run.recipe.epochs, 'epoch')}, and "
            f"{max(0, left)} of the budget are left"
        )


def prune_unfinished(study: Study, search: Search, now: SearchState) -> None:
    """Tell the trials of a search that has nothing left to run PRUNED that could be gone on with.

    They were paused, or their workers have left them and there is no time left for them. Needs the
    search's lock: nobody may start a trial meanwhile.
    """
    for trial in (*now.paused, *now.orphans):
        TrialRef(study, search, trial).tell(TrialState.PRUNED)
    if search.kind in ("arm", "horizon"):
        discard_folder(study, search)


def discard_unfinished(study: Study, search: Search, now: SearchState) -> None:
    """Delete what the artifact store has of those that ``prune_unfinished`` told; no lock."""
    for trial in (*now.paused, *now.orphans):
        if (last := now.last(trial)) is not None:
            discard(TrialRef(study, search, trial), last.number)
