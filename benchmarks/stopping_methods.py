"""Forecasts of a search's gain, the project's and others, by one interface."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from lcbench import PolicySpec
from numpy.typing import NDArray
from stopping_traces import Trace

from tuneoff.search.policies.gain import FullRuns, Kind, forecast

SHARES = tuple(round(0.1 * i, 1) for i in range(1, 10))  # of the quantiles by which one is scored
POWERS = np.linspace(0.1, 2.0, 20)


@dataclass(frozen=True)
class Seen:
    """A search after one of its full runs.

    Attributes:
        trace: the whole search, of which a forecast sees the first ``runs`` full runs.
        runs: how many full runs there are.
        ahead: epochs.
        others: traces of the same arm on the same data set in other repeats.
    """

    trace: Trace
    runs: int
    ahead: int
    others: Sequence[Trace]

    @property
    def errors(self) -> NDArray[np.float64]:
        """(runs,) in percent, in the order in which the runs ended."""
        return np.array(self.trace.errors[: self.runs])

    @property
    def epochs(self) -> int:
        """Trained so far."""
        return self.trace.epochs[self.runs - 1]

    @property
    def further(self) -> float:
        """Full runs to come, if each costs what one did so far."""
        return self.ahead * self.runs / self.epochs


@dataclass(frozen=True)
class Predicted:
    """A forecast, in points: its mean, and its quantiles at ``SHARES``."""

    mean: float
    quantiles: tuple[float, ...]


def gain(trace: Trace, since: int, until: int) -> float | None:
    """By how much the least observed error falls between these epochs; None before any full run."""
    runs = [error for at, error in zip(trace.epochs, trace.errors, strict=True) if at <= until]
    before = sum(at <= since for at in trace.epochs)
    return min(runs[:before]) - min(runs) if before else None


def kind_of(trace: Trace) -> Kind:
    """What the project's forecast knows of an arm."""
    spec = PolicySpec.parse(trace.setting.policy)
    return Kind.of(spec.sampler, spec.pruner)


def ours(seen: Seen) -> Predicted:
    """``tuneoff.search.policies.gain``."""
    runs = FullRuns([error / 100 for error in seen.errors], 0, seen.epochs)
    found = forecast(runs, seen.ahead, kind_of(seen.trace))
    return Predicted(100 * found.mean, tuple(100 * found.quantile(share) for share in SHARES))


def order_statistics(seen: Seen) -> Predicted:
    """The best of k more independent draws, of which the best quarter has an exponential tail.

    None of them is the best with probability n / (n + k). The expected least error of n draws
    falls by s ln((n + k) / n), where s is the mean excess of the best quarter.
    """
    ordered, n, k = np.sort(seen.errors), seen.runs, seen.further
    quarter = max(1, n // 4)
    scale = float(np.mean(ordered[quarter] - ordered[:quarter]))
    mean, none = scale * math.log1p(k / n), n / (n + k)
    size = mean / (1 - none)  # where there is a gain, exponential
    return Predicted(
        mean,
        tuple(
            0.0 if share <= none else -size * math.log((1 - share) / (1 - none)) for share in SHARES
        ),
    )


def power_law(seen: Seen) -> Predicted:
    """The least error after m runs is c + a m^-p, by least squares over the past."""
    best = np.minimum.accumulate(seen.errors)
    m, last = np.arange(1, seen.runs + 1), seen.runs
    fits = []
    for power in POWERS:
        x = np.stack([np.ones(last), m**-power], axis=1)
        (level, slope), *_ = np.linalg.lstsq(x, best, rcond=None)
        fits.append((float(np.sum((x @ (level, slope) - best) ** 2)), float(slope), power))
    _, slope, power = min(fits)
    mean = max(0.0, slope * (last**-power - (last + seen.further) ** -power))
    return Predicted(mean, (mean,) * len(SHARES))


def as_before(seen: Seen) -> Predicted:
    """What the search gained when its number of runs last grew by the same factor."""
    best = np.minimum.accumulate(seen.errors)
    before = max(1, round(seen.runs**2 / (seen.runs + seen.further)))
    mean = float(best[before - 1] - best[-1])
    return Predicted(mean, (mean,) * len(SHARES))


def repeats(seen: Seen) -> Predicted:
    """What the other repeats of the same arm gained from the same epoch on."""
    gains = [gain(other, seen.epochs, seen.epochs + seen.ahead) for other in seen.others]
    known = [found for found in gains if found is not None]
    if not known:
        return Predicted(math.nan, (math.nan,) * len(SHARES))
    return Predicted(float(np.mean(known)), tuple(float(q) for q in np.quantile(known, SHARES)))


METHODS: Mapping[str, Callable[[Seen], Predicted]] = {
    "tuneoff's": ours,
    "best of k more draws, exponential tail": order_statistics,
    "power law of the search's own past": power_law,
    "as much as before": as_before,
    "other repeats at the same epoch": repeats,
}
