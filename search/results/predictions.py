"""What the model of a curve-gp arm predicted, and when: maps, forecasts, and how often they held.

A forecast uses what was known when its run stood at its rung, and nothing that came later. The
attempts say what that was, by the database's clock.
"""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, islice, takewhile
from typing import Any, Final

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri
from scipy.stats import binom

from tuneoff.search.policies.base import History
from tuneoff.search.policies.curve_gp import CurveGP
from tuneoff.search.policies.curve_gp.model import NotPositiveDefinite
from tuneoff.search.policies.curve_gp.model_state import ModelState
from tuneoff.search.policies.curve_gp.threads import one_thread
from tuneoff.search.results.read import state_of
from tuneoff.search.spec.space import Floats, values_at
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.study.selection import recommend
from tuneoff.search.study.state import SearchState, history, read_states
from tuneoff.search.study.study import Search, Study

log = logging.getLogger(__name__)

CELLS: Final = 25  # of a map, along each side
MAPPED: Final = 4  # parameters in maps at most
FULL, STOPPED = 3, 3  # forecasts shown: of the best full runs, and of runs that were stopped
LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
REFITS, USUAL = 200, 100  # models fitted to judge the forecasts of an arm whose repeats have so
# many trials; fewer where they have more, as a fit takes longer then


@dataclass(frozen=True, slots=True)
class Axis:
    """One side of a map.

    Attributes:
        name: of the parameter.
        choices: one for each cell, as text; empty for a range.
        edges: of the cells of a range, in between and at both ends; empty for choices.
        log: True if the parameter is searched on a logarithmic scale.
    """

    name: str
    choices: tuple[str, ...]
    edges: tuple[float, ...]
    log: bool


@dataclass(frozen=True, slots=True)
class Map:
    """What the model expects of full runs over two parameters, the others fixed.

    Attributes:
        x, y: the parameters.
        median: of the validation error, 0 to 1, a row for each cell of ``y``.
        width: of the 90% interval of the same, without the noise of a single run.
    """

    x: Axis
    y: Axis
    median: tuple[tuple[float, ...], ...]
    width: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What was expected of a run when it stood at a rung, and what came.

    Attributes:
        trial, state: the run, and what became of it.
        rung: the last epoch that was known of it.
        known: trials that there were then.
        epochs: the epochs to come, up to the horizon.
        median: of the validation error after each of them, 0 to 1.
        low50, high50, low90, high90: the central intervals that hold it with so many percent.
        errors: what was measured, by epoch.
    """

    trial: int
    state: str
    rung: int
    known: int
    epochs: tuple[int, ...]
    median: tuple[float, ...]
    low50: tuple[float, ...]
    high50: tuple[float, ...]
    low90: tuple[float, ...]
    high90: tuple[float, ...]
    errors: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How often intervals for the final error, given at one rung, held.

    Attributes:
        epoch: of the rung.
        runs: how many forecasts were judged, of all repeats.
        levels: with what probability the intervals were to hold, 0 to 1.
        held: in how many runs they did.
        least, most: a model that is right lies within, at each level, 19 times in 20.
    """

    epoch: int
    runs: int
    levels: tuple[float, ...]
    held: tuple[int, ...]
    least: tuple[int, ...]
    most: tuple[int, ...]

    def of(self, level: float) -> int:
        """In how many runs the interval of this level held."""
        return self.held[self.levels.index(level)]


@dataclass(frozen=True, slots=True)
class ArmPredictions:
    """What the model of one arm predicted.

    Attributes:
        arm: its name.
        repeat: whose model the maps and the forecasts show: the one with the best pick.
        trials: that this model has seen.
        best, params: the best known configuration: the pick, or before there is one what the
            model expects most of. The maps hold the other parameters at its values.
        picked: True if it is the pick.
        left_out: parameters without a map: those to which the model is least sensitive.
        maps: one for each pair of parameters.
        forecasts: full runs first, best first.
        coverage: by rung, over all repeats.
        judged, possible: forecasts in it, and those that could be.
    """

    arm: str
    repeat: int
    trials: int
    best: int
    params: Mapping[str, Any]
    picked: bool
    left_out: tuple[str, ...]
    maps: tuple[Map, ...]
    forecasts: tuple[Forecast, ...]
    coverage: tuple[Coverage, ...]
    judged: int
    possible: int


