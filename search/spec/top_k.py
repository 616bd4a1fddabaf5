"""How the sampler "top-k" shares out a budget: how many configurations first, how many in full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from tuneoff.search.spec.arm_section import ArmSpec

SHARE: Final = 0.5
"""Of the budget that goes to the first epochs, where the study file does not say."""
FIRST: Final = 17
"""A full run has so many times the epochs of a first one, where the study file does not say. Both
were chosen on LCBench's four development data sets: see ``benchmarks/RESULTS.md``."""


@dataclass(frozen=True)
class TopKPlan:
    """What the budget pays for if no run diverges and no work is lost.

    Attributes:
        first: epochs of each candidate's first run, at most those of a full one.
        candidates: configurations that are trained for those.
        full: of these, how many are trained to the end.
    """

    first: int
    candidates: int
    full: int

    @classmethod
    def of(cls, settings: ArmSpec, horizon: int, budget: int) -> Self:
        """The plan of an arm of the study file, with defaults for what it leaves open.

        With n candidates of r epochs, and k full runs of H epochs, n * r + k * (H - r) is at most
        the budget. What it leaves over after k full runs goes to further candidates.

        Args:
            horizon: epochs of a full run.
            budget: epochs for all runs, at least those of a full one.

        Raises:
            ValueError: the budget does not pay for what the arm asks for.
        """
        first = min(settings.min_epochs or max(1, round(horizon / FIRST)), horizon)
        rest = horizon - first
        _check(settings, first, rest, budget)
        if not rest:  # nothing to choose by: every run is a full one
            count = min(settings.candidates or settings.full or budget, budget // horizon)
            return cls(first, count, count)
        candidates = settings.candidates
        if candidates is None and settings.full is not None:
            candidates = (budget - settings.full * rest) // first
        elif candidates is None:
            # At least as many as there can be full runs, at most what leaves one.
            wanted = max(int(SHARE * budget) // first, budget // horizon)
            candidates = min(wanted, (budget - rest) // first)
        full = settings.full or min(candidates, (budget - candidates * first) // rest)
        if settings.candidates is None:
            candidates += (budget - candidates * first - full * rest) // first
        return cls(first, candidates, full)


def _check(settings: ArmSpec, first: int, rest: int, budget: int) -> None:
    """ValueError if the least that the arm asks for is more than the budget."""
    candidates, full = settings.candidates, settings.full
    if candidates is not None and full is not None and full > candidates:
        raise ValueError(
            f"full = {full} is more than candidates = {candidates}, of which they are the best; "
            "lower the one or raise the other"
        )
    least = (candidates or full or 1) * first + (full or 1) * rest
    if least > budget:
        count = candidates or full
        raise ValueError(
            f"{count} configurations for {first} epoch{'s' * (first > 1)} and {full or 1} of them "
            f"in full take {least} epochs, more than budget.epochs = {budget}; raise it, or lower "
            + ("candidates" if candidates is not None else "full")
        )
