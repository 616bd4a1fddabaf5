"""What further epochs of each arm's search would probably bring, and which searches have ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tuneoff.search.policies.gain import LEAST_RUNS, FullRuns, Gain, Kind, forecast
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attributes import StoredStop
from tuneoff.search.store.counts import Counts
from tuneoff.search.study.study import Search, Study

LEVEL = 0.8
"""Probability of the interval of a gain."""
BUDGET_SHARE = 4
"""Without a rule in the study file, a forecast is for one of so many parts of the budget."""


@dataclass(frozen=True)
class ArmGain:
    """By how much an arm's best validation error falls if its searches are trained further.

    Attributes:
        arm: its name.
        epochs: more of each search.
        searches: how many searches have a forecast; one of these, at random, is what is forecast.
        mean: the expected fall, 0 to 1; None without a forecast.
        low, high: an interval that holds it with probability ``LEVEL``, as much on either side.
        why_not: why there is no forecast; empty if there is one.
    """

    arm: str
    epochs: int
    searches: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    why_not: str = ""


def epochs_ahead(spec: StudySpec) -> int:
    """How far a forecast looks: as far as the study file's rule, else a share of the budget.

    Where the budget is in seconds, it looks one full run ahead.
    """
    rule = spec.budget.stop_rule
    return (
        rule.epochs if rule else max(spec.trial.epochs, (spec.budget.epochs or 0) // BUDGET_SHARE)
    )


def arm_gains(
    study: Study, counts: Mapping[str, Counts], runs: Mapping[str, tuple[list[float], int]]
) -> list[ArmGain]:
    """The forecast of each arm.

    Args:
        counts: of each search.
        runs: of each search with a full run, the errors and how many runs diverged.
    """
    found, ahead = [], epochs_ahead(study.spec)
    for arm, settings in study.spec.arms.items():
        if settings.method is None:
            why = "its list is run to the end, and nothing comes after it"
            found.append(ArmGain(arm, ahead, 0, why_not=why))
            continue
        kind = Kind.of(settings.method, settings.pruner)
        mine = [_full_runs(study, s, counts, runs) for s in study.arms if s.arm == arm]
        gains = [forecast(one, ahead, kind) for one in mine if one.enough]
        found.append(_pooled(arm, ahead, gains))
    return found


def _full_runs(
    study: Study,
    search: Search,
    counts: Mapping[str, Counts],
    runs: Mapping[str, tuple[list[float], int]],
) -> FullRuns:
    errors, diverged = runs.get(search.name, ([], 0))
    counted = counts[search.name]
    trained = counted.spent - sum(attempt.epochs for attempt in counted.live)
    return FullRuns.of(errors, diverged, trained, study.worst, study.metric.percent)


def _pooled(arm: str, ahead: int, gains: Sequence[Gain]) -> ArmGain:
    if not gains:
        why = f"no search has {LEAST_RUNS} full runs yet that are better than guessing"
        return ArmGain(arm, ahead, 0, why_not=why)
    return ArmGain(
        arm=arm,
        epochs=ahead,
        searches=len(gains),
        mean=sum(gain.mean for gain in gains) / len(gains),
        low=mixed_quantile(gains, (1 - LEVEL) / 2),
        high=mixed_quantile(gains, (1 + LEVEL) / 2),
    )


def mixed_quantile(gains: Sequence[Gain], share: float) -> float:
    """The fall that one of these forecasts, at random, does not exceed with this probability."""

    def below(fall: float) -> float:
        return sum(gain.below(fall) for gain in gains) / len(gains)

    if below(0.0) >= share:
        return 0.0
    low, high = 0.0, max(gain.quantile(share) for gain in gains)
    for _ in range(50):  # halves a difference of 1 to less than 1e-15
        middle = (low + high) / 2
        if below(middle) < share:
            low = middle
        else:
            high = middle
    return high


def stop_sentences(spec: StudySpec, stops: Iterable[tuple[str, StoredStop]]) -> list[str]:
    """A sentence for each search that ended early."""
    rule, metric = spec.budget.stop_rule, spec.metric.metric()
    if rule is None:
        return []
    return [
        f"{name} stopped early after {stop.spent:,} of {spec.budget.epochs:,} epochs: expected gain"
        f" {metric.amount(stop.gain)} within {rule.epochs:,} epochs."
        for name, stop in stops
    ]
