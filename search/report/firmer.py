"""What a firmer answer would cost: repeats, epochs, hours, and the command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tuneoff.messages import counted
from tuneoff.search.report.data import ReportData
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.comparison import PairwiseComparison
from tuneoff.search.results.decision.outlook import Outlook, Price
from tuneoff.search.results.nothing import has_diverged
from tuneoff.search.results.numbers import duration

_GO_ON: Final = "tuneoff run STUDY.toml"
_UNTIL_DECIDED: Final = f"{_GO_ON} --until-decided"
_MOST_REPEATS: Final = 1000
"""That a study may have."""


@dataclass(frozen=True, slots=True)
class Firmer:
    """What would make an answer firmer.

    Attributes:
        text: one to three sentences; empty where more of the same would not help.
        command: does it; empty where no single command does.
    """

    text: str
    command: str = ""


def firmer(data: ReportData, names: Mapping[str, ArmName]) -> Firmer:
    """What a firmer answer would cost."""
    pairs = data.comparison.pairs
    if not pairs:
        return _first_answer(data)
    undecided = [pair for pair in pairs if not pair.decided]
    if not undecided:
        return _narrower(data, pairs[0])
    found = _until_decided(data, undecided, names)
    settled = [names[pair.baseline].full for pair in pairs if pair.decided]
    if not settled:
        return found
    return Firmer(f"Against {' and '.join(settled)} the answer stands. {found.text}", found.command)


def _first_answer(data: ReportData) -> Firmer:
    arms = data.comparison.arms
    if len(arms) == 1:
        return Firmer("A comparison takes a second arm in the study file, in a new study.")
    if not arms or all(map(has_diverged, arms)):
        return Firmer("")
    return Firmer(
        "An answer is possible once at least two repeats of two arms are finished.", _GO_ON
    )


def _until_decided(
    data: ReportData, undecided: Sequence[PairwiseComparison], names: Mapping[str, ArmName]
) -> Firmer:
    if data.outlook is not None:
        return Firmer(_of_outlook(data.outlook), _UNTIL_DECIDED)
    known = [pair for pair in undecided if pair.low is not None and pair.more_repeats is not None]
    if len(known) == len(undecided):
        needed = max(len(pair.repeats) + (pair.more_repeats or 0) for pair in known)
        if needed <= _MOST_REPEATS:
            return _more_repeats(data, undecided[0], needed)
    # One thing at a time: what holds up the pair that was asked about first.
    first = undecided[0]
    said = first.advice[0]
    if len(undecided) > 1:
        said = f"Against {names[first.baseline].full}: {said[0].lower()}{said[1:]}"
    command = re.search("`([^`]+)`", said)
    return Firmer(said, command[1] if command else "")


def _more_repeats(data: ReportData, pair: PairwiseComparison, needed: int) -> Firmer:
    more = needed - len(pair.repeats)
    opened = max(0, needed - data.results.repeats)
    beyond = pair.limit is not None and needed > pair.limit
    command = f"{_UNTIL_DECIDED} --max-repeats {needed}" if beyond else _UNTIL_DECIDED
    due = data.price.due if data.price else 0.0
    return Firmer(
        f"If the difference stays as it looks, about {counted(more, 'more repeat')} would probably"
        f" decide it{_cost(data.price, opened, due)}.",
        command,
    )


def _of_outlook(found: Outlook) -> str:
    low, median, high = found.repeats.low, found.repeats.median, found.repeats.high
    spread = f" ({low:.0f} to {high:.0f})" if low < high else ""
    seconds = None if found.seconds is None else found.seconds.median
    return (
        f"The study adds repeats until it is decided, probably {median:.0f} in all{spread}."
        f" What is still to be done: {_work(found.epochs.median, seconds)}."
    )


def _narrower(data: ReportData, pair: PairwiseComparison) -> Firmer:
    assert pair.low is not None  # without an interval nothing is decided
    assert pair.high is not None
    half = (pair.high - pair.low) / 2
    metric = data.results.metric
    if half == 0 or metric.no_difference(half):
        return Firmer("The answer is firm.")
    repeats = 4 * len(pair.repeats)
    start = (
        f"The answer is firm. To halve its uncertainty of ±{metric.amount(half)} takes about four"
        " times the repeats"
    )
    if repeats > _MOST_REPEATS:
        return Firmer(f"{start}, more than a study may have.")
    name = shlex.quote(f"{data.results.name}-2")
    return Firmer(
        f"{start}, in a new study{_cost(data.price, repeats)}.",
        f"{_GO_ON} --set name={name} --set repeats={repeats}",
    )


def _cost(price: Price | None, repeats: float, due: float = 0.0) -> str:
    if price is None:
        return ""
    epochs = repeats * price.repeat + due
    seconds = None if price.seconds is None else epochs * price.seconds
    return f": {_work(epochs, seconds)}"


def _work(epochs: float, seconds: float | None) -> str:
    work = f"about {_roughly(epochs)} epochs"
    if seconds is None:
        return work
    time = duration(seconds) if seconds < 36_000 else f"{_roughly(seconds / 3600)} h"
    return f"{work}, or {time} on one device"


def _roughly(count: float) -> str:
    """With two digits that count."""
    return f"{float(f'{count:.2g}'):,.0f}"
