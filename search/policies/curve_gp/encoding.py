"""Parameters as points of the unit cube, in which the model measures distances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuneoff.search.spec.space import Floats, units_of, value_at, values_at

Ints = NDArray[np.int64]


def holds(distribution: BaseDistribution, value: Any) -> bool:
    """True if a value is one of the choices, or between the ends of the range.

    It need not lie on the grid of a range that has one: it may be older than the grid.
    """
    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and distribution.low <= value <= distribution.high


@dataclass(frozen=True)
class Encoding:
    """P parameters as D columns: one for a range, 0 to 1 on its scale, one for each choice.

    Two different choices lie at distance 1, as the ends of a range do.

    Attributes:
        distributions: by name, in the columns' order.
    """

    distributions: Mapping[str, BaseDistribution]

    @property
    def parameter(self) -> Ints:
        """(D,), the index of the parameter that a column belongs to."""
        widths = [
            len(d.choices) if isinstance(d, CategoricalDistribution) else 1
            for d in self.distributions.values()
        ]
        return np.repeat(np.arange(len(widths)), widths)

    def holds(self, params: Mapping[str, Any]) -> bool:
        """True if a configuration has every parameter, each inside its range or choices."""
        ranges = self.distributions.items()
        return all(name in params and holds(d, params[name]) for name, d in ranges)

    def columns(self, params: Mapping[str, Any]) -> Floats:
        """(D,), the columns of one configuration.

        Raises:
            ValueError: a parameter is missing or is not one of the choices.
        """
        row: Floats = self.rows([params])[0]
        return row

    def rows(self, configurations: Sequence[Mapping[str, Any]]) -> Floats:
        """(n, D), the columns of n configurations (ValueError as ``columns``)."""
        columns = []
        for name, distribution in self.distributions.items():
            try:
                values = [params[name] for params in configurations]
            except KeyError:
                raise ValueError(
                    f"{name} is missing in one configuration: every configuration needs the same "
                    "parameters; a conditional space needs another sampler, such as tpe"
                ) from None
            if isinstance(distribution, CategoricalDistribution):
                chosen = np.array([distribution.to_internal_repr(value) for value in values])
                choices = np.arange(len(distribution.choices))
                columns.append(math.sqrt(0.5) * (chosen.reshape(-1, 1) == choices))
            else:
                assert isinstance(distribution, FloatDistribution | IntDistribution)
                columns.append(units_of(distribution, np.array(values, dtype=float))[:, None])
        return np.hstack(columns)

    def params(self, point: Floats) -> dict[str, Any]:
        """The parameters at a point (P,) of the unit cube; what lies outside is moved inside."""
        inside = np.clip(point, 0.0, 1.0)
        pairs = zip(self.distributions.items(), inside, strict=True)
        return {name: value_at(distribution, float(u)) for (name, distribution), u in pairs}

    def snap(self, points: Floats) -> Floats:
        """The columns (m, D) of the parameters at points (m, P) of the unit cube."""
        columns = []
        for u, distribution in zip(points.T, self.distributions.values(), strict=True):
            if isinstance(distribution, CategoricalDistribution):
                n = len(distribution.choices)
                chosen = np.minimum((u * n).astype(int), n - 1)
                columns.append(math.sqrt(0.5) * np.eye(n)[chosen])
            else:
                assert isinstance(distribution, FloatDistribution | IntDistribution)
                values = values_at(distribution, u)
                columns.append(units_of(distribution, values)[:, None])
        return np.hstack(columns)

    def point(self, columns: Floats) -> Floats:
        """The point (P,) of the unit cube with these columns (D,)."""
        parts = []
        for i, distribution in enumerate(self.distributions.values()):
            own = columns[self.parameter == i]
            if isinstance(distribution, CategoricalDistribution):
                parts.append((float(own.argmax()) + 0.5) / len(own))
            else:
                parts.append(float(own[0]))
        return np.array(parts)
