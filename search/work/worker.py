"""The worker's loop: claim a trial, run it, tell, until there is nothing left to do."""

from __future__ import annotations

import logging
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuneoff.search.errors import LeaseLost, TrainingFailed
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.study.study import Search, Study
from tuneoff.search.work.claim import Claim, Nothing, claim
from tuneoff.search.work.outcome import Failure, Interruption
from tuneoff.search.work.trial import run_trial
from tuneoff.trainer.contract import Trainer

log = logging.getLogger(__name__)

POLL_SECONDS, LONGEST_POLL_SECONDS = 0.3, 3.0
"""Pauses while others are at work: the first one, and the longest."""
ASK_SECONDS = 15.0
"""After so long everything is asked again, even if nobody's attempt has ended."""


@dataclass(frozen=True)
class Summary:
    """What a worker did.

    Attributes:
        attempts: at trials, however they ended.
        stopped: True if it was asked to leave before the work was done.
    """

    attempts: int
    stopped: bool


def work(
    study: Study,
    searches: Sequence[Search],
    trainer: Trainer,
    worker: Worker,
    stop: Callable[[], bool],
    advance: Callable[[], bool] = lambda: False,
) -> Summary:
    """Run trials of these searches until none is left.

    Args:
        searches: in order of preference.
        stop: True once this worker was asked to leave.
        advance: called when nothing is left; returns True if it made more work.

    Raises:
        ArtifactError, ArtifactOutage, CheckpointError, DataError, ModelError: this machine cannot
            train the trial, or not keep what it trains; it waits for a worker that can.
        StorageOutage: the database stayed away for too long.
        TrainingFailed: trial after trial failed here; something is wrong with this worker.
    """
    done = failures = 0
    waiting = _Waiting()
    while not (stop() or study.ledger.step(study.is_draining)):
        found = _find_work(study, searches, worker, waiting)
        if found is Nothing.DONE:
            if advance():
                waiting = _Waiting()
                continue
            return Summary(done, stopped=False)
        if isinstance(found, Nothing):
            waiting.sleep()
            continue
        waiting = _Waiting()
        log.info(
            "%s: attempt %d, epochs %d to %d",
            found.trial,
            found.attempt.number,
            found.attempt.from_epoch,
            found.attempt.until_epoch,
        )
        try:
            outcome = run_trial(found, trainer, stop)
        except LeaseLost as error:
            log.warning("%s; leaving it", error)
            continue
        done += 1
        if isinstance(outcome, Interruption) and outcome.fatal is not None:
            raise outcome.fatal
        failures = failures + 1 if isinstance(outcome, Failure) else 0
        if failures >= study.spec.workers.max_attempts:
            assert isinstance(outcome, Failure)
            raise TrainingFailed(
                f"{failures} attempts in a row failed on {worker.name}; the last: {outcome.reason}"
            )
    return Summary(done, stopped=True)


@dataclass
class _Waiting:
    """What a worker saw when there was nothing for it to do.

    At the end of a study most workers wait for the last runs. If each of two hundred workers asked
    each of thirty searches for work three times a second, the database would have no time left for
    the workers that still train. So a worker that waits asks rarely, and only one question: has an
    attempt begun or ended? While none has, no search can have work.
    """

    live: frozenset[str] = frozenset()
    asked: float = -math.inf
    pause: float = POLL_SECONDS

    def sleep(self) -> None:
        time.sleep(self.pause * random.uniform(0.5, 1.5))
        self.pause = min(self.pause * 1.5, LONGEST_POLL_SECONDS)

    def is_in_vain(self, live: Sequence[Attempt], grace_seconds: float) -> bool:
        """True if nothing can have changed since everything was asked."""
        return (
            self.live == {attempt.token for attempt in live}
            and not any(attempt.is_stale(grace_seconds) for attempt in live)
            and time.monotonic() - self.asked < ASK_SECONDS
        )

    def note(self, live: Sequence[Attempt]) -> None:
        """Everything was asked when these attempts were live, and there was nothing."""
        self.live, self.asked = frozenset(attempt.token for attempt in live), time.monotonic()


def _find_work(
    study: Study, searches: Sequence[Search], worker: Worker, waiting: _Waiting
) -> Claim | Nothing:
    """A trial of the first search with the fewest workers that has one."""
    names = [search.name for search in searches]
    live = study.ledger.live(names)
    if waiting.is_in_vain(live, study.spec.workers.grace_seconds):
        return Nothing.WAIT
    busy = Counter(attempt.search for attempt in live)
    answer = Nothing.DONE
    for search in sorted(searches, key=lambda s: (s.repeat, busy[s.name])):
        found = claim(study, search, worker)
        if isinstance(found, Claim):
            return found
        if found is Nothing.WAIT:
            answer = Nothing.WAIT
    waiting.note(live)
    return answer
