"""What several studies say beside each other, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuneoff.metric import ERROR, Metric
from tuneoff.search.results.comparison import Comparison, Cost, MarginFrom
from tuneoff.search.results.decision.look import Outcome
from tuneoff.search.results.records import StudyResults
from tuneoff.search.spec.file import StudySpec


@dataclass(frozen=True, slots=True)
class Member:
    """One of the studies: its settings, and what it has come to.

    Attributes:
        digest: of its images, see ``Task``.
    """

    spec: StudySpec
    results: StudyResults
    comparison: Comparison
    digest: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What one study says of the reference against one baseline.

    Differences are 0 to 1, the baseline's error minus the reference's: positive means that the
    reference is better.

    Attributes:
        baseline: the arm's name.
        missing: why there is no difference, in a sentence; empty where there is one.
        quality: the outcome in this study; None without a difference, as all that follows.
        measure: which errors were compared.
        repeats: how many paired repeats are in.
        planned: how many the study has.
        looks: at how many numbers of repeats the study may look, see ``Pairing``.
        mean: the difference.
        low, high: its interval; None while nothing is known of the noise.
        standard_error: of the difference; None as above.
        margin: the smallest difference of interest; None if there is none.
        margin_from: where that comes from.
        cost: see ``Cost``.
        left_out: why it is not in the pooled difference, in a clause; empty where it is.
        weight: in the pooled difference, 0 to 1; None where it is left out.
        metric: what its errors are; see ``StudyResults``.
    """

    baseline: str
    missing: str = ""
    quality: Outcome | None = None
    measure: str = ""
    repeats: int = 0
    planned: int = 0
    looks: int = 1
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    margin: float | None = None
    margin_from: MarginFrom = "none"
    cost: Cost | None = None
    left_out: str = ""
    weight: float | None = None
    metric: Metric = ERROR


@dataclass(frozen=True, slots=True)
class StudyRow:
    """One study.

    Attributes:
        name: the study's name.
        settings: by title of a column, what it has there; the columns are those in which the
            studies differ.
        others: by key of the study file, values in which it may differ from other studies and
            that have no column.
        entries: one for each baseline of the set, in its order.
    """

    name: str
    settings: Mapping[str, str]
    others: Mapping[str, str]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class PooledRow:
    """All studies together, of the reference against one baseline.

    Attributes:
        baseline: the arm's name.
        studies: names of those that are pooled; with fewer than two there are no numbers.
        measure: which errors were compared in them.
        quality: what the interval says; None without one.
        mean: the mean difference over studies like these, 0 to 1.
        low, high: its interval.
        confidence: of that, 0 to 1: 0.95 shared among the baselines.
        standard_error: of the mean.
        tau: standard deviation between the studies' true differences, 0 to 1.
        tau_low, tau_high: its 95% interval.
        predicted_low, predicted_high: where the true difference of one more study like these lies
            with 95%; None for fewer than three studies.
        margin: the smallest difference of interest, where all studies declare the same; else None.
        sentence: the outcome, in plain words.
        spread: what is known of how much studies differ, in plain words.
        metric: that of the studies that are pooled.
    """

    baseline: str
    studies: tuple[str, ...]
    measure: str
    quality: Outcome | None
    mean: float | None
    low: float | None
    high: float | None
    confidence: float
    standard_error: float | None = None
    tau: float | None = None
    tau_low: float | None = None
    tau_high: float | None = None
    predicted_low: float | None = None
    predicted_high: float | None = None
    margin: float | None = None
    sentence: str = ""
    spread: str = ""
    metric: Metric = ERROR


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Several studies side by side.

    Attributes:
        reference: the arm that the others are compared with.
        baselines: the others, the hand-tuned arm first.
        columns: titles of what the studies differ in.
        shared: by title, what all of them have in common.
        rows: one for each study, in the order in which they were named.
        pooled: one for each baseline.
        answer: the first baseline's outcome over all studies, in plain words.
        by_study: what each study says of it by itself; empty where nothing is compared.
        notes: what a reader must know beside it, each a sentence.
        rule: how studies are pooled, each a sentence.
    """

    reference: str
    baselines: tuple[str, ...]
    columns: tuple[str, ...]
    shared: Mapping[str, str]
    rows: tuple[StudyRow, ...]
    pooled: tuple[PooledRow, ...]
    answer: str
    by_study: str
    notes: tuple[str, ...]
    rule: tuple[str, ...]
