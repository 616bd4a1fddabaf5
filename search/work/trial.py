"""Run one claimed trial: train, report, decide, tell."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import TrialState

from tuneoff.search.errors import ArtifactError, ArtifactOutage, LeaseLost, StorageOutage
from tuneoff.search.policies.base import Decision
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import ACCUMULATION, DIVERGED, ENVIRONMENT, RECIPE, TEST_ERROR
from tuneoff.search.store.database import OUTAGES
from tuneoff.search.study.checkpoints import discard, fetch, keep, keep_checkpoint
from tuneoff.search.study.state import fail, history, last_epoch, read_state, tell
from tuneoff.search.study.study import Run, Study
from tuneoff.search.work.claim import Claim
from tuneoff.search.work.watchdog import Watchdog
from tuneoff.trainer.contract import EpochRecord, Scores, Split, Trainer
from tuneoff.trainer.errors import CheckpointError, DataError, Diverged, Interrupted, ModelError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Completed:
    """Trained to its last epoch, with this validation error."""

    error: float


@dataclass(frozen=True)
class Stopped:
    """Pruned or paused by the policy."""

    decision: Decision


@dataclass(frozen=True)
class Divergence:
    """The loss became non-finite in this epoch."""

    epoch: int


@dataclass(frozen=True)
class Interruption:
    """Stopped from outside, to be continued; ``fatal`` if this worker cannot go on at all."""

    reason: str
    fatal: Exception | None = None


@dataclass(frozen=True)
class Failure:
    """The trainer raised what it should not: this attempt failed."""

    reason: str


Outcome = Completed | Stopped | Divergence | Interruption | Failure


def run_trial(study: Study, claim: Claim, trainer: Trainer, stop: Callable[[], bool]) -> Outcome:
    """Train a claimed trial until it ends or is stopped, and record how it ended.

    Args:
        stop: True once this worker was asked to leave.

    Raises:
        LeaseLost: another worker took the trial over; nothing more was written.
        StorageOutage: the database stayed away for too long.
    """
    run = study.run_of(claim.search, claim.trial)
    run = replace(run, recipe=trainer.resolve(run.recipe))
    watchdog = Watchdog(study.spec.workers.grace_seconds, lambda: _hung(study, claim))
    tick = _Tick(study, claim, stop, watchdog)
    try:
        outcome = _train(study, claim, run, trainer, tick)
        if isinstance(outcome, Completed) and claim.search.kind != "arm":
            _evaluate(study, claim, run, trainer, tick)
    except Diverged as error:
        outcome = Divergence(error.epoch)
    except Interrupted as error:
        outcome = Interruption(str(error))
    except (ArtifactError, ArtifactOutage, CheckpointError, DataError, ModelError) as error:
        # No fault of these parameters: the trial can go on where the fault is fixed.
        outcome = Interruption(str(error), fatal=error)
    except (LeaseLost, StorageOutage):
        raise
    except Exception as error:
        log.exception("%s#%d: the trainer failed", claim.search.name, claim.trial.number)
        outcome = Failure(f"{type(error).__name__}: {error}".splitlines()[0])
    study.database.patiently(lambda: _record(study, claim, outcome))
    return outcome


class _Tick:
    """Keeps the lease while epochs last, and hears of the wish to stop."""

    def __init__(
        self, study: Study, claim: Claim, stop: Callable[[], bool], watchdog: Watchdog
    ) -> None:
        self._study, self._claim, self._stop = study, claim, stop
        self.watchdog = watchdog
        self._every = min(study.spec.workers.grace_seconds / 10, 15.0)
        self._last = time.monotonic()

    def __call__(self) -> bool:
        with self.watchdog.resting():  # the database may be away for longer than a trainer may
            if time.monotonic() - self._last > self._every:
                database = self._study.database
                database.patiently(lambda: attempts.touch(database, self._claim.attempt))
                self._last = time.monotonic()
        return self._stop()


def _train(study: Study, claim: Claim, run: Run, trainer: Trainer, tick: _Tick) -> Outcome:
    entered = claim.before.reached if claim.before else 0
    decided = _decided(claim)
    records = _epochs(study, claim, run, trainer, tick)
    resumed, trained, seconds = 0, 0, 0.0
    with closing(records):
        for record in records:
            if record.replayed:
                resumed = record.epoch
                if resumed > entered:
                    _enter(study, claim, resumed)
            else:
                if trained == 0:
                    _enter(study, claim, resumed)
                trained += 1
                seconds += record.seconds
                _progress(study, claim, trained, seconds)
                keep_checkpoint(study, claim.search, claim.trial, claim.attempt, trainer, tick)
            _report(study, claim, record)
            if record.accumulation > run.recipe.accumulation and not record.replayed:
                _note(study, claim, ACCUMULATION.item(record.accumulation))
            if record.epoch == run.recipe.epochs:
                return Completed(record.validation_error)
            if record.epoch > decided or not record.replayed:
                decision = _decide(study, claim)
                if decision is not Decision.CONTINUE:
                    return Stopped(decision)
            if record.epoch >= claim.attempt.until_epoch:
                return Stopped(Decision.PAUSE)
    raise RuntimeError(f"the trainer ended before epoch {run.recipe.epochs} of its recipe")


def _epochs(
    study: Study, claim: Claim, run: Run, trainer: Trainer, tick: _Tick
) -> Generator[EpochRecord, None, None]:
    """The trainer's records, from the newest checkpoint on, wherever that was written."""
    folder = study.checkpoints(claim.search, claim.trial)
    fetch(study, claim.search, claim.trial, claim.before, tick)
    try:
        records = trainer.train(run.recipe, run.params, run.seed, folder, tick)
        with tick.watchdog:
            yield from tick.watchdog.over(records)
    except Interrupted:
        keep_checkpoint(study, claim.search, claim.trial, claim.attempt, trainer, tick)
        raise


