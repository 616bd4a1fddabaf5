"""Which recommendations are left out of the comparison, because [compare] epochs is too small."""

from __future__ import annotations

from collections.abc import Iterable

from tuneoff.search.results.records import StudyResults


def unjudged_sentence(results: StudyResults) -> str | None:
    """Which recommendations are not trained in full and not compared; None if all are."""
    return sentence_about(
        (run.arm, run.repeat)
        for run in results.runs
        if run.recommendation is not None and not run.recommendation.judged
    )


def sentence_about(picks: Iterable[tuple[str, int]]) -> str | None:
    """The same of these arms and repeats, repeats being counted from 0."""
    repeats: dict[str, list[str]] = {}
    for arm, repeat in sorted(picks, key=lambda pick: pick[1]):
        repeats.setdefault(arm, []).append(str(repeat))
    if not repeats:
        return None
    of = "; ".join(f"{arm}, repeat {', '.join(found)}" for arm, found in repeats.items())
    return (
        "The bound on full training, epochs in [compare], is too small for every recommendation."
        f" Left out of the comparison are: {of}. A larger bound judges them, too."
    )
