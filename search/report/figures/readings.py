"""What the sentences under figures have in common: how far the study is, and how numbers look."""

from __future__ import annotations

from tuneoff.search.report.data import ReportData
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.compare import names_of

_NOT_ENDED = ("running", "waiting", "paused")


def under_way(data: ReportData) -> bool:
    """True while what the figures show may still change: sentences then say "so far"."""
    return any(
        run.recommendation is None
        or not run.recommendation.finished
        or any(run.states.get(state) for state in _NOT_ENDED)
        for run in data.results.runs
    )


def so_far(data: ReportData) -> str:
    """ " so far" while the study is under way, else nothing."""
    return " so far" if under_way(data) else ""


def main_arms(data: ReportData) -> list[str]:
    """The arms in the order in which readers ask for them: reference, baselines, all others."""
    comparison = data.comparison
    first = [comparison.reference] if comparison.reference is not None else []
    return list(
        dict.fromkeys([*first, *(pair.baseline for pair in comparison.pairs), *data.results.arms])
    )


def names(data: ReportData) -> dict[str, ArmName]:
    """What each arm is called in a sentence."""
    return names_of(data.results)
