"""Run one claimed trial: train, report, decide, and record how it ended."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator
from contextlib import closing, nullcontext, suppress
from dataclasses import replace

from tuneoff.messages import printable
from tuneoff.search.errors import ArtifactError, ArtifactOutage, LeaseLost, StorageOutage
from tuneoff.search.policies.base import Decision
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import (
    ACCUMULATION,
    PRINTED,
)
from tuneoff.search.store.outages import OUTAGES
from tuneoff.search.study.checkpoints import Uploads, fetch
from tuneoff.search.study.state import history, read_state
from tuneoff.search.study.trial_ref import Run, TrialRef
from tuneoff.search.work.claim import Claim
from tuneoff.search.work.outcome import (
    Completed,
    Divergence,
    Failure,
    Interruption,
    Outcome,
    OutOfTime,
    Paused,
    Pruned,
    Unaffordable,
    record,
)
from tuneoff.search.work.scoring import as_stored, reported_test, row_notes, score, score_test
from tuneoff.search.work.ticks import BeyondBudget, Start, Tick
from tuneoff.search.work.watchdog import Watchdog
from tuneoff.trainer.contract import AnyRecipe, EpochRecord, Trainer
from tuneoff.trainer.errors import (
    CheckpointError,
    DataError,
    Diverged,
    Interrupted,
    ModelError,
    OwnCodeError,
)
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import Recipe

log = logging.getLogger(__name__)

LINES, LONGEST_LINE = 10, 300
"""Of what a failed command printed, so many lines of so many characters are kept."""

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
    patience = _patience(claim)
    tick = Tick(claim, stop, Watchdog(patience, lambda: _end_hung_process(claim, patience)))
    with Uploads(trial, claim.attempt, trainer, stop) as uploads:
        outcome = _train_and_score(claim, trainer, tick, uploads)
    trial.study.ledger.step(record, trial, claim.attempt, outcome)
    return outcome


def _train_and_score(claim: Claim, trainer: Trainer, tick: Tick, uploads: Uploads) -> Outcome:
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


def _outcome(claim: Claim, trainer: Trainer, tick: Tick, uploads: Uploads) -> Outcome:
    """Train, and translate each way in which that may end."""
    trial = claim.trial
    run = replace(trial.run, recipe=trainer.resolve(trial.run.recipe))
    seen: list[EpochRecord] = []
    try:
        outcome = _train(claim, run, trainer, tick, uploads, seen)
        if isinstance(outcome, Completed) and trial.search.kind == "horizon":
            score_test(claim, run, trainer, reported_test(seen))
        elif isinstance(outcome, Completed) and trial.study.spec.table is not None:
            score_test(claim, run, trainer, row_notes(trainer, seen))
        elif isinstance(outcome, Completed) and trial.search.kind != "arm":
            score(claim, run, trainer, tick, uploads, seen)
        return outcome
    except BeyondBudget as error:
        log.warning("%s is not resumed: %s", trial, error)
        return Unaffordable(str(error))
    except Diverged as error:
        if trial.study.spec.table is not None:
            trial.note_as_owner(claim.attempt, row_notes(trainer, seen))
        before = sum(epoch.seconds for epoch in seen if not epoch.replayed)
        return Divergence(error.epoch, before + error.seconds)
    except Interrupted as error:
        return Interruption(str(error))
    except UNFIT as error:
        return Interruption(str(error), fatal=error)
    except (LeaseLost, StorageOutage):
        raise
    except OwnCodeError as error:
        log.error("%s: %s", trial, error)
        if error.lines:
            kept = tuple(printable(line)[:LONGEST_LINE] for line in error.lines[-LINES:])
            trial.note_as_owner(claim.attempt, PRINTED.entry(kept))
        return Failure(str(error))
    except Exception as error:
        log.exception("%s: the trainer failed", trial)
        return Failure(f"{type(error).__name__}: {error}".splitlines()[0])


def _train(
    claim: Claim,
    run: Run,
    trainer: Trainer,
    tick: Tick,
    uploads: Uploads,
    seen: list[EpochRecord],
) -> Outcome:
    """Enter and report each epoch, and stop after the one after which the run is to stop.

    Args:
        seen: every epoch's record is added to it, those of earlier attempts too.
    """
    trial, attempt, ledger = claim.trial, claim.attempt, claim.trial.study.ledger
    entered = claim.before.reached if claim.before else 0
    decided = _last_decided_epoch(claim)
    start, trained, seconds = Start(claim, tick), 0, 0.0
    with closing(_epochs(claim, run, trainer, start, uploads)) as records:
        for record in records:
            epoch = as_stored(trial.study.metric, run.recipe, record)
            seen.append(epoch)
            if epoch.replayed:
                start.resumed = epoch.epoch
                if epoch.epoch > entered:
                    start.seconds_before += epoch.seconds
                    ledger.resumed_from(attempt, epoch.epoch, claim.before, start.seconds_before)
            else:
                start.enter()
                trained += 1
                seconds += epoch.seconds
                ledger.progress(attempt, trained, seconds)
                uploads.put()
            if (epoch.epoch > entered or not epoch.replayed) and _is_out_of_time(trial):
                return OutOfTime(epoch.epoch, trial.search.seconds or 0.0)
            trial.report(epoch.epoch, epoch.validation_error)
            if epoch.accumulation > _accumulation(run.recipe) and not epoch.replayed:
                trial.note(ACCUMULATION.entry(epoch.accumulation))
            asks = epoch.epoch > decided or not epoch.replayed
            if (outcome := _after_epoch(claim, run, epoch, asks)) is not None:
                return outcome
    raise RuntimeError(f"the trainer ended before epoch {run.recipe.epochs} of its recipe")


def _accumulation(recipe: AnyRecipe) -> int:
    """The parts of a batch that a recipe asks for; own code knows nothing of such."""
    return recipe.accumulation if isinstance(recipe, Recipe) else 1


def _is_out_of_time(trial: TrialRef) -> bool:
    """True if the search may train no further, by what its workers have entered."""
    seconds = trial.search.seconds
    if seconds is None:
        return False
    now = trial.study.ledger.step(read_state, trial.study, trial.search)
    return now.is_out_of_time(seconds)


def _epochs(
    claim: Claim, run: Run, trainer: Trainer, start: Start, uploads: Uploads
) -> Generator[EpochRecord, None, None]:
    """The trainer's records, from the newest checkpoint on, wherever that was written."""
    fetch(claim.trial, claim.before, start.tick)
    try:
        records = trainer.train(run.recipe, run.params, run.seed, claim.trial.folder, start)
        # A command shows signs of life by itself; a loop that is called has none to show.
        loop = isinstance(run.recipe, OwnTraining) and run.recipe.trainer is not None
        with start.tick.watchdog, start.tick.heart.beating() if loop else nullcontext():
            yield from start.tick.watchdog.over(records)
    except Interrupted:
        uploads.put()  # the checkpoint was written within an epoch
        raise
    except Diverged:
        start.enter_if_clear()  # its epochs are counted from there
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


def _patience(claim: Claim) -> float:
    """After how many seconds without a sign of life the trainer counts as hung.

    A user's own loop is called, and gives none before its epoch ends, unless it asks whether to
    stop: [workers] ``epoch_seconds`` is for it.
    """
    workers = claim.trial.study.spec.workers
    loop = claim.trial.study.spec.trial.trainer is not None
    return max(workers.grace_seconds, workers.epoch_seconds) if loop else workers.grace_seconds


def _end_hung_process(claim: Claim, patience: float) -> None:
    """Give up the attempt and this process with it: a launcher starts another."""
    loop = claim.trial.study.spec.trial.trainer is not None
    missing = "epoch ended (see [workers] epoch_seconds)" if loop else "batch ended"
    reason = f"the trainer hung: no {missing} in {patience:g} s"
    log.error("%s: %s; this worker ends", claim.trial, reason)
    with suppress(LeaseLost, *OUTAGES):
        attempts.close(claim.trial.study.database, claim.attempt, "lost", reason)
    os._exit(1)
