"""How far a study is: what `status` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tuneoff.metric import ERROR, Metric
from tuneoff.search.results.gains import ArmGain, arm_gains, stop_sentences
from tuneoff.search.results.progress import Budgets, beyond_budget, budgets, counts_of
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.attributes import ENDED, STOPPED
from tuneoff.search.store.counts import Counts, failures, full_run_errors
from tuneoff.search.store.moment import moment
from tuneoff.search.store.optuna_tables import read_attribute, read_study_attributes
from tuneoff.search.store.workers import Failing, failing
from tuneoff.search.study import table
from tuneoff.search.study.early_stop import StoredAttributes, early_stops
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.time_budget import seconds_of

if TYPE_CHECKING:
    from tuneoff.search.results.decision.outlook import Outlook

FAILURES = 20
"""A status names no more failed trials than these."""


@dataclass(frozen=True)
class Busy:
    """A live attempt: who runs what, how far, and since when (seconds)."""

    worker: str
    device: str
    trial: str
    attempt: int
    epoch: int
    until_epoch: int
    running: float
    idle: float


@dataclass(frozen=True)
class ArmStatus:
    """An arm over all repeats, or one of the study's queues: full training, for example.

    Attributes:
        spent, budget: epochs; for promoted trials, the budget is what is enqueued, or will be.
        about: True if the budget is not known exactly yet.
        seconds: device seconds spent.
        states: number of trials by state: see ``counts.Counts``. Those that are "interrupted" wait
            for a worker to go on with them.
        best: lowest validation error of a full run that did not diverge, 0 to 1; None before the
            first.
        lost: attempts that were lost or failed.
        budget_seconds: that may be spent; None unless the budget is in seconds.
    """

    name: str
    spent: int
    budget: int
    seconds: float
    states: dict[str, int]
    best: float | None
    lost: int
    about: bool = False
    budget_seconds: float | None = None


@dataclass(frozen=True)
class Status:
    """A study as it stands.

    Attributes:
        seconds_left: device seconds still to come, full training and the ensemble included, divided
            among the workers that are live; each arm's epochs at its own speed so far, or at that
            of all if it has not begun. None while nothing is known or nobody works.
        failures: reasons why trials were told FAIL, newest last: of the ``FAILURES`` newest.
        failing: workers on which one trial after another fails.
        overruns: a sentence for each search that has exceeded its budget.
        gains: what further epochs of each arm would probably bring.
        stopped: a sentence for each search that ended early, by the study file's rule.
        unjudged: which recommendations the bound on full training leaves out; None if it is kept.
        repeats: how many are open.
        ended: why a study that goes on until its arms are decided came to an end; None before.
        outlook: what it will probably cost until then; None while too little is known.
        images: on which search runs are evaluated.
        metric: what errors are, and how they are stored; see ``StudyResults``.
    """

    study: str
    draining: bool
    arms: tuple[ArmStatus, ...]
    busy: tuple[Busy, ...]
    seconds_left: float | None
    failures: tuple[str, ...]
    failing: tuple[Failing, ...] = ()
    overruns: tuple[str, ...] = ()
    gains: tuple[ArmGain, ...] = ()
    stopped: tuple[str, ...] = ()
    unjudged: str | None = None
    repeats: int = 1
    ended: str | None = None
    outlook: Outlook | None = None
    images: int = 0
    metric: Metric = ERROR

    @property
    def all_failed(self) -> bool:
        """True if every trial that there is was told FAIL."""
        states = {one for arm in self.arms for one, count in arm.states.items() if count}
        return states == {"failed"}


def read_status(study: Study) -> Status:
    """How far the study is at this moment, counted by the database."""
    with moment(study.database.engine) as connection:
        standing = table.standing(connection, study.name)
        study = study.grown(standing.repeats)
        names = [search.name for search in study.searches]
        counts = counts_of(connection, study)
        budget = budgets(connection, study, counts)
        failed = failures(connection, names, FAILURES)
        runs = full_run_errors(
            connection, [search.name for search in study.arms], study.metric.percent
        )
        noted = read_attribute(connection, names, STOPPED.name)
        attributes = read_study_attributes(connection, study.full.name)
    stops = early_stops(noted, {name: counted.spent for name, counted in counts.items()})
    arms = [
        replace(_arm(arm, parts, budget), budget_seconds=seconds_of(study, parts))
        for arm in (*study.spec.arms, *_queues(study, counts))
        if (parts := {s.name: counts[s.name] for s in study.searches if s.arm == arm})
    ]
    end = ENDED.get(StoredAttributes(study.full.name, attributes))
    ended = end.reason if end is not None and end.repeats == study.repeats else None
    busy = tuple(_busy(attempt) for each in counts.values() for attempt in each.live)
    going = [search for search in study.searches if search.name not in stops]
    left = {search.name: _left(study, search, counts[search.name], budget) for search in going}
    seconds = _seconds(study, left, arms)
    return Status(
        study=study.name,
        draining=standing.draining,
        arms=tuple(arms),
        busy=busy,
        seconds_left=None if seconds is None or not busy else seconds / len(busy),
        failures=tuple(failed),
        failing=tuple(failing(study.database, names)),
        overruns=tuple(
            sentence
            for search in study.searches
            for sentence in beyond_budget(
                search.name, counts[search.name].spent, search.budget or 0
            )
        ),
        gains=tuple(arm_gains(study, counts, runs)),
        stopped=tuple(stop_sentences(study.spec, sorted(stops.items()))),
        unjudged=_unjudged(study) if counts[study.full.name].states else None,
        repeats=study.repeats,
        ended=ended,
        outlook=_outlook(study) if ended is None else None,
        images=study.task.sizes.get("validation", 0),
        metric=study.metric,
    )


def _unjudged(study: Study) -> str | None:
    if study.spec.compare.epochs is None:
        return None
    # Only here, for the same reason as below.
    from tuneoff.search.results.unjudged import sentence_about
    from tuneoff.search.study.promotion import unjudged_picks
    from tuneoff.search.study.snapshot import Snapshot

    return sentence_about(unjudged_picks(Snapshot.of(study)))


def _outlook(study: Study) -> Outlook | None:
    if study.spec.compare.until != "decided":
        return None
    # Only here: it reads every trial, and needs what takes seconds to import.
    from tuneoff.search.results.decision.judge import outlook_of
    from tuneoff.search.study.snapshot import Snapshot

    return outlook_of(Snapshot.of(study))


def _left(study: Study, search: Search, counted: Counts, budget: Budgets) -> int:
    """Epochs that a search will still train, if every run is a full one."""
    takes = budget.of([search.name])
    if search.kind != "arm":
        return max(0, takes - counted.spent)
    arm, epochs = study.spec.arms[search.arm], study.spec.trial.epochs
    # When somebody will enter one by hand is unknown.
    takes = 0 if arm.configs == () else int(arm.takes(takes, epochs))
    left = max(0, takes - counted.spent)
    # Too little for one more run is never spent.
    return left if counted.live or left >= epochs else 0


def _queues(study: Study, counts: Mapping[str, Counts]) -> list[str]:
    """The queues that the study file has a section for, and any other that has trials."""
    spec = study.spec
    unasked = {
        queue.name
        for queue, section in ((study.full, spec.promote), (study.ensemble, spec.ensemble))
        if section is None and not counts[queue.name].states
    }
    return [queue.arm for queue in study.queues if queue.name not in unasked]


def _seconds(study: Study, left: Mapping[str, int], arms: Sequence[ArmStatus]) -> float | None:
    """What the epochs that are left of each search take on one device; None before the first."""
    trained, seconds = sum(arm.spent for arm in arms), sum(arm.seconds for arm in arms)
    if not trained:
        return None
    speeds = {arm.name: arm.seconds / arm.spent for arm in arms if arm.spent}
    return sum(
        left.get(search.name, 0) * speeds.get(search.arm, seconds / trained)
        for search in study.searches
    )


def _arm(arm: str, parts: Mapping[str, Counts], budget: Budgets) -> ArmStatus:
    states: Counter[str] = Counter()
    for part in parts.values():
        states.update(part.states)
    return ArmStatus(
        name=arm,
        spent=sum(part.spent for part in parts.values()),
        budget=budget.of(parts),
        seconds=sum(part.seconds for part in parts.values()),
        states=dict(states),
        best=min((part.best for part in parts.values() if part.best is not None), default=None),
        lost=sum(part.lost for part in parts.values()),
        about=budget.is_about(parts),
    )


def _busy(attempt: Attempt) -> Busy:
    return Busy(
        worker=attempt.worker,
        device=attempt.device,
        trial=f"{attempt.search}#{attempt.trial}",
        attempt=attempt.number,
        epoch=attempt.reached,
        until_epoch=attempt.until_epoch,
        running=attempt.progressed + attempt.idle - attempt.started,
        idle=attempt.idle,
    )