def read_predictions(study: Study) -> list[ArmPredictions]:
    """One for each arm whose policy is curve-gp, as soon as one of its runs has an error."""
    found = []
    for arm in study.spec.arms:
        searches = [g for g in study.arms if g.arm == arm and isinstance(g.policy, CurveGP)]
        nows = read_states(study, searches) if searches else []
        with one_thread():
            prediction = _arm_predictions(
                [_Repeat(study, *pair) for pair in zip(searches, nows, strict=True)]
            )
        found += [prediction] if prediction else []
    return found


def as_of(now: SearchState, end: Attempt) -> SearchState:
    """A search as it stood when an attempt at one of its trials ended.

    What an attempt that had not ended by then has trained is left out, even the part that had
    been reported: the attempts do not say when each epoch was. Its trial is RUNNING. A trial that
    has been told since as pruned or failed, without another attempt, is RUNNING too.
    """
    rows = [row for rows in now.attempts.values() for row in rows]
    known = [row for row in (_as_known(row, end) for row in rows) if row is not None]
    by_trial: dict[int, list[Attempt]] = defaultdict(list)
    for row in known:
        by_trial[row.trial].append(row)
    trials = [_as_it_was(now.trials[number], by_trial[number]) for number in sorted(by_trial)]
    return SearchState.of(trials, known)


def _as_known(row: Attempt, end: Attempt) -> Attempt | None:
    """A row of the attempts table when another one, or this, ended; None if it was not there."""
    assert end.ended is not None
    if row.trial == end.trial:  # by number, which no clock's resolution blurs
        return row if row.number <= end.number else None
    if row.started >= end.ended:
        return None
    if row.ended is None or row.ended > end.ended:
        return replace(row, ended=None, end=None, reason=None, epochs=0, seconds=0.0)
    return row


def _as_it_was(trial: FrozenTrial, rows: Sequence[Attempt]) -> FrozenTrial:
    """A trial when these were the attempts at it."""
    was = copy(trial)
    reached = max(row.reached for row in rows)
    was.intermediate_values = {e: v for e, v in trial.intermediate_values.items() if e <= reached}
    if rows[-1].end not in ("finished", "pruned"):
        was.state, was.value, was.datetime_complete = TrialState.RUNNING, None, None
    return was


@dataclass(frozen=True)
class _Repeat:
    """One repeat of an arm."""

    study: Study
    search: Search
    now: SearchState

    @property
    def policy(self) -> CurveGP:
        assert isinstance(self.search.policy, CurveGP)
        return self.search.policy

    @property
    def horizon(self) -> int:
        return int(self.study.spec.trial.epochs)

    @cached_property
    def state(self) -> ModelState | None:
        """What the model sees now; None if there is nothing to see, or no model of it."""
        return _model_state(self.policy, history(self.study, self.search, self.now))

    @cached_property
    def pauses(self) -> list[Attempt]:
        """Attempts that ended at a rung before the last one, in order of time."""
        rows = [row for rows in self.now.attempts.values() for row in rows]
        paused = [row for row in rows if row.end == "paused" and 0 < row.reached < self.horizon]
        return sorted(paused, key=lambda row: (row.ended or 0.0, row.trial))

    @cached_property
    def outcomes(self) -> dict[int, float]:
        """The error after a full run, by trial; a run that diverged counts as guessing."""
        complete = (trial for trial in self.now.trials if trial.state == TrialState.COMPLETE)
        return {trial.number: trial.value for trial in complete if trial.value is not None}

    @cached_property
    def _outlooks(self) -> dict[tuple[int, int], _Outlook | None]:
        return {}

    def then(self, pause: Attempt) -> History:
        """What was known when a run was paused."""
        return history(self.study, self.search, as_of(self.now, pause))

    @cached_property
    def modelled(self) -> list[Attempt]:
        """Of the pauses, those from the first on of which the model was asked."""
        opening = takewhile(lambda pause: self.policy.is_opening(self.then(pause)), self.pauses)
        return self.pauses[sum(1 for _ in opening) :]

    def outlook(self, pause: Attempt) -> _Outlook | None:
        """What was expected of a run when it was paused; None if there was no model."""
        key = pause.trial, pause.number
        if key not in self._outlooks:
            self._outlooks[key] = self._look_ahead(pause)
        return self._outlooks[key]

    def _look_ahead(self, pause: Attempt) -> _Outlook | None:
        then = self.then(pause)
        state = _model_state(self.policy, then)
        if state is None:
            return None
        own = next(curve for curve in state.curves if curve.number == pause.trial)
        epochs = tuple(range(pause.reached + 1, self.horizon + 1))
        t = np.log(np.array(epochs)) / math.log(self.horizon)
        mean, sd = state.model.curve(own.x, t)
        noise = state.model.h.noise * state.model.unit**2
        return _Outlook(state, len(then.trials), epochs, mean, np.sqrt(sd**2 + noise))


