"""What stored trials say: learning curves as observations for the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.model import Floats, Ints, Observations

SPACING = 3.0  # ratio of one observed epoch of a curve to the one before
KNEE = 3.0  # of the distance between the best and the median error: see ``Flattening``
MODELLED, FITTED = 600, 128  # observations in the model, and for its hyperparameters

Run = tuple[int, Mapping[str, Any], Mapping[int, float]]  # number, parameters, errors by epoch


@dataclass(frozen=True)
class Curve:
    """One trial as the model sees it.

    Attributes:
        number: of the trial.
        x: (D,), its configuration.
        errors: finite errors by epoch (1-based), lower is better; may be empty.
    """

    number: int
    x: Floats
    errors: dict[int, float]

    @property
    def epoch(self) -> int:
        """The last epoch with an error; 0 before the first."""
        return max(self.errors, default=0)


def curves(
    trials: Iterable[FrozenTrial], encoding: Encoding, horizon: int, sign: float = 1.0
) -> list[Curve]:
    """Every trial's curve, in an order that does not depend on that of the trials.

    A trial that is COMPLETE without having come to the horizon has its value there: that is how a
    diverged run is told. See ``arranged`` for errors that are not finite.

    Args:
        horizon: epochs of a full run; later ones are left out.
        sign: -1 where the metric is maximised.

    Raises:
        ValueError: a trial lacks a parameter.
    """
    runs: list[Run] = []
    for trial in trials:
        errors = {e: sign * v for e, v in trial.intermediate_values.items() if 1 <= e <= horizon}
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            errors.setdefault(horizon, sign * trial.value)
        runs.append((trial.number, trial.params, errors))
    return arranged(runs, encoding)


def arranged(runs: Sequence[Run], encoding: Encoding) -> list[Curve]:
    """The curves of runs, ordered by configuration; errors that are no number are left out.

    An infinite one counts as the worst of all, or as the best.

    Raises:
        ValueError: a run lacks a parameter.
    """
    finite = [v for _, _, errors in runs for v in errors.values() if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if not runs:
        return []
    numbers = [number for number, _, _ in runs]
    x = encoding.rows([params for _, params, _ in runs])
    out = []
    for i in np.lexsort((numbers, *x.T[::-1])):
        errors = {e: min(max(v, low), high) for e, v in runs[i][2].items() if not math.isnan(v)}
        out.append(Curve(numbers[i], x[i], errors))
    return out


@dataclass(frozen=True)
class Flattening:
    """A scale of errors on which differences between good ones count most.

    ``log(1 + u)`` with ``u = (error - best) / unit / KNEE``, and ``u`` itself below the best error,
    where the forecast of a run may lie. With the unit below, neither that of the metric nor its
    zero changes anything, and a run that diverged is no further from the rest than it has to be.

    Attributes:
        best: the least error.
        unit: from there to the median over configurations of their last errors, or to the worst
            error where that is no way.
    """

    best: float
    unit: float

    @classmethod
    def of(cls, data: Observations) -> Flattening:
        """The scale for these errors."""
        best, worst = float(data.y.min()), float(data.y.max())
        least = 1e-12 * max(abs(best), abs(worst))
        units = (float(np.median(data.y[data.last])) - best, worst - best)
        return cls(best, next((unit for unit in units if unit > least), 1.0))

    def forward(self, errors: Floats) -> Floats:
        """Errors on this scale."""
        u = (errors - self.best) / (self.unit * KNEE)
        return np.where(u < 0.0, u, np.log1p(np.maximum(u, 0.0)))

    def inverse(self, flat: Floats) -> Floats:
        """Values on this scale as errors; quantiles stay quantiles, as the scale is monotone."""
        u = np.where(flat < 0.0, flat, np.expm1(np.maximum(flat, 0.0)))
        return self.best + self.unit * KNEE * u


def observe(seen: Sequence[Curve], parameter: Ints, horizon: int) -> Observations:
    """The observations of these curves as the model sees them: see ``raw`` and ``Flattening``."""
    return flattened(raw(seen, parameter, horizon))


def raw(seen: Sequence[Curve], parameter: Ints, horizon: int) -> Observations:
    """The observations of these curves, each with one error at least, in the metric's unit.

    Epochs 1, 3, 9, ..., the last one of each run, and the horizon: curves are smooth, and what
    lies between would cost the cube of its number and teach nothing.
    """
    rows: list[tuple[int, float, float]] = []
    full = math.log(horizon) if horizon > 1 else 1.0
    grid = _grid(horizon)
    for i, curve in enumerate(seen):
        last = curve.epoch
        for epoch in sorted(curve.errors):
            if epoch in grid or epoch == last:
                at = math.log(epoch) / full if horizon > 1 else 1.0
                rows.append((i, at, curve.errors[epoch]))
    x = np.array([curve.x for curve in seen])
    config = np.array([row[0] for row in rows], dtype=np.int64)
    t, y = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    return Observations(x, parameter, config, t, y)


def flattened(data: Observations) -> Observations:
    """The same with errors on the scale that they give themselves."""
    return replace(data, y=Flattening.of(data).forward(data.y))


def active(data: Observations, most: int) -> Ints:
    """Rows of at most so many observations that stand for all of them.

    Half of the room is for whole curves: of the configurations with the best last errors, as many
    as fit. The other half is for last errors alone: of the others, evenly spaced from the best to
    the worst.
    """
    if len(data.y) <= most:
        return np.arange(len(data.y))
    last = data.last
    order = np.argsort(data.y[last], kind="stable")
    lengths = np.bincount(data.config)[order]
    whole = int(np.searchsorted(np.cumsum(lengths), most // 2, side="right"))
    rows = np.flatnonzero(np.isin(data.config, order[:whole]))
    others = order[whole:]
    room = min(most - len(rows), len(others))
    spaced = others[np.linspace(0, len(others) - 1, room).astype(np.int64)]
    return np.sort(np.concatenate([rows, last[spaced]]))


def _grid(horizon: int) -> set[int]:
    epochs, epoch = {horizon}, 1.0
    while epoch < horizon:
        epochs.add(round(epoch))
        epoch *= SPACING
    return epochs
