"""The trainer's tick: keeps a trial while it lasts, and enters where its run really starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from tuneoff.messages import counted
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import DIVERGED
from tuneoff.search.study.state import history, read_state
from tuneoff.search.work.claim import Claim
from tuneoff.search.work.heartbeat import Heartbeat
from tuneoff.search.work.watchdog import Watchdog

log = logging.getLogger(__name__)


class Tick:
    """Keeps the trial while its epochs last, and passes on the wish to stop."""

    def __init__(self, claim: Claim, stop: Callable[[], bool], watchdog: Watchdog) -> None:
        self._claim, self._stop = claim, stop
        self.watchdog = watchdog
        self.every = min(claim.trial.study.spec.workers.grace_seconds / 10, 15.0)
        self._last = time.monotonic()
        self.heart = Heartbeat(self._touch, self.every)

    def __call__(self) -> bool:
        self.heart.check()
        with self.watchdog.resting():  # the database may be away for longer than a trainer may
            if time.monotonic() - self._last > self.every:
                self._touch()
        return self._stop()

    def _touch(self) -> None:
        self._claim.trial.study.ledger.touch(self._claim.attempt)
        self._last = time.monotonic()


class BeyondBudget(Exception):
    """A run that was paused starts lower than the ledger says; the budget does not allow that."""


class Start:
    """Enters in the ledger where a run really starts, before its first epoch has been trained.

    It is the trainer's tick: the first one comes when the trainer has read its checkpoint, and all
    that it replays has been seen.

    Attributes:
        resumed: the last epoch that was replayed.
        seconds_before: that the attempt before this one took, as far as that is known.
    """

    def __init__(self, claim: Claim, tick: Tick) -> None:
        self.resumed = 0
        self.seconds_before = claim.before.seconds if claim.before else 0.0
        self.tick = tick
        self._claim, self._entered = claim, False

    def __call__(self) -> bool:
        self.enter_if_clear()
        return self.tick()

    def enter_if_clear(self) -> None:
        """Enter it, unless the only epoch that is missing may be one in which the run diverged.

        Such an epoch leaves no checkpoint, is paid for already, and will diverge again. If it does
        not, its record makes that clear.
        """
        trial, missing = self._claim.trial, self.resumed + 1
        may_diverge = trial.last_epoch < missing or DIVERGED.get(trial.stored) == missing
        if self._claim.attempt.from_epoch != missing or not may_diverge:
            self.enter()

    def enter(self) -> None:
        """Enter it, once.

        Raises:
            BeyondBudget: nothing was entered.
        """
        if not self._entered:
            with self.tick.watchdog.resting():
                self._claim.trial.study.ledger.step(
                    _enter_start, self._claim, self.resumed, self.seconds_before
                )
            self._entered = True


def _enter_start(claim: Claim, epoch: int, seconds_before: float) -> None:
    """Enter where a run starts. What was trained above that is trained and paid for again.

    A run that was cut off is brought to its end, even if the budget is too small for that: what it
    costs beyond the budget is the ledger's, and ``status`` and the report say so.

    Raises:
        BeyondBudget: the run was paused, and the search's budget does not allow that; nothing was
            entered.
    """
    trial, attempt = claim.trial, claim.attempt
    study, search = trial.study, trial.search
    again = attempt.from_epoch - epoch
    if again <= 0:
        attempts.resumed_from(study.database, attempt, epoch, claim.before, seconds_before)
        return
    with study.database.lock(search.name):
        left = history(study, search, read_state(study, search)).remaining
        gone = f"its checkpoint of epoch {attempt.from_epoch} is gone from {trial.folder}"
        if study.spec.is_own:
            code = study.spec.trial.own_training().code
            gone = f"{code} saved nothing to go on from after epoch {attempt.from_epoch}"
            if not study.spec.trial.resumable:
                gone = f"{code} cannot go on where it was stopped (resumable = false)"
            elif study.spec.trial.trainer is not None:
                gone += ", or says that it cannot (resumable = False)"
        beyond = max(0, again - max(0, left))
        if beyond and claim.before is not None and claim.before.end == "paused":
            raise BeyondBudget(
                f"{gone}, and the budget is too small to train {counted(again, 'epoch')} again"
            )
        said = f", {beyond} of them beyond the budget" if beyond else ""
        log.warning("%s: %s; %d epochs are trained again%s", trial, gone, again, said)
        attempts.resumed_from(study.database, attempt, epoch, claim.before, seconds_before)
