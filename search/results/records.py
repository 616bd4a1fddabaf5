"""What a study has come to, as plain records that results hand to comparison and report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, ClassVar, Final

from tuneoff.metric import ERROR, Metric
from tuneoff.search.results.decision.rule import Rule
from tuneoff.search.results.early_stop import EarlyStop
from tuneoff.search.study.keys import key_of

TEST: Final = "test error"
FULL_VALIDATION: Final = "validation error of full training"
VALIDATION: Final = "validation error of the search runs"


@dataclass(frozen=True, slots=True)
class Step:
    """The end of one attempt at a trial, in order of time within its arm and repeat.

    Attributes:
        spent: epochs of the arm's budget spent up to and including this attempt.
        trial: the trial's number.
        epoch: the last epoch that the trial has reached.
        error: validation error at that epoch, 0 to 1; that of guessing if it diverged, and NaN if
            that was reported and training went on.
        full: True if that is the trial's last epoch (a full search run).
        diverged: True if training diverged in this attempt; ``full`` is False then.
        seconds: of training of the arm up to and including this attempt.
    """

    NOT_FINITE: ClassVar = ("error",)

    spent: int
    trial: int
    epoch: int
    error: float
    full: bool
    diverged: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Recommendation:
    """The configuration that an arm recommends in one repeat.

    Attributes:
        trial: the trial's number in its study.
        params: the searched parameters.
        validation_error: at the end of its search run, 0 to 1; of guessing if it diverged.
        full_validation_errors: of its finished full trainings, whichever arm or repeat asked for
            them, one for each seed; of guessing if that training diverged.
        test_errors: of the same trainings on the test split; empty where there is none.
        judged: False: the bound on full training is too small to compare it with the other arms'.
        finished: False: it may still change, or full trainings of it are still to come; see
            ``promotion.unfinished_picks``.
    """

    DERIVED: ClassVar = ("key", "full_validation_error", "test_error")

    trial: int
    params: Mapping[str, Any]
    validation_error: float
    full_validation_errors: tuple[float, ...] = ()
    test_errors: tuple[float, ...] = ()
    judged: bool = True
    finished: bool = True

    @property
    def key(self) -> str:
        """Equal for equal parameters: equal recommendations share their full trainings."""
        return key_of(self.params)

    @property
    def full_validation_error(self) -> float | None:
        """Mean over the seeds, 0 to 1; None before the first full training has ended."""
        return fmean(self.full_validation_errors) if self.full_validation_errors else None

    @property
    def test_error(self) -> float | None:
        """Mean over the seeds, 0 to 1; None before the first, or without a test split."""
        return fmean(self.test_errors) if self.test_errors else None


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm in one repeat.

    Attributes:
        arm: the arm's name.
        repeat: 0-based; equal repeats of different arms are paired.
        budget: epochs that it may spend; about, at its pace so far, where its budget is in seconds.
        spent: epochs that it has spent, pruned and lost attempts included.
        seconds: device seconds that it has spent.
        states: number of trials by state ("complete", "pruned", "diverged", "failed",
            "paused", "running", "waiting").
        steps: in order of time; empty before the first attempt ends.
        recommendation: None before the first run has come to its end.
        workers: how many were at work in it at once, at most, if its sampler or pruner learns from
            earlier runs; None if it does not.
        early_stop: how it ended by the study file's rule; None if it did not.
        incumbent_tests: test errors of its successive incumbents, as far as these were trained in
            full, whoever asked for that.
    """

    arm: str
    repeat: int
    budget: int
    spent: int
    seconds: float
    states: Mapping[str, int]
    steps: tuple[Step, ...]
    recommendation: Recommendation | None
    workers: int | None = None
    early_stop: EarlyStop | None = None
    incumbent_tests: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialCurve:
    """One trial of one arm, for tables and figures of single trials.

    Attributes:
        arm, repeat, number: which trial.
        state: "complete", "pruned", "diverged", "failed", "paused", "running" or "waiting".
        params: the searched parameters.
        errors: validation error, 0 to 1, by epoch, counted from 1.
        epochs: trained, in all attempts; seconds: device time that took.
        attempts: how many there were.
        worker, device: of the last attempt; empty before the first.
        note: what somebody wrote beside its configuration, or why it failed; empty if nothing.
    """

    NOT_FINITE: ClassVar = ("errors",)

    arm: str
    repeat: int
    number: int
    state: str
    params: Mapping[str, Any]
    errors: Mapping[int, float]
    epochs: int = 0
    seconds: float = 0.0
    attempts: int = 0
    worker: str = ""
    device: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One worker's attempt at one trial of any search: the ledger's row, for people.

    Attributes:
        arm: the arm's name, or that of a queue: "full", "ensemble", "horizon".
        repeat: 0-based; 0 in queues.
        trial, number: the trial's number, and the attempt's, both from 0.
        worker: "HOST/PID"; device: "cpu", "cuda:0"...
        started, ended: seconds since 1970 UTC, on the database's clock; ended is None while it
            is at work.
        end: "finished", "pruned", "paused", "released", "lost" or "failed"; None while it is at
            work.
        state: the trial's state, as in ``TrialCurve``: a finished attempt may have diverged.
        epochs: that it has trained; seconds: device time that took.
        reason: why it was lost or failed; empty if it was not.
        from_epoch: epochs that the trial had behind it when the attempt began.
    """

    arm: str
    repeat: int
    trial: int
    number: int
    worker: str
    device: str
    started: float
    ended: float | None
    end: str | None
    state: str
    epochs: int
    seconds: float
    reason: str = ""
    from_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A configuration that was trained in full, with all that is known of it.

    Attributes:
        params: the searched parameters.
        source: where it was found, "ARM/REPEAT#TRIAL".
        validation_errors: one for each seed, 0 to 1; of guessing if that training diverged.
        test_errors: one for each seed, 0 to 1; of guessing if that training diverged; empty where
            there is no test split.
        diverged: how many of the trainings diverged.
        expected_error: that the next training is expected to have on validation, 0 to 1; see
            ``tuneoff.search.study.evidence.Runs``.
        search_errors: of its search runs in all arms and repeats that did not diverge, 0 to 1.
        search_diverged: how many search runs diverged.
        search_expected_error: as ``expected_error``, of a search run; None if there was none.
    """

    params: Mapping[str, Any]
    source: str
    validation_errors: tuple[float, ...]
    test_errors: tuple[float, ...]
    diverged: int = 0
    expected_error: float | None = None
    search_errors: tuple[float, ...] = ()
    search_diverged: int = 0
    search_expected_error: float | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One model of the ensemble: errors 0 to 1, weight in the combination."""

    model: str
    validation_error: float
    test_error: float
    weight: float


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The combined models: how ("paper", "mean", ...), and its test error, 0 to 1.

    Attributes:
        params: the searched parameters with which the members were trained; None if not known.
    """

    how: str
    members: tuple[Member, ...]
    test_error: float
    params: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ArmFacts:
    """What an arm is, as far as a reader of a comparison must know.

    Attributes:
        description: what it does, in words ("random search"); empty if that is not known.
        independent: its trials are independent of each other, and each is a full run.
        remarks: in what it differs from the other arms, each a clause without a full stop.
    """

    description: str
    independent: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StudyResults:
    """All that a study has come to, as far as it has come.

    Attributes:
        name: the study's name.
        arms: names in the study file's order.
        repeats: number of paired repeats.
        trial_epochs: epochs of one full search run.
        chance_error: of guessing, 0 to 1; what a run that diverged counts as.
        runs: one for each arm and repeat.
        confirmed: best first, by the expected error of full training.
        ensemble: None until all members are trained.
        rule: when the comparison may end; None: when all repeats are in.
        facts: by arm.
        full_epochs: of a full training; None if there is none.
        budget_seconds: of training that each arm may spend in each repeat, where the budget is in
            seconds; None where it is in epochs.
        metric: what all errors are. They are stored so that lower is better: the value itself, or,
            where ``direction`` is "maximize", 1 minus it for a share (``percent``), else its
            negative.
    """

    name: str
    arms: tuple[str, ...]
    repeats: int
    trial_epochs: int
    chance_error: float
    runs: tuple[ArmRun, ...]
    confirmed: tuple[Confirmed, ...] = ()
    ensemble: Ensemble | None = None
    rule: Rule | None = None
    facts: Mapping[str, ArmFacts] = field(default_factory=dict)
    full_epochs: int | None = None
    metric: Metric = ERROR
    budget_seconds: float | None = None


def runs_of(results: StudyResults, arm: str) -> list[ArmRun]:
    """An arm's runs, in the order of their repeats."""
    return sorted((run for run in results.runs if run.arm == arm), key=lambda run: run.repeat)
