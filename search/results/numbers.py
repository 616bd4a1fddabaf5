"""Numbers as text, the same in sentences, tables and figures."""

from __future__ import annotations

import math
from typing import Final

NONE: Final = "–"  # where there is nothing to show


def in_percent(part: float) -> float:
    """A share as figures have it: rounded to a ten-thousandth of a percent."""
    return round(100 * part, 4)


def share(part: float) -> str:
    """A share of a budget: "31%", "under 1%", "never" where it is infinite."""
    if math.isinf(part):
        return "never"
    return "under 1%" if 0 < part < 0.005 else f"{100 * part:,.0f}%"


def share_span(low: float, high: float) -> str:
    """An interval of a share: "18 to 52%", "18% to never"."""
    if share(low) == share(high):
        return share(low)
    if math.isinf(high) or share(low).startswith("under"):
        return f"{share(low)} to {share(high)}"
    return f"{share(low)[:-1]} to {share(high)}"


def p_value(p: float) -> str:
    """A p-value as text: "0.031", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def counted(count: int, noun: str) -> str:
    """A number of things: "1 repeat", "1,200 repeats"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def all_of(count: int, noun: str) -> str:
    """Every one of so many things: "the only repeat", "all 1,200 repeats"."""
    return f"the only {noun}" if count == 1 else f"all {counted(count, noun)}"


def level_name(level: float) -> str:
    """The level of an interval: "95%", "97.5%"."""
    return f"{100 * level:.3g}%"
