"""What a worker does next in a group: take over, start what waits, or ask the policy.

Everything here happens under the group's lock, so workers that ask at once see each other's
answers, and a budget is never claimed twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import optuna
from optuna.trial import FrozenTrial, TrialState

from search import attempts
from search.attempts import Attempt, Worker
from search.errors import LeaseLost
from search.handover import discard
from search.policies.base import History, Job, NewTrial
from search.study import Group, Study

FAILURE = "failure"  # user attribute: why a trial was told FAIL
UNTIL = "tuneoff:until_epoch"  # system attribute: where the first attempt is to stop
ENDS: dict[TrialState, attempts.End] = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
"""How the last attempt at a trial that was told ended."""


@dataclass(frozen=True)
class Claim:
    """A trial that this worker owns now.

    Attributes:
        attempt: the row that says so.
        before: the attempt at the same trial before this one.
    """

    group: Group
    trial: FrozenTrial
    attempt: Attempt
    before: Attempt | None


class Nothing(Enum):
    """Why there is nothing to claim in a group."""

    WAIT = "others are at work, and may free budget or trials"
    DONE = "the budget is spent, or the policy has no more"


@dataclass(frozen=True)
class Standing:
    """A group's trials and attempts, sorted by what may be done with them.

    Attributes:
        attempts: by trial, oldest first; without those at settled trials (see ``standing``).
        live: RUNNING trials that a worker owns.
        paused: RUNNING trials that were paused.
        orphans: RUNNING trials that nobody owns and that were not paused: to be taken over.
        waiting: WAITING trials.
        spent, reserved: epochs trained, and epochs that live attempts may still train.
    """

    trials: tuple[FrozenTrial, ...]
    attempts: dict[int, list[Attempt]]
    live: tuple[FrozenTrial, ...]
    paused: tuple[FrozenTrial, ...]
    orphans: tuple[FrozenTrial, ...]
    waiting: tuple[FrozenTrial, ...]
    spent: int
    reserved: int

    @classmethod
    def of(
        cls, trials: Sequence[FrozenTrial], rows: Iterable[Attempt], settled: int = 0
    ) -> Standing:
        """Sort a group's trials.

        Args:
            rows: attempts, oldest first.
            settled: epochs of the attempts that are not among them.
        """
        by_trial: dict[int, list[Attempt]] = defaultdict(list)
        for row in rows:
            by_trial[row.trial].append(row)
        live, paused, orphans = [], [], []
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                last = by_trial[trial.number][-1] if by_trial[trial.number] else None
                if last is not None and last.live:
                    live.append(trial)
                elif last is not None and last.end == "paused":
                    paused.append(trial)
                elif last is None or last.end in ("released", "lost", "failed"):
                    orphans.append(trial)
                # Else its worker has told it since the trials were read.
        return cls(
            trials=tuple(trials),
            attempts=dict(by_trial),
            live=tuple(live),
            paused=tuple(paused),
            orphans=tuple(orphans),
            waiting=tuple(t for t in trials if t.state == TrialState.WAITING),
            spent=settled + sum(attempts.spent(rows) for rows in by_trial.values()),
            reserved=sum(by_trial[t.number][-1].reserved for t in live),
        )

    def history(self, optuna_study: optuna.Study, horizon: int, budget: int | None) -> History:
        """The group as its policy sees it; a budget of None is no bound."""
        # Promoted trials are all run: they have no budget but their number.
        budget = 2**31 if budget is None else budget
        return History(
            study=optuna_study,
            trials=self.trials,
            paused=frozenset(trial.number for trial in self.paused),
            horizon=horizon,
            remaining=budget - self.spent - self.reserved,
        )

    def last(self, trial: FrozenTrial) -> Attempt | None:
        """The latest attempt at a trial."""
        rows = self.attempts.get(trial.number)
        return rows[-1] if rows else None

    def failures(self, trial: FrozenTrial) -> int:
        """How many attempts at a trial failed or were lost; released ones do not count."""
        return sum(a.end in ("failed", "lost") for a in self.attempts.get(trial.number, ()))


def standings(study: Study, groups: Sequence[Group]) -> list[Standing]:
    """Groups as they stand, with every attempt."""
    # Attempts first: a trial read later can only be further on than its attempts say.
    by_group: dict[str, list[Attempt]] = defaultdict(list)
    for row in attempts.read(study.database, [group.name for group in groups]):
        by_group[row.group].append(row)
    return [Standing.of(study.trials(group), by_group[group.name]) for group in groups]


def standing(study: Study, group: Group) -> Standing:
    """A group as it stands, without the attempts at trials that were settled before.

    That is all that the next step depends on, and takes no longer the more trials there were.
    """
    # Trials first: of those that are finished then, all epochs have been entered.
    trials, settled = study.trials(group), study.settled[group.name]
    others = [trial for trial in trials if trial.number not in settled]
    rows = attempts.read(study.database, [group.name], {trial.number for trial in others})
    now = Standing.of(trials, rows, sum(settled.values()))
    for trial in others:
        mine = now.attempts.get(trial.number, [])
        if trial.state.is_finished() and not any(attempt.live for attempt in mine):
            settled[trial.number] = attempts.spent(mine)
    return now


def history(study: Study, group: Group, now: Standing) -> History:
    """A group as its policy sees it."""
    return now.history(study.optuna_study(group), study.spec.trial.epochs, group.budget)


def claim(study: Study, group: Group, worker: Worker) -> Claim | Nothing:
    """Own a trial of this group, or learn why there is none.

    May be called again after a lost connection: what a broken call left behind is an orphan and
    is taken over, at once, or after the grace period if its attempt had been stored.
    """
    with study.database.lock(group.name):
        end_stale_attempts(study, group)
        now = standing(study, group)
        for trial in now.orphans:
            if not _give_up(study, group, trial, now):
                return _take_over(study, group, trial, now, worker)
        if (waiting := next_waiting(study, group, now)) is not None:
            trial_id = study.trial_id(group, waiting.number)
            study.database.optuna.set_trial_state_values(trial_id, TrialState.RUNNING)
            epochs = study.run_of(group, waiting).recipe.epochs
            return _insert(study, group, waiting, now, worker, epochs)
        if (job := next_job(study, group, now)) is not None:
            if isinstance(job, NewTrial):
                trial = study.add_trial(group, new_trial(study, TrialState.RUNNING, job))
            else:
                trial = now.trials[job.number]
            return _insert(study, group, trial, now, worker, job.until_epoch)
        if now.live:
            return Nothing.WAIT
        for trial in now.paused:
            tell(study, group, trial, TrialState.PRUNED)
        if group.kind == "arm":
            # Under the lock: nobody starts a trial meanwhile. Those of workers, too, who died
            # before they could do so for their own trial.
            study.discard_all_checkpoints(group)
    for trial in now.paused:
        discard(study, group, trial, now.attempts[trial.number][-1].number)
    return Nothing.DONE


def next_waiting(study: Study, group: Group, now: Standing) -> FrozenTrial | None:
    """The first waiting trial that the budget allows."""
    remaining = history(study, group, now).remaining
    for trial in now.waiting:
        if study.run_of(group, trial).recipe.epochs <= remaining:
            return trial
    return None


def next_job(study: Study, group: Group, now: Standing) -> Job | None:
    """The policy's answer, if the budget allows it."""
    seen = history(study, group, now)
    job = group.policy.next(seen) if seen.remaining > 0 else None
    if job is None:
        return None
    done = 0 if isinstance(job, NewTrial) else last_epoch(now.trials[job.number])
    return job if job.until_epoch - done <= seen.remaining else None


