"""Numbers as text, the same in sentences, tables and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tuneoff.messages import counted
from tuneoff.metric import Metric

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


def all_of(count: int, noun: str) -> str:
    """Every one of so many things: "the only repeat", "all 1,200 repeats"."""
    return f"the only {noun}" if count == 1 else f"all {counted(count, noun)}"


def level_name(level: float) -> str:
    """The level of an interval: "95%", "97.5%"."""
    return f"{100 * level:.3g}%"


def mean_and_sd(mean: float | None, sd: float | None, metric: Metric) -> str:
    """The mean and standard deviation of values, without their unit."""
    shown = metric.cell(mean)
    return shown if sd is None else f"{shown} ± {metric.size(sd)}"


def mean_and_range(errors: Sequence[float], metric: Metric) -> str:
    """The mean of values and, in brackets, the lowest and highest, without their unit."""
    # Of the two or three seeds that these are for, a standard deviation would say too much.
    if not errors:
        return NONE
    mean, ends = metric.cell(sum(errors) / len(errors)), map(metric.cell, metric.reach(errors))
    return mean if len(errors) == 1 else f"{mean} ({'–'.join(ends)})"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever suits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def parameters(params: Mapping[str, Any]) -> str:
    """Names and values of hyperparameters, in one line."""

    def shown(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name} = {shown(value)}" for name, value in params.items())
