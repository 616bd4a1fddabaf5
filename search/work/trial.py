"""Run one claimed trial: train, report, decide, and record how it ended."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from tuneoff import files
from tuneoff.search.errors import ArtifactError, ArtifactOutage, LeaseLost, StorageOutage
from tuneoff.search.policies.base import Decision
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import ACCUMULATION, ENVIRONMENT, RECIPE, TEST_ERROR
from tuneoff.search.store.database import OUTAGES
from tuneoff.search.study.checkpoints import Uploads, fetch, keep
from tuneoff.search.study.state import history, read_state
from tuneoff.search.study.trial_ref import Run, TrialRef
from tuneoff.search.work.claim import Claim
from tuneoff.search.work.outcome import (
    Completed,
    Divergence,
    Failure,
    Interruption,
    Outcome,
    Paused,
    Pruned,
    record,
)
from tuneoff.search.work.watchdog import Watchdog
from tuneoff.trainer.contract import EpochRecord, Scores, Split, Trainer
from tuneoff.trainer.errors import CheckpointError, DataError, Diverged, Interrupted, ModelError

log = logging.getLogger(__name__)

UNFIT = (ArtifactError, ArtifactOutage, CheckpointError, DataError, ModelError)
"""No fault of the trial's parameters: it can go on where, or when, the fault is fixed."""


def run_trial(claim: Claim, trainer: Trainer, stop: Callable[[], bool]) -> Outcome:
    """Train a claimed trial until it ends or is stopped, and record how it ended.

    Args:
        stop: True once this worker was asked to leave.

    Raises:
        LeaseLost: another worker took the trial over; nothing more was written.
        StorageOutage: the database stayed away for too long.
    """
    trial = claim.trial
    grace = trial.study.spec.workers.grace_seconds
    tick = _Tick(claim, stop, Watchdog(grace, lambda: _end_hung_process(claim)))
    with Uploads(trial, claim.attempt, trainer, stop) as uploads:
        outcome = _train_and_score(claim, trainer, tick, uploads)
    trial.study.ledger.step(record, trial, claim.attempt, outcome)
    return outcome


class _Tick:
    """Keeps the trial while its epochs last, and passes on the wish to stop."""

    def __init__(self, claim: Claim, stop: Callable[[], bool], watchdog: Watchdog) -> None:
        self._claim, self._stop = claim, stop
        self.watchdog = watchdog
        self._every = min(claim.trial.study.spec.workers.grace_seconds / 10, 15.0)
        self._last = time.monotonic()

    def __call__(self) -> bool:
        with self.watchdog.resting():  # the database may be away for longer than a trainer may
            if time.monotonic() - self._last > self._every:
                self._claim.trial.study.ledger.touch(self._claim.attempt)
                self._last = time.monotonic()
        return self._stop()


def _train_and_score(claim: Claim, trainer: Trainer, tick: _Tick, uploads: Uploads) -> Outcome:
    """How the run ended. What other workers may need of it is in the artifact store then.

    Raises:
        LeaseLost, StorageOutage: as ``run_trial``.
    """
    outcome = _outcome(claim, trainer, tick, uploads)
    if outcome.end == "pruned":
        return outcome  # nobody needs its checkpoint
    try:
        uploads.flush(tick)
    except UNFIT as error:
        if not isinstance(outcome, Failure | Interruption):
            return Interruption(str(error), fatal=error)
        log.warning("%s: the newest checkpoint is in the folder alone: %s", claim.trial, error)
    return outcome


def _outcome(claim: Claim, trainer: Trainer, tick: _Tick, uploads: Uploads) -> Outcome:
    """Train, and translate each way in which that may end."""
    trial = claim.trial
    run = replace(trial.run, recipe=trainer.resolve(trial.run.recipe))
    try:
        outcome = _train(claim, run, trainer, tick, uploads)
        if isinstance(outcome, Completed) and trial.search.kind != "arm":
            _score(claim, run, trainer, tick, uploads)
        return outcome
    except Diverged as error:
        return Divergence(error.epoch)
    except Interrupted as error:
        return Interruption(str(error))
    except UNFIT as error:
        return Interruption(str(error), fatal=error)
    except (LeaseLost, StorageOutage):
        raise
    except Exception as error:
        log.exception("%s: the trainer failed", trial)
        return Failure(f"{type(error).__name__}: {error}".splitlines()[0])