def end_stale_attempts(study: Study, group: Group) -> list[Attempt]:
    """Mark as lost what shows no progress, so that it can be taken over. Needs the group's lock."""
    ended = []
    grace = study.spec.workers.grace_seconds
    stale = [a for a in attempts.live(study.database, [group.name]) if a.is_stale(grace)]
    if stale:
        trials = study.trials(group)
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


def tell(
    study: Study, group: Group, trial: FrozenTrial, state: TrialState, value: float | None = None
) -> None:
    """Finish a trial, once: a trial that is finished already stays as it is.

    A pruned trial is told its last reported value.
    """
    trial_id = study.trial_id(group, trial.number)
    stored = study.database.optuna.get_trial(trial_id)
    if stored.state.is_finished():
        return
    if value is None and state == TrialState.PRUNED and stored.intermediate_values:
        value = stored.intermediate_values[max(stored.intermediate_values)]
    values = None if value is None else [value]
    study.database.optuna.set_trial_state_values(trial_id, state, values)


def fail(study: Study, group: Group, trial: FrozenTrial, reason: str) -> None:
    """Tell a trial FAIL, with the reason where people look for it."""
    trial_id = study.trial_id(group, trial.number)
    if not study.database.optuna.get_trial(trial_id).state.is_finished():
        study.database.optuna.set_trial_user_attr(trial_id, FAILURE, reason)
        tell(study, group, trial, TrialState.FAIL)


def _give_up(study: Study, group: Group, trial: FrozenTrial, now: Standing) -> bool:
    if now.failures(trial) < study.spec.workers.max_attempts:
        return False
    last = now.last(trial)
    reason = (last and last.reason) or "unknown"
    fail(study, group, trial, f"{now.failures(trial)} attempts failed; the last: {reason}")
    return True


def _take_over(
    study: Study, group: Group, trial: FrozenTrial, now: Standing, worker: Worker
) -> Claim:
    last = now.last(trial)
    if last is not None:
        return _insert(study, group, trial, now, worker, last.until_epoch)
    # Its maker died before the first attempt.
    until = trial.system_attrs.get(UNTIL) or study.run_of(group, trial).recipe.epochs
    return _insert(study, group, trial, now, worker, until)


def new_trial(study: Study, state: TrialState, job: NewTrial) -> FrozenTrial:
    """A trial to be stored, complete with its parameters."""
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=None,
        datetime_start=datetime.now() if state == TrialState.RUNNING else None,
        datetime_complete=None,
        params=study.space.check(job.params),
        distributions=dict(study.space.distributions),
        user_attrs=dict(job.note),
        system_attrs={UNTIL: job.until_epoch} if state == TrialState.RUNNING else {},
        intermediate_values={},
    )


def last_epoch(trial: FrozenTrial) -> int:
    """The last epoch that was reported; 0 before the first."""
    return max(trial.intermediate_values, default=0)


def _insert(
    study: Study, group: Group, trial: FrozenTrial, now: Standing, worker: Worker, until: int
) -> Claim:
    before = now.last(trial)
    number = before.number + 1 if before else 0
    # By the ledger: a worker may have died before it reported what it had entered there.
    start = before.reached if before else 0
    attempt = attempts.insert(
        study.database, worker, group.name, trial.number, number, start, until
    )
    return Claim(group, trial, attempt, before)