@dataclass(frozen=True)
class _Outlook:
    """What was expected of a run after the epochs to come, and of a single one's noise.

    Attributes:
        state: what it was expected from.
        known: trials that there were.
        mean, sd: of flattened errors, one for each epoch.
    """

    state: ModelState
    known: int
    epochs: tuple[int, ...]
    mean: Floats
    sd: Floats

    def interval(self, level: float) -> tuple[Floats, Floats]:
        """The central interval of this probability, as errors, for each epoch."""
        reach = _deviations(level) * self.sd
        return _errors(self.state, self.mean - reach), _errors(self.state, self.mean + reach)


def _model_state(policy: CurveGP, seen: History) -> ModelState | None:
    try:
        return policy.state(seen)
    except NotPositiveDefinite as error:
        log.warning("%s: %s; left out of the report", seen.study.study_name, error)
        return None


def _deviations(level: float) -> float:
    """Standard deviations to either side that hold this probability."""
    return float(ndtri(0.5 + 0.5 * level))


def _errors(state: ModelState, flat: Floats) -> Floats:
    """Flattened errors as the error rates that they are."""
    # exp(99) of any unit is more than 1, and exp(999) would overflow.
    return np.clip(state.flattening.inverse(np.minimum(flat, 99.0)), 0.0, 1.0)


def _arm_predictions(repeats: Sequence[_Repeat]) -> ArmPredictions | None:
    picks = [(recommend(repeat.now.trials), repeat) for repeat in repeats]
    picked = [(trial.value, repeat) for trial, repeat in picks if trial and trial.value is not None]
    ranked = [repeat for _, repeat in sorted(picked, key=lambda pair: pair[0])]
    shown = next((repeat for repeat in (*ranked, *repeats) if repeat.state is not None), None)
    if shown is None or shown.state is None:
        return None
    state = shown.state
    chosen = recommend(shown.now.trials)
    best = chosen.number if chosen else _most_promising(state)
    params = dict(shown.now.trials[best].params)
    names, left_out = _mapped(state)
    coverage, judged, possible = _coverage(repeats)
    return ArmPredictions(
        arm=shown.search.arm,
        repeat=shown.search.repeat,
        trials=sum(bool(curve.errors) for curve in state.curves),
        best=best,
        params=params,
        picked=chosen is not None,
        left_out=left_out,
        maps=tuple(_map(state, params, *pair) for pair in combinations(names, 2)),
        forecasts=tuple(_forecasts(shown)),
        coverage=coverage,
        judged=judged,
        possible=possible,
    )


def _most_promising(state: ModelState) -> int:
    seen = [curve for curve in state.curves if curve.errors]
    means, _ = state.model.full_runs.predict(np.array([curve.x for curve in seen]))
    return seen[int(means.argmin())].number


# Maps


def _mapped(state: ModelState) -> tuple[list[str], tuple[str, ...]]:
    """The names of the parameters that get maps, and of those that do not."""
    names = list(state.encoding.distributions)
    order = np.argsort(state.model.h.length, kind="stable")
    kept = {names[i] for i in order[:MAPPED]}
    return [n for n in names if n in kept], tuple(n for n in names if n not in kept)


