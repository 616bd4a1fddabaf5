"""Why there is no comparison, and which arms came to nothing, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.messages import counted
from tuneoff.search.results.comparison import ArmSummary
from tuneoff.search.results.records import StudyResults


def nothing_to_compare(results: StudyResults, arms: Sequence[ArmSummary], reference: str) -> str:
    """Why there is no comparison, in one sentence.

    Args:
        results: of a study in which no arm can be compared with ``reference``.
        arms: what the arms of these results came to.
    """
    if all(has_diverged(arm) for arm in arms):
        runs = counted(sum(arm.states["diverged"] for arm in arms), "run")
        return f"Nothing to compare: every run diverged ({runs}); search lower rates in [space]."
    if all(_all_are("failed", arm) for arm in arms):
        trials = counted(sum(arm.states["failed"] for arm in arms), "trial")
        return f"Nothing to compare: every trial failed ({trials}); `tuneoff status` shows why."
    if not any(arm.spent or arm.repeats for arm in arms):
        return "Nothing has been run yet."
    if len(arms) == 1:
        return f"Nothing to compare: {reference} is the study's only arm."
    ours = next(arm for arm in arms if arm.arm == reference)
    if not ours.repeats and _is_too_short(ours):
        return (
            f"Nothing to compare: no run of {reference} ended within its time; give more of it in"
            " [budget], or lower epochs in [trial]."
        )
    if not ours.repeats:
        return f"Nothing to compare yet: {reference} has no finished trial."
    if not any(arm.repeats for arm in arms if arm.arm != reference):
        return f"Nothing to compare yet: {reference} is the only arm with a finished trial."
    if not _share_a_repeat(results, reference):
        return (
            f"Nothing to compare yet: {reference} and another arm have no repeat in common with"
            " finished trials of both."
        )
    return (
        "Nothing to compare: epochs in [compare] is too small to train both recommendations of any"
        f" pair in full. {_enough(results)}"
    )


def _is_too_short(arm: ArmSummary) -> bool:
    """True if an arm has spent its seconds before any run came to its end."""
    return arm.budget_seconds is not None and arm.seconds >= arm.budget_seconds


def _share_a_repeat(results: StudyResults, reference: str) -> bool:
    """True if the reference and another arm have a recommendation in the same repeat."""
    found = {(run.arm, run.repeat) for run in results.runs if run.recommendation is not None}
    ours = {repeat for arm, repeat in found if arm == reference}
    return any(repeat in ours for arm, repeat in found if arm != reference)


def _enough(results: StudyResults) -> str:
    if results.full_epochs is None:
        return "Raise it, or take it out."
    pair = f"{2 * results.full_epochs:,} epochs"
    return f"To train one pair's once takes {pair}: give at least these, or no bound."


def has_diverged(arm: ArmSummary) -> bool:
    """True if every run of an arm diverged."""
    return _all_are("diverged", arm)


def _all_are(state: str, arm: ArmSummary) -> bool:
    return {one for one, count in arm.states.items() if count} == {state}


def diverged_arms(arms: Sequence[ArmSummary]) -> str:
    """A sentence on the arms of which every run diverged; empty if there are none."""
    found = [arm for arm in arms if has_diverged(arm)]
    if not found:
        return ""
    runs = " and ".join(f"{arm.arm} ({counted(arm.states['diverged'], 'run')})" for arm in found)
    return f" Every run of {runs} diverged, which counts as guessing."
