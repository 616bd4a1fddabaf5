"""Predictions of every curve-gp arm, made again from the stored trials and attempts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tuneoff.search.policies.curve_gp import CurveGP
from tuneoff.search.policies.curve_gp.model_state import ModelState
from tuneoff.search.policies.curve_gp.threads import one_thread
from tuneoff.search.results.predictions.forecasts import coverage_of, forecasts_of
from tuneoff.search.results.predictions.maps import maps_of
from tuneoff.search.results.predictions.records import ArmPredictions
from tuneoff.search.results.predictions.repeat import Repeat
from tuneoff.search.study.selection import error_of, recommend
from tuneoff.search.study.snapshot import Snapshot


def read_predictions(now: Snapshot) -> list[ArmPredictions]:
    """One for each arm whose policy is curve-gp, as soon as one of its runs has an error."""
    study, found = now.study, []
    for arm in study.spec.arms:
        searches = [s for s in study.arms if s.arm == arm and isinstance(s.sampler, CurveGP)]
        with one_thread():
            prediction = _arm_predictions([Repeat(study, s, now.state(s)) for s in searches])
        found += [prediction] if prediction else []
    return found


def _arm_predictions(repeats: Sequence[Repeat]) -> ArmPredictions | None:
    """None while no repeat has a model."""
    shown = next((repeat for repeat in _best_first(repeats) if repeat.state is not None), None)
    if shown is None or shown.state is None:
        return None
    state = shown.state
    recommended = recommend(shown.now.trials)
    best = recommended.number if recommended else _most_promising(state)
    params = dict(shown.now.trials[best].params)
    maps, left_out = maps_of(state, params, shown.study.metric)
    coverage, judged, possible = coverage_of(repeats)
    return ArmPredictions(
        arm=shown.search.arm,
        repeat=shown.search.repeat,
        trials=sum(bool(curve.errors) for curve in state.curves),
        best=best,
        params=shown.study.space.in_effect(params),
        recommended=recommended is not None,
        left_out=left_out,
        maps=maps,
        forecasts=tuple(forecasts_of(shown)),
        coverage=coverage,
        judged=judged,
        possible=possible,
    )


def _best_first(repeats: Sequence[Repeat]) -> list[Repeat]:
    """Ordered by the recommendation's error; those without a recommendation come last."""

    def rank(repeat: Repeat) -> float:
        recommended = recommend(repeat.now.trials)
        return error_of(recommended) if recommended else np.inf

    return sorted(repeats, key=rank)


def _most_promising(state: ModelState) -> int:
    """The trial for whose configuration the model predicts the lowest error of a full run."""
    seen = [curve for curve in state.curves if curve.errors]
    means, _ = state.model.full_runs.predict(np.array([curve.x for curve in seen]))
    return seen[int(means.argmin())].number