def _map(state: ModelState, params: Mapping[str, Any], x: str, y: str) -> Map:
    distributions = state.encoding.distributions
    across, up = _values(distributions[x]), _values(distributions[y])
    cells = [state.encoding.columns({**params, x: a, y: b}) for b in up for a in across]
    mean, sd = state.model.full_runs.predict(np.array(cells))
    flat, reach = state.model.centre + state.model.unit * mean, state.model.unit * sd
    reach *= _deviations(0.9)

    def rows(errors: Floats) -> tuple[tuple[float, ...], ...]:
        # A hundredth of a point: what can be seen, and a third of the size.
        return tuple(map(tuple, errors.round(4).reshape(len(up), len(across)).tolist()))

    width = _errors(state, flat + reach) - _errors(state, flat - reach)
    sides = (_axis(x, distributions[x], across), _axis(y, distributions[y], up))
    return Map(*sides, rows(_errors(state, flat)), rows(width))


def _values(distribution: BaseDistribution) -> list[Any]:
    """Values evenly spaced on the scale of a range, or all choices."""
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


# Forecasts


def _forecasts(repeat: _Repeat) -> Iterator[Forecast]:
    """Of the best full runs, and of those that came furthest of the ones that were stopped."""
    first: dict[int, Attempt] = {}
    for pause in repeat.modelled:
        first.setdefault(pause.trial, pause)
    trials = [repeat.now.trials[number] for number in first]
    full = [t for t in trials if t.number in repeat.outcomes]
    full.sort(key=lambda t: (repeat.outcomes[t.number], t.number))
    stopped = [t for t in trials if t.number not in repeat.outcomes and t.intermediate_values]
    stopped.sort(key=lambda t: (-max(t.intermediate_values), t.number))
    for some, most in ((full, FULL), (stopped, STOPPED)):
        made = (_forecast(repeat, trial, first[trial.number]) for trial in some)
        yield from islice((forecast for forecast in made if forecast), most)


def _forecast(repeat: _Repeat, trial: FrozenTrial, pause: Attempt) -> Forecast | None:
    """What was expected at this pause; None if nothing came after it, or there was no model."""
    if max(trial.intermediate_values) <= pause.reached:
        return None
    outlook = repeat.outlook(pause)
    if outlook is None:
        return None
    (low50, high50), (low90, high90) = outlook.interval(0.5), outlook.interval(0.9)
    return Forecast(
        trial=trial.number,
        state=state_of(trial, repeat.now),
        rung=pause.reached,
        known=outlook.known,
        epochs=outlook.epochs,
        median=tuple(_errors(outlook.state, outlook.mean).tolist()),
        low50=tuple(low50.tolist()),
        high50=tuple(high50.tolist()),
        low90=tuple(low90.tolist()),
        high90=tuple(high90.tolist()),
        errors=dict(trial.intermediate_values),
    )


def _coverage(repeats: Sequence[_Repeat]) -> tuple[tuple[Coverage, ...], int, int]:
    """By rung, with how many forecasts were judged and could have been.

    Judged are all, or so many evenly spaced ones that a report stays a matter of seconds.
    """
    possible = [
        (repeat, pause)
        for repeat in repeats
        for pause in repeat.modelled
        if pause.trial in repeat.outcomes
    ]
    longest = max(len(repeat.now.trials) for repeat in repeats)
    most = min(len(possible), max(1, REFITS * USUAL // max(USUAL, longest)))
    kept = [possible[int(i)] for i in np.linspace(0, len(possible) - 1, most)]
    rungs: dict[int, list[tuple[bool, ...]]] = defaultdict(list)
    for repeat, pause in kept:
        if (outlook := repeat.outlook(pause)) is not None:
            error = repeat.outcomes[pause.trial]
            bounds = (outlook.interval(level) for level in LEVELS)
            rungs[pause.reached].append(tuple(bool(lo[-1] <= error <= hi[-1]) for lo, hi in bounds))
    coverage = tuple(_covered(epoch, rungs[epoch]) for epoch in sorted(rungs))
    return coverage, sum(rung.runs for rung in coverage), len(possible)


def _covered(epoch: int, held: Sequence[tuple[bool, ...]]) -> Coverage:
    runs = len(held)
    least, most = binom.interval(0.95, runs, LEVELS)
    counts = tuple(sum(level) for level in zip(*held, strict=True))
    return Coverage(
        epoch,
        runs,
        LEVELS,
        counts,
        tuple(int(n) for n in least),
        tuple(int(n) for n in most),
    )
