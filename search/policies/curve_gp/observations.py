"""The observations that the model is given of learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tuneoff.search.policies.curve_gp.curves import Curve
from tuneoff.search.policies.curve_gp.encoding import Ints
from tuneoff.search.spec.space import Floats

SPACING = 3.0  # ratio of one observed epoch of a curve to the one before
KNEE = 3.0  # in units of ``OutputWarping.unit``: where the warping turns from linear to logarithmic
CAP = 3.0  # in units of ``OutputWarping.unit``: from there on the model is told no difference
MODELLED, FITTED = 600, 128  # the most observations in the model, and to fit hyperparameters on


@dataclass(frozen=True)
class Observations:
    """Errors of C configurations at n (configuration, epoch) pairs.

    Attributes:
        x: (C, D), the configurations in the unit cube, each with one observation at least.
        parameter: (D,), which parameter a column belongs to; columns of one share a length scale.
        config: (n,), rows of ``x``, ascending.
        t: (n,), log(epoch) / log(horizon), 0 to 1.
        y: (n,), errors; lower is better. Any unit: the model standardises them.
    """

    x: Floats
    parameter: Ints
    config: Ints
    t: Floats
    y: Floats

    @property
    def last(self) -> Ints:
        """(C,), the row of each configuration's deepest observation."""
        order = np.lexsort((self.t, self.config))
        ends = np.flatnonzero(np.diff(self.config[order], append=-1))
        return order[ends]

    def take(self, rows: Ints) -> Observations:
        """These observations alone, and their configurations."""
        rows = np.sort(rows)
        configs, config = np.unique(self.config[rows], return_inverse=True)
        return Observations(self.x[configs], self.parameter, config, self.t[rows], self.y[rows])


@dataclass(frozen=True)
class OutputWarping:
    """A monotone warping of errors, so that differences between good errors count most.

    An error becomes ``log(1 + u)`` with ``u = (error - best) / (KNEE * unit)``, or ``u`` itself
    below the best error, where the forecast of a run may lie. As ``best`` and ``unit`` come from
    the errors themselves, a metric can be scaled or shifted without any effect, and the very large
    error of a run that diverged is drawn in towards the others.

    Attributes:
        best: the smallest error.
        unit: the distance from ``best`` to the median of the configurations' last errors. If the
            two are equal, the distance to the largest error; if all errors are equal, 1.
    """

    best: float
    unit: float

    @classmethod
    def of(cls, data: Observations) -> OutputWarping:
        """The warping that these errors define."""
        best, worst = float(data.y.min()), float(data.y.max())
        negligible = 1e-12 * max(abs(best), abs(worst))
        units = (float(np.median(data.y[data.last])) - best, worst - best)
        return cls(best, next((unit for unit in units if unit > negligible), 1.0))

    def warp(self, errors: Floats) -> Floats:
        """Warped errors, any shape."""
        u = (errors - self.best) / (self.unit * KNEE)
        return np.where(u < 0.0, u, np.log1p(np.maximum(u, 0.0)))

    def unwarp(self, warped: Floats) -> Floats:
        """The inverse of ``warp``; as it is monotone, quantiles become quantiles."""
        u = np.where(warped < 0.0, warped, np.expm1(np.maximum(warped, 0.0)))
        return self.best + self.unit * KNEE * u


def observe(seen: Sequence[Curve], parameter: Ints, horizon: int) -> Observations:
    """The observations of ``raw``, with warped errors: what the model is given."""
    return warped(raw(seen, parameter, horizon))


def raw(seen: Sequence[Curve], parameter: Ints, horizon: int) -> Observations:
    """The observations of these curves, each with one error at least, in the metric's unit.

    Observed are epochs 1, 3, 9, ..., the last one of each run, and the horizon. Curves are smooth:
    the epochs between would teach next to nothing, and the time to fit the model grows with the
    cube of the number of observations.
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


def warped(data: Observations) -> Observations:
    """The same observations with their errors warped (``OutputWarping.of`` themselves).

    Errors above the cap count as the cap: how bad a bad run is teaches nothing about good ones.
    Where most runs learn nothing, and end alike, a few that diverged would otherwise be all that
    the model sees, and it would look for the optimum as far from these as it can.
    """
    warping = OutputWarping.of(data)
    cap = warping.best + CAP * warping.unit
    return replace(data, y=warping.warp(np.minimum(data.y, cap)))


def active(data: Observations, most: int) -> Ints:
    """(at most ``most``,), ascending rows of a subset of the observations that stands for all.

    Half of the subset are whole curves, of as many as fit of the configurations with the best last
    errors. The other half are last errors alone, of the other configurations, evenly spaced in
    rank from the best to the worst.
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