def _hung(study: Study, claim: Claim) -> None:
    """Give up the attempt and this process with it: a launcher starts another."""
    reason = f"the trainer hung: no batch ended in {study.spec.workers.grace_seconds:g} s"
    log.error("%s#%d: %s; this worker ends", claim.search.name, claim.trial.number, reason)
    with suppress(LeaseLost, *OUTAGES):
        attempts.close(study.database, claim.attempt, "lost", reason)
    os._exit(1)


def _decided(claim: Claim) -> int:
    """The last epoch after which an earlier attempt asked the policy what becomes of the run."""
    reported = last_epoch(claim.trial)
    before = claim.before
    # A lost worker may have reported an epoch of its own and not come to the question.
    unsure = before is not None and before.end == "lost" and before.from_epoch < reported
    return reported - unsure


def _enter(study: Study, claim: Claim, resumed: int) -> None:
    database = study.database
    database.patiently(
        lambda: attempts.resumed_from(database, claim.attempt, resumed, claim.before)
    )


def _progress(study: Study, claim: Claim, epochs: int, seconds: float) -> None:
    database = study.database
    database.patiently(lambda: attempts.progress(database, claim.attempt, epochs, seconds))


def _report(study: Study, claim: Claim, record: EpochRecord) -> None:
    """Store an epoch's validation error, unless an earlier attempt had."""
    if record.epoch in claim.trial.intermediate_values:
        return
    trial_id = study.trial_id(claim.search, claim.trial.number)
    study.database.patiently(
        lambda: study.database.optuna.set_trial_intermediate_value(
            trial_id, record.epoch, record.validation_error
        )
    )


def _note(study: Study, claim: Claim, item: tuple[str, Any]) -> None:
    trial_id = study.trial_id(claim.search, claim.trial.number)
    study.database.patiently(lambda: study.database.optuna.set_trial_user_attr(trial_id, *item))


