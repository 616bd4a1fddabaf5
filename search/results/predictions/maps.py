"""Maps of a model's prediction of full runs, over each pair of the parameters that matter most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Final

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuneoff.metric import Metric
from tuneoff.search.policies.curve_gp.model_state import ModelState
from tuneoff.search.results.predictions.records import Axis, Map
from tuneoff.search.results.predictions.repeat import deviations, errors_of
from tuneoff.search.spec.space import Floats, values_at

CELLS: Final = 25  # along each side of a map
MAPPED: Final = 4  # parameters at most; each pair of them has a map


def maps_of(
    state: ModelState, params: Mapping[str, Any], metric: Metric
) -> tuple[tuple[Map, ...], tuple[str, ...]]:
    """The maps, and the names of the parameters that have none.

    Args:
        state: the model.
        params: the values of the parameters that a map does not vary.
        metric: what is predicted.
    """
    names = list(state.encoding.distributions)
    # The shorter a parameter's length scale, the more the predicted error depends on it.
    most_sensitive = np.argsort(state.model.h.length, kind="stable")[:MAPPED]
    kept = [names[i] for i in sorted(most_sensitive)]
    maps = tuple(_map(state, params, metric, *pair) for pair in combinations(kept, 2))
    return maps, tuple(name for name in names if name not in kept)


def _map(state: ModelState, params: Mapping[str, Any], metric: Metric, x: str, y: str) -> Map:
    distributions = state.encoding.distributions
    across, up = _values(distributions[x]), _values(distributions[y])
    cells = [state.encoding.columns({**params, x: a, y: b}) for b in up for a in across]
    mean, sd = state.model.full_runs.predict(np.array(cells))
    warped = state.model.centre + state.model.unit * mean
    reach = deviations(0.9) * state.model.unit * sd

    def rows(errors: Floats) -> tuple[tuple[float, ...], ...]:
        # Shares to a hundredth of a point: all digits would make the report three times as long.
        if metric.percent:
            short = errors.round(4)
        else:
            short = np.array([float(f"{error:.6g}") for error in errors])
        return tuple(map(tuple, short.reshape(len(up), len(across)).tolist()))

    width = errors_of(state, warped + reach, metric) - errors_of(state, warped - reach, metric)
    sides = (_axis(x, distributions[x], across), _axis(y, distributions[y], up))
    return Map(*sides, rows(errors_of(state, warped, metric)), rows(width))


def _values(distribution: BaseDistribution) -> list[Any]:
    """One value for each cell: evenly spaced on the scale of a range, or all choices."""
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    middles = np.unique(values_at(distribution, (np.arange(CELLS) + 0.5) / CELLS)).tolist()
    whole = isinstance(distribution, IntDistribution)
    return [round(value) if whole else value for value in middles]


def _axis(name: str, distribution: BaseDistribution, values: Sequence[Any]) -> Axis:
    if isinstance(distribution, CategoricalDistribution):
        return Axis(name, tuple(map(str, values)), (), False)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.step is None:
        edges = values_at(distribution, np.arange(CELLS + 1) / CELLS)
    else:
        half, at = 0.5 * distribution.step, np.array(values, dtype=np.float64)
        between = 0.5 * (at[1:] + at[:-1])
        edges = np.array([distribution.low - half, *between, distribution.high + half])
    return Axis(name, (), tuple(edges.tolist()), distribution.log)
