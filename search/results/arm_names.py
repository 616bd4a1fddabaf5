"""What arms are called in a sentence: by what they do, and by their own name where it says more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

USUAL = {
    "bayes": "Bayesian optimisation",
    "hand": "hand tuning",
    "random": "random search",
    "grid": "grid search",
    "quasi-random": "quasi-random search",
    "one-at-a-time": "one-at-a-time tuning",
    "top-k": "top-k selection",
}
"""Names that say no more than what such an arm does."""


@dataclass(frozen=True, slots=True)
class ArmName:
    """How a sentence speaks of an arm.

    Attributes:
        full: at its first mention: "hand tuning", "tpe-wide (Bayesian optimisation)".
        short: after that: "hand tuning", "tpe-wide".
        is_own: it begins with the arm's name in the study file, which is never changed.
    """

    full: str
    short: str
    is_own: bool = True

    @property
    def opening(self) -> str:
        """``full`` at the beginning of a sentence."""
        return self.full if self.is_own else self.full[0].upper() + self.full[1:]

    @property
    def opening_again(self) -> str:
        """``short`` at the beginning of a sentence."""
        return self.short if self.is_own else self.short[0].upper() + self.short[1:]

    @property
    def possessive(self) -> str:
        """Of the short name: "hand tuning's", "tries'"."""
        return f"{self.short}'" if self.short.endswith("s") else f"{self.short}'s"


def arm_names(arms: Sequence[str], descriptions: Mapping[str, str]) -> dict[str, ArmName]:
    """A name for each arm.

    Args:
        arms: their names in the study file.
        descriptions: what each arm does, in words; an arm may have none.
    """
    all_of_them = [descriptions.get(arm) or "" for arm in arms]

    def named(arm: str) -> ArmName:
        described, usual = descriptions.get(arm), USUAL.get(arm)
        if not described:
            return ArmName(arm, arm)
        # A longer description says how: "hand tuning from the paper's settings".
        alike = sum(one.startswith(usual) for one in all_of_them) if usual else 0
        if usual and described.startswith(usual) and alike == 1:
            return ArmName(described, usual, is_own=False)
        return ArmName(f"{arm} ({described})", arm)

    return {arm: named(arm) for arm in arms}