def _decide(study: Study, claim: Claim) -> Decision:
    if not claim.search.policy.stops:
        return Decision.CONTINUE

    def ask() -> Decision:
        now = read_state(study, claim.search)
        trial = now.trials[claim.trial.number]
        return claim.search.policy.after(history(study, claim.search, now), trial)

    return study.database.patiently(ask)


def _evaluate(study: Study, claim: Claim, run: Run, trainer: Trainer, tick: _Tick) -> None:
    """Score a promoted model on validation and, once, on the test split; keep the scores."""
    folder = study.checkpoints(claim.search, claim.trial)
    notes = ENVIRONMENT.entry(dict(trainer.describe())) | RECIPE.entry(run.recipe.to_dict())
    # Readers elsewhere look for all of it under the last attempt, which may have trained nothing.
    keep_checkpoint(study, claim.search, claim.trial, claim.attempt, trainer, tick)
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        if study.task.sizes.get(split, 0):
            scores = trainer.evaluate(run.recipe, folder, split)
            path = _save_scores(folder, split, scores)
            keep(study, claim.search, claim.trial, claim.attempt, path, tick)
            if split == "test":
                notes |= TEST_ERROR.entry(scores.error)

    def store() -> None:
        attempts.touch(study.database, claim.attempt)
        trial_id = study.trial_id(claim.search, claim.trial.number)
        for name, value in notes.items():
            study.database.optuna.set_trial_user_attr(trial_id, name, value)

    study.database.patiently(store)


def _save_scores(folder: Path, split: Split, scores: Scores) -> Path:
    path, temporary = folder / f"{split}.npz", folder / f".{split}.npz"
    try:
        with temporary.open("wb") as file:
            np.savez(file, logits=scores.logits, labels=scores.labels)
        temporary.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"a model's scores cannot be written to {folder} ({error.strerror}); fix that and "
            "start again: nothing is lost"
        ) from error
    return path


def _tell_diverged(study: Study, claim: Claim, epoch: int) -> None:
    storage, trial_id = study.database.optuna, study.trial_id(claim.search, claim.trial.number)
    chance = study.task.chance_error
    if not storage.get_trial(trial_id).state.is_finished():
        storage.set_trial_user_attr(trial_id, *DIVERGED.item(epoch))
        storage.set_trial_intermediate_value(trial_id, epoch, chance)
        tell(study, claim.search, claim.trial, TrialState.COMPLETE, chance)


def _record(study: Study, claim: Claim, outcome: Outcome) -> None:
    """Tell Optuna and close the attempt, as one step under the search's lock.

    The attempt's token is checked first, so that only the owner of the trial tells.
    """
    database, search, trial = study.database, claim.search, claim.trial
    with database.lock(search.name):
        attempts.touch(database, claim.attempt)
        if isinstance(outcome, Completed):
            tell(study, search, trial, TrialState.COMPLETE, outcome.error)
            attempts.close(database, claim.attempt, "finished")
        elif isinstance(outcome, Divergence):
            attempts.diverged(database, claim.attempt, outcome.epoch)
            _tell_diverged(study, claim, outcome.epoch)
            attempts.close(database, claim.attempt, "finished", f"diverged in {outcome.epoch}")
        elif isinstance(outcome, Stopped) and outcome.decision is Decision.PRUNE:
            tell(study, search, trial, TrialState.PRUNED)
            attempts.close(database, claim.attempt, "pruned")
        elif isinstance(outcome, Stopped):
            attempts.close(database, claim.attempt, "paused")
        elif isinstance(outcome, Interruption):
            attempts.close(database, claim.attempt, "released", outcome.reason)
        else:
            failures = read_state(study, search).failures(trial) + 1
            if failures >= study.spec.workers.max_attempts:
                fail(study, search, trial, f"{failures} attempts failed; last: {outcome.reason}")
            attempts.close(database, claim.attempt, "failed", outcome.reason)
    ended = isinstance(outcome, Completed | Divergence) or (
        isinstance(outcome, Stopped) and outcome.decision is Decision.PRUNE
    )
    if ended and search.kind == "arm":
        discard(study, search, trial, claim.attempt.number)
