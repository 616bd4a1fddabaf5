"""The sampler "one-at-a-time": one parameter after the other, as people tune by hand."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Decision, History, NewTrial, Policy
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import DIVERGED

Params = dict[str, Any]

RATE = "lr"
RATE_FACTOR, WHOLE_FACTOR, LOG_FACTOR = 3.0, 2.0, 10.0
"""Steps of the rate, as in 0.01, 0.03, 0.1; of whole numbers on a logarithmic scale; and of other
parameters on one, where the study file gives no other factor."""
SHARE = 0.1
"""Steps on a linear scale, as a share of the range, where the study file gives no other."""
PASSES = 6
"""Passes over all parameters. In the sixth, the rate's factor is the 32nd root of the first one's
(3 becomes 1.035): less than one run can tell apart."""
DIGITS = 4
"""Significant digits of a step's value: nobody types 0.30000000000000004."""


def build(arm: Arm) -> Policy:
    """The tuning that [arms.NAME] describes; the repeat's seed has no part in it."""
    settings = arm.settings
    start = middle(arm.space) | dict(settings.start or {})
    order = settings.order or sorted(start, key=lambda name: name != RATE)
    return OneAtATime(
        arm.space, arm.space.check(start), tuple(order), dict(settings.factors or {}), arm.pruning
    )


def middle(space: SearchSpace) -> Params:
    """The middle of each range, on its scale, and the first of each list of choices."""
    found = space.at([0.5] * len(space.distributions))
    for name, distribution in space.distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            found[name] = distribution.choices[0]
    return found


@dataclass(frozen=True)
class OneAtATime:
    """Tunes one parameter with all others at the best values so far, then the next one.

    This is coordinate search (Conn, Scheinberg and Vicente 2009, Introduction to Derivative-Free
    Optimization, ch. 7), with steps that people take. A parameter with a range is moved upwards a
    step at a time while the error falls; if the first step upwards did not help, downwards. Of a
    list of choices each is tried. When all parameters have been tuned, another pass begins, with
    the square roots of the factors, or half the steps on a linear scale.

    A run that diverged, was pruned or failed is worse than any that came to its end. While no run
    has come to its end, steps go downwards first, and on.

    No configuration is run twice: what is known of it counts. The runs are one after the other, as
    each step depends on the one before. So while one is running there is nothing else to do.

    Attributes:
        start: the configuration to begin with.
        order: the parameters to tune; others stay as they are in ``start``.
        factors: by parameter, instead of the defaults: more than 1 on a logarithmic scale, a share
            of the range on a linear one.
    """

    space: SearchSpace
    start: Mapping[str, Any]
    order: Sequence[str]
    factors: Mapping[str, float]
    pruning: Pruning

    def next(self, history: History) -> NewTrial | None:
        """The first configuration that the tuning has to know and that has no trial yet."""
        if history.remaining < history.horizon:
            return None
        known = self._known(history)
        tuning = self._tune()
        wanted = next(tuning)
        while (key := self._key(wanted)) in known:
            error = known[key]
            if error is None:
                return None
            try:
                wanted = tuning.send(error)
            except StopIteration:
                return None
        return NewTrial(wanted, history.horizon)

    @property
    def stops(self) -> bool:
        """As the pruner."""
        return self.pruning.stops

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """As the pruner says."""
        return self.pruning.after(history, trial)

    def _known(self, history: History) -> dict[tuple[Any, ...], float | None]:
        """By configuration: the error after a full run, infinite for runs that did not end well.

        None while it is running. Somebody else's trials count, too.
        """
        known: dict[tuple[Any, ...], float | None] = {}
        for trial in history.trials:
            if not self.space.distributions.keys() <= trial.params.keys():
                continue
            key, error = self._key(trial.params), None
            if trial.state == TrialState.COMPLETE and not DIVERGED.is_set(trial):
                error = math.inf if trial.value is None else trial.value
            elif trial.state.is_finished():
                error = math.inf
            before = known.get(key, math.inf)
            known[key] = None if error is None or before is None else min(error, before)
        return known

    def _key(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        found = self.space.canonical(params)
        return tuple(found[name] for name in self.space.distributions)

    def _tune(self) -> Generator[Params, float, None]:
        """Yields each configuration whose error it has to know, and is sent that."""
        best = dict(self.start)
        error = yield best
        for i in range(PASSES):
            for name in self.order:
                distribution = self.space.distributions[name]
                if isinstance(distribution, CategoricalDistribution):
                    best, error = yield from self._choose(name, distribution, best, error)
                else:
                    best, error = yield from self._walk(name, distribution, 0.5**i, best, error)

    def _choose(
        self, name: str, distribution: CategoricalDistribution, best: Params, error: float
    ) -> Generator[Params, float, tuple[Params, float]]:
        """Try every other choice; the best configuration and its error."""
        start = best
        for choice in distribution.choices:
            if choice != start[name]:
                tried = start | {name: choice}
                found = yield tried
                if found < error:
                    best, error = tried, found
        return best, error

    def _walk(
        self,
        name: str,
        distribution: BaseDistribution,
        size: float,
        best: Params,
        error: float,
    ) -> Generator[Params, float, tuple[Params, float]]:
        """Step from the best configuration while that helps; the best one then, and its error.

        Args:
            size: of a step, in steps of the first pass.
        """
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        factor = self.factors.get(name, default_factor(name, distribution))
        start, at = best, best[name]
        for direction in (-1, 1) if error == math.inf else (1, -1):
            while (value := step(distribution, at, direction * size, factor)) is not None:
                at, tried = value, start | {name: value}
                found = yield tried
                if found < error:
                    best, error = tried, found
                elif not (found == error == math.inf and direction < 0):
                    break
            if best is not start:
                break
            at = start[name]
        return best, error


def default_factor(name: str, distribution: FloatDistribution | IntDistribution) -> float:
    """The first pass's factor on a logarithmic scale, or share of the range on a linear one."""
    if not distribution.log:
        return SHARE
    if isinstance(distribution, IntDistribution):
        return WHOLE_FACTOR
    return RATE_FACTOR if name == RATE else LOG_FACTOR


def step(
    distribution: FloatDistribution | IntDistribution, value: float, steps: float, factor: float
) -> Any:
    """The value so many steps from another, at most the end of the range; None if there is none.

    Args:
        steps: below 0 for downwards; any fraction.
        factor: see ``default_factor``.
    """
    low, high = distribution.low, distribution.high
    found = value * factor**steps if distribution.log else value + steps * factor * (high - low)
    grid = distribution.step
    if grid is None:
        found = float(f"{found:.{DIGITS}g}")
    else:  # a whole number, or a range with steps of its own: one of these at least
        moved = max(1, round(abs(found - value) / grid))
        found = low + (round((value - low) / grid) + math.copysign(moved, steps)) * grid
    found = min(max(found, low), high)
    if isinstance(distribution, IntDistribution):
        found = round(found)
    return found if (found - value) * steps > 0 else None  # to round may lead back