def _train(claim: Claim, run: Run, trainer: Trainer, tick: _Tick, uploads: Uploads) -> Outcome:
    """Enter and report each epoch, and stop after the one after which the run is to stop."""
    trial, attempt, ledger = claim.trial, claim.attempt, claim.trial.study.ledger
    entered = claim.before.reached if claim.before else 0
    decided = _last_decided_epoch(claim)
    resumed, trained, seconds = 0, 0, 0.0
    with closing(_epochs(claim, run, trainer, tick, uploads)) as records:
        for epoch in records:
            if epoch.replayed:
                resumed = epoch.epoch
                if resumed > entered:
                    ledger.resumed_from(attempt, resumed, claim.before)
            else:
                if trained == 0:
                    ledger.resumed_from(attempt, resumed, claim.before)
                trained += 1
                seconds += epoch.seconds
                ledger.progress(attempt, trained, seconds)
                uploads.put()
            trial.report(epoch.epoch, epoch.validation_error)
            if epoch.accumulation > run.recipe.accumulation and not epoch.replayed:
                trial.note(ACCUMULATION.entry(epoch.accumulation))
            asks = epoch.epoch > decided or not epoch.replayed
            if (outcome := _after_epoch(claim, run, epoch, asks)) is not None:
                return outcome
    raise RuntimeError(f"the trainer ended before epoch {run.recipe.epochs} of its recipe")


def _epochs(
    claim: Claim, run: Run, trainer: Trainer, tick: _Tick, uploads: Uploads
) -> Generator[EpochRecord, None, None]:
    """The trainer's records, from the newest checkpoint on, wherever that was written."""
    fetch(claim.trial, claim.before, tick)
    try:
        records = trainer.train(run.recipe, run.params, run.seed, claim.trial.folder, tick)
        with tick.watchdog:
            yield from tick.watchdog.over(records)
    except Interrupted:
        uploads.put()  # the checkpoint was written within an epoch
        raise


def _last_decided_epoch(claim: Claim) -> int:
    """The last epoch after which an earlier attempt has asked the policy how to go on."""
    reported, before = claim.trial.last_epoch, claim.before
    if before is not None and before.end == "lost" and before.from_epoch < reported:
        # The worker that was lost may have died after it reported its last epoch, before it asked.
        return reported - 1
    return reported


def _after_epoch(claim: Claim, run: Run, epoch: EpochRecord, asks: bool) -> Outcome | None:
    """What becomes of the run after an epoch; None if it goes on.

    Args:
        asks: False if the policy has been asked after this epoch before, and let the run go on.
    """
    if epoch.epoch == run.recipe.epochs:
        return Completed(epoch.validation_error)
    if asks and claim.trial.search.policy.stops:
        decision = claim.trial.study.ledger.step(_decide, claim.trial)
        if decision is Decision.PRUNE:
            return Pruned()
        if decision is Decision.PAUSE:
            return Paused()
    return Paused() if epoch.epoch >= claim.attempt.until_epoch else None


def _decide(trial: TrialRef) -> Decision:
    """The policy's decision. No lock is held: it may fit a model, and changes nothing of others."""
    now = read_state(trial.study, trial.search)
    seen = history(trial.study, trial.search, now)
    return trial.search.policy.after(seen, now.trials[trial.number])


def _score(claim: Claim, run: Run, trainer: Trainer, tick: _Tick, uploads: Uploads) -> None:
    """Score a promoted model on validation and, once, on the test split; keep the scores."""
    trial = claim.trial
    notes = ENVIRONMENT.entry(dict(trainer.describe())) | RECIPE.entry(run.recipe.to_dict())
    # Readers elsewhere look for all of it under the last attempt, which may have trained nothing.
    uploads.put()
    uploads.flush(tick)
    splits: tuple[Split, ...] = ("validation", "test")
    for split in splits:
        if trial.study.task.sizes.get(split, 0):
            scores = trainer.evaluate(run.recipe, trial.folder, split)
            keep(trial, claim.attempt, _save_scores(trial.folder, split, scores), tick)
            if split == "test":
                notes |= TEST_ERROR.entry(scores.error)
    trial.note_as_owner(claim.attempt, notes)


def _save_scores(folder: Path, split: Split, scores: Scores) -> Path:
    path = folder / f"{split}.npz"
    try:
        with files.replacing(path) as file:
            np.savez(file, logits=scores.logits, labels=scores.labels)
    except OSError as error:
        raise CheckpointError(
            f"a model's scores cannot be written to {folder} ({error.strerror}); fix that and "
            "start again: nothing is lost"
        ) from error
    return path


def _end_hung_process(claim: Claim) -> None:
    """Give up the attempt and this process with it: a launcher starts another."""
    grace = claim.trial.study.spec.workers.grace_seconds
    reason = f"the trainer hung: no batch ended in {grace:g} s"
    log.error("%s: %s; this worker ends", claim.trial, reason)
    with suppress(LeaseLost, *OUTAGES):
        attempts.close(claim.trial.study.database, claim.attempt, "lost", reason)
    os._exit(1)
