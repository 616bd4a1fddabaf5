"""The worker's loop: claim a trial, run it, tell, until there is nothing left to do."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuneoff.search.errors import LeaseLost, TrainingFailed
from tuneoff.search.store.attempts import Attempt, Worker
from tuneoff.search.study.study import Search, Study
from tuneoff.search.work.claim import Claim, Nothing, claim
from tuneoff.search.work.crew import Crew, Health
from tuneoff.search.work.outcome import Failure, Interruption
from tuneoff.search.work.sharing import in_order
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
        searches: in order of preference; those of repeats that are opened meanwhile are added.
        stop: True once this worker was asked to leave.
        advance: called when nothing is left; returns True if it made more work.

    Raises:
        ArtifactError, ArtifactOutage, CheckpointError, DataError, ModelError: this machine cannot
            train the trial, or not keep what it trains; it waits for a worker that can.
        StorageOutage: the database stayed away for too long.
        TrainingFailed: one trial after another failed here; something is wrong with this worker.
    """
    done, waiting = 0, _Waiting()
    health = Health(worker, study.spec.workers.max_attempts)
    while not stop():
        standing = study.ledger.step(study.standing)
        if standing.draining:
            break
        if standing.repeats > study.repeats:
            study, searches = _with_new_repeats(study, searches, standing.repeats)
            waiting = _Waiting()
        found = _find_work(study, searches, worker, waiting)
        if found is Nothing.DONE:
            # Whoever only searches has not heard of a repeat that was opened since.
            if advance() or study.ledger.step(study.standing).repeats > study.repeats:
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
        health.note(str(found.trial), failed=isinstance(outcome, Failure))
        if isinstance(outcome, Failure):
            if health.is_sick:
                raise TrainingFailed(
                    f"{health.failures} on {worker.name} ({worker.device}); the last: "
                    f"{outcome.reason}; look after this machine: others can go on with the trials"
                )
            _rest(health.pause(study.ledger.step(Crew.of, study, worker.name)), stop)
    return Summary(done, stopped=True)


def _with_new_repeats(
    study: Study, searches: Sequence[Search], repeats: int
) -> tuple[Study, Sequence[Search]]:
    """The study with so many open repeats, and what there is to do with their searches added."""
    grown = study.grown(repeats)
    new = [search for search in grown.arms if search.repeat >= study.repeats]
    return grown, (*searches, *new)


def _rest(seconds: float, stop: Callable[[], bool]) -> None:
    """Let others come first, unless asked to leave."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stop():
        time.sleep(min(left, POLL_SECONDS))


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
    """A trial of the first search that has one, in the order in which they are looked at."""
    names = [search.name for search in searches]
    live = study.ledger.live(names)
    if waiting.is_in_vain(live, study.spec.workers.grace_seconds):
        return Nothing.WAIT
    for again in (False, True):
        answers: set[Nothing] = set()
        for search in in_order(study, searches, live):
            found = claim(study, search, worker, again=again)
            if isinstance(found, Claim):
                return found
            answers.add(found)
        if Nothing.AGAIN not in answers:
            break
    answer = Nothing.DONE if answers == {Nothing.DONE} else Nothing.WAIT
    waiting.note(live)
    return answer
