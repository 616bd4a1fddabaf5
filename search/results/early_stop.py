"""Searches that ended before their budgets were spent, in the words of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuneoff.metric import Metric

if TYPE_CHECKING:
    from tuneoff.search.results.records import ArmRun


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """That a search ended early, as its rule expected too little of going on.

    Attributes:
        gain: by how much the error was expected to fall, 0 to 1.
        within: so many further epochs.
    """

    gain: float
    within: int


def early_stop_note(arm: str, runs: Sequence[ArmRun], metric: Metric) -> str:
    """What became of an arm's searches that ended early, without a full stop; "" if none did."""
    early = [(run, run.early_stop) for run in runs if run.early_stop is not None]
    if not early:
        return ""
    spent = [run.spent for run, _ in early]
    epochs = f"{min(spent):,}" if min(spent) == max(spent) else f"{min(spent):,} to {max(spent):,}"
    gain = max(stop.gain for _, stop in early)
    run, stop = early[0]
    where = "" if len(runs) == 1 else f" in {len(early)} of {len(runs)} repeats"
    most = "expected gain" if len(early) == 1 else "expected gain at most"
    return (
        f"{arm} stopped early{where} after {epochs} of {run.budget:,} epochs: {most}"
        f" {metric.amount(gain)} within {stop.within:,} epochs"
    )
