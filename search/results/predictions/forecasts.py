"""Forecasts of learning curves, and how often their intervals held the error of the full run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

import numpy as np
from optuna.trial import FrozenTrial
from scipy.stats import binom

from tuneoff.search.results.predictions.records import Coverage, Forecast
from tuneoff.search.results.predictions.repeat import Repeat
from tuneoff.search.results.read import state_of
from tuneoff.search.store.attempts import Attempt

FULL: Final = 3  # forecasts shown of the best full runs
STOPPED: Final = 3  # and of the runs that were stopped
LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

# To judge a forecast takes a fit of the model to what was known then, and a fit takes longer the
# more trials there are. So a report takes no longer for a long study than for a short one:
MOST_JUDGED: Final = 200  # forecasts of an arm whose longest repeat has up to JUDGED_TRIALS trials;
JUDGED_TRIALS: Final = 100  # with twice as many trials, half as many forecasts, and so on


def forecasts_of(repeat: Repeat) -> Iterator[Forecast]:
    """Forecasts of the best full runs, then of the stopped runs that had come furthest.

    Each is from the first pause of its run after which the policy asked the model.
    """
    first: dict[int, Attempt] = {}
    for pause in repeat.predicted_pauses:
        first.setdefault(pause.trial, pause)
    trials = [repeat.now.trials[number] for number in first]
    full = [t for t in trials if t.number in repeat.outcomes]
    full.sort(key=lambda t: (repeat.outcomes[t.number], t.number))
    stopped = [t for t in trials if t.number not in repeat.outcomes and t.intermediate_values]
    stopped.sort(key=lambda t: (-max(t.intermediate_values), t.number))
    for some, most in ((full, FULL), (stopped, STOPPED)):
        made = (_forecast(repeat, trial, first[trial.number]) for trial in some)
        yield from islice((forecast for forecast in made if forecast), most)


def _forecast(repeat: Repeat, trial: FrozenTrial, pause: Attempt) -> Forecast | None:
    """None if the run was never resumed, or if the model could not be fitted."""
    if max(trial.intermediate_values) <= pause.reached:
        return None
    predicted = repeat.prediction(pause)
    if predicted is None:
        return None
    (low50, high50), (low90, high90) = predicted.interval(0.5), predicted.interval(0.9)
    return Forecast(
        trial=trial.number,
        state=state_of(trial, repeat.now),
        rung=pause.reached,
        known=predicted.known,
        epochs=predicted.epochs,
        median=tuple(predicted.median.tolist()),
        low50=tuple(low50.tolist()),
        high50=tuple(high50.tolist()),
        low90=tuple(low90.tolist()),
        high90=tuple(high90.tolist()),
        errors=dict(trial.intermediate_values),
    )


def coverage_of(repeats: Sequence[Repeat]) -> tuple[tuple[Coverage, ...], int, int]:
    """Coverage by rung, the number of forecasts judged, and the number that could have been.

    All are judged, or evenly spaced ones where they are too many (see ``MOST_JUDGED``).
    """
    possible = [
        (repeat, pause)
        for repeat in repeats
        for pause in repeat.predicted_pauses
        if pause.trial in repeat.outcomes
    ]
    longest = max(len(repeat.now.trials) for repeat in repeats)
    affordable = MOST_JUDGED * JUDGED_TRIALS // max(JUDGED_TRIALS, longest)
    count = min(len(possible), max(1, affordable))
    kept = [possible[int(i)] for i in np.linspace(0, len(possible) - 1, count)]
    rungs: dict[int, list[tuple[bool, ...]]] = defaultdict(list)
    for repeat, pause in kept:
        if (predicted := repeat.prediction(pause)) is not None:
            error = repeat.outcomes[pause.trial]
            ends = (predicted.interval(level) for level in LEVELS)
            rungs[pause.reached].append(tuple(bool(lo[-1] <= error <= hi[-1]) for lo, hi in ends))
    coverage = tuple(_coverage(epoch, rungs[epoch]) for epoch in sorted(rungs))
    return coverage, sum(rung.runs for rung in coverage), len(possible)


def _coverage(epoch: int, held: Sequence[tuple[bool, ...]]) -> Coverage:
    """Coverage at one rung; ``held``: for each run, whether its error lay within each level."""
    runs = len(held)
    lower, upper = binom.interval(0.95, runs, LEVELS)
    counts = tuple(sum(level) for level in zip(*held, strict=True))
    return Coverage(
        epoch,
        runs,
        LEVELS,
        counts,
        tuple(int(n) for n in lower),
        tuple(int(n) for n in upper),
    )
