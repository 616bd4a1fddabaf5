"""Which hyperparameters decide whether a run is among the best, repeat by repeat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.study.snapshot import Snapshot

LEAST_RUNS: Final = 20
"""Fewer full runs in a repeat say nothing of the best tenth."""
MOST_RUNS: Final = 2000
"""Of more in a repeat, so many are taken, evenly spread over their order."""
BEST_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Importance:
    """The importance of one hyperparameter.

    Attributes:
        name: of the hyperparameter.
        shares: one for each of the repeats that could be judged, 0 to 1; in a repeat, those of
            all hyperparameters add up to 1.
        repeats: which those are.
    """

    name: str
    shares: tuple[float, ...]
    repeats: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Over the repeats, 0 to 1."""
        return sum(self.shares) / len(self.shares)


def read_importance(now: Snapshot) -> list[Importance]:
    """By PED-ANOVA, most important first; empty where too little is known.

    How much the values of a hyperparameter among the best tenth of the full runs of all arms differ
    from those among all of them: the Pearson divergence of the two densities (Watanabe, Bansal and
    Hutter 2023, "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary
    subspaces", eq. 16), as Optuna computes it.
    """
    repeats: dict[int, dict[str, float]] = {}
    for repeat in range(now.study.repeats):
        runs = [
            trial
            for search in now.study.arms
            if search.repeat == repeat
            for trial in now.trials(search)
            if trial.state == TrialState.COMPLETE and trial.value is not None
        ]
        found = _of_repeat(_thinned(runs))
        if found:
            repeats[repeat] = found
    names = dict.fromkeys(name for found in repeats.values() for name in found)
    known = [
        Importance(name, tuple(of.get(name, 0.0) for of in repeats.values()), tuple(repeats))
        for name in names
    ]
    return sorted(known, key=lambda one: -one.mean)


def _of_repeat(runs: Sequence[FrozenTrial]) -> dict[str, float]:
    """Each hyperparameter's share; empty where too little is known."""
    space = _common_space(runs)
    if len(runs) < LEAST_RUNS or len(space) < 2 or len({run.value for run in runs}) < 2:
        return {}
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: run.params[name] for name in space},
                distributions=space,
                value=run.value,
            )
            for run in runs
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is experimental, and of equal quantiles
        found = PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE).evaluate(study)
    total = sum(found.values())
    return {name: found[name] / total for name in space} if total > 0 else {}


def _common_space(runs: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """The hyperparameters that all runs have, as the first one has them."""
    if not runs:
        return {}
    first = runs[0].distributions
    return {
        name: distribution
        for name, distribution in first.items()
        if not distribution.single()
        and all(run.distributions.get(name) == distribution for run in runs)
    }


def _thinned(runs: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    if len(runs) <= MOST_RUNS:
        return list(runs)
    return [runs[i * len(runs) // MOST_RUNS] for i in range(MOST_RUNS)]
