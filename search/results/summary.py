"""A comparison in short: for scripts that want the outcome and the settings, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from tuneoff.search.results.comparison import Comparison, PairwiseComparison
from tuneoff.search.results.decision.look import Outcome
from tuneoff.search.results.export_file import Exported


@dataclass(frozen=True, slots=True)
class PairSummary:
    """The reference against one baseline. Errors and differences are 0 to 1.

    Attributes:
        baseline: the arm's name.
        outcome: "better", "worse", "equivalent" or "undecided", of the reference.
        difference: the baseline's error minus the reference's: positive means that the reference
            is better.
        low, high: the interval that decides; None while nothing is known of the noise.
        confidence: of that, 0 to 1.
        measure: which errors are compared.
        repeats: how many paired repeats are in.
        planned: how many the study has.
        margin: the smallest difference of interest; None if there is none.
        cost: what share of the baseline's epochs the reference needed to be as good; None where it
            never was, or where there is no curve: ``never`` says which.
        cost_low, cost_high: 95% interval of that; None where it is infinite or not known.
        never: True if the reference was never as good within its own budget.
        more_repeats: how many more would probably decide; None if decided, or if no sensible
            number would.
        sentence: the outcome in plain words.
    """

    NOT_FINITE: ClassVar = ("cost", "cost_low", "cost_high")

    baseline: str
    outcome: Outcome
    difference: float
    low: float | None
    high: float | None
    confidence: float
    measure: str
    repeats: int
    planned: int
    margin: float | None
    cost: float | None
    cost_low: float | None
    cost_high: float | None
    never: bool
    more_repeats: int | None
    sentence: str


@dataclass(frozen=True, slots=True)
class SettingsToUse:
    """The configuration to use.

    Attributes:
        params: the searched parameters.
        source: where it was found, "ARM/REPEAT#TRIAL".
        evidence: what is known of it, see ``export.evidence_of``.
        command: writes it into a file, and trains it from there.
    """

    params: Mapping[str, Any]
    source: str
    evidence: Mapping[str, float | str]
    command: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A comparison in short.

    Attributes:
        study: the study's name.
        reference: the arm that the others are compared with; None for a study with no arms.
        decided: True if the first pair is.
        answer: the answer in plain words, about the first pair.
        pairs: one for each baseline, the hand-tuned arm first.
        settings: to be used; None before a configuration has finished, and if all diverged.
    """

    study: str
    reference: str | None
    decided: bool
    answer: str
    pairs: tuple[PairSummary, ...]
    settings: SettingsToUse | None


def summarise(comparison: Comparison, best: Exported | None, command: str) -> Summary:
    """What a script wants to know of a comparison.

    Args:
        comparison: of the study's arms.
        best: the configuration to use, if there is one.
        command: that trains it.
    """
    return Summary(
        study=comparison.study,
        reference=comparison.reference,
        decided=comparison.decided,
        answer=comparison.verdict,
        pairs=tuple(map(_pair, comparison.pairs)),
        settings=None if best is None else _settings(best, command),
    )


def _pair(pair: PairwiseComparison) -> PairSummary:
    cost = pair.cost
    return PairSummary(
        baseline=pair.baseline,
        outcome=pair.quality,
        difference=pair.mean,
        low=pair.low,
        high=pair.high,
        confidence=pair.confidence,
        measure=pair.measure,
        repeats=len(pair.repeats),
        planned=pair.planned,
        margin=pair.margin,
        cost=None if cost is None else cost.share,
        cost_low=None if cost is None else cost.low,
        cost_high=None if cost is None else cost.high,
        never=cost is not None and cost.never,
        more_repeats=pair.more_repeats,
        sentence=pair.sentence,
    )


def _settings(best: Exported, command: str) -> SettingsToUse:
    return SettingsToUse(
        params=best.params,
        source=best.source,
        evidence=best.evidence,
        command=command,
    )
