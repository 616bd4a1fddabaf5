"""How good a surrogate is: what it says of configurations that it has not seen."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from tuneoff.search.policies.curve_gp.model import NotPositiveDefinite
from tuneoff.search.replay.draws import PosteriorDraw
from tuneoff.search.replay.surrogate import LEAST, Surrogate, fit_curves
from tuneoff.search.study.keys import key_of

FOLDS = 5
GOOD_RANKING, FAIR_RANKING = 0.8, 0.5
"""Rank correlations from which a surrogate is called good, and fair."""
SMALL = 3 * LEAST
"""Configurations below which a study is called small for a surrogate."""


@dataclass(frozen=True)
class Quality:
    """What cross-validation says of a surrogate.

    Attributes:
        configurations: with a run of all epochs.
        runs: short ones, of any length.
        full_trainings: that did not diverge.
        rank_correlation: Spearman's, of the errors that were foretold for configurations left out
            and those that they had at the end of their short runs; None where all are equal.
        better_half: the same among the better half of them, where a search is decided.
        error: half of the foretold errors are off by less than this, 0 to 1.
        seed_noise: standard deviation of the error, 0 to 1, between seeds of a good configuration,
            in short runs.
        warnings: what a reader must know before he trusts a simulation.
    """

    configurations: int
    runs: int
    full_trainings: int
    rank_correlation: float | None
    better_half: float | None
    error: float
    seed_noise: float
    warnings: tuple[str, ...]


def quality_of(surrogate: Surrogate) -> Quality:
    """Cross-validate the model of curves, ``FOLDS``-fold, whole configurations at a time."""
    evidence = surrogate.evidence
    keys = list(evidence.keys)
    np.random.default_rng(0).shuffle(keys)
    foretold: dict[str, float] = {}
    for fold in range(FOLDS):
        held = set(keys[fold::FOLDS])
        try:
            model, scale = fit_curves(evidence.without(held))
        except NotPositiveDefinite:
            continue
        mean = PosteriorDraw.mean(model)
        for run in evidence.complete:
            if (key := key_of(run.params)) in held:
                x = evidence.encoding.columns(run.params)
                foretold[key] = float(scale.errors(mean.curve(x, np.ones(1)))[0])
    measured: dict[str, list[float]] = defaultdict(list)
    for run in evidence.complete:
        measured[key_of(run.params)].append(run.errors[evidence.horizon])
    truth = np.array([float(np.mean(measured[key])) for key in foretold])
    said = np.array(list(foretold.values()))
    better = truth <= np.median(truth)
    ranks, among_better = _rank(said, truth), _rank(said[better], truth[better])
    return Quality(
        configurations=len(keys),
        runs=len(evidence.short),
        full_trainings=len(evidence.full),
        rank_correlation=ranks,
        better_half=among_better,
        error=float(np.median(np.abs(said - truth))),
        seed_noise=_seed_noise(surrogate),
        warnings=_warnings(surrogate, ranks, among_better),
    )


def _rank(a: np.ndarray, b: np.ndarray) -> float | None:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(spearmanr(a, b).statistic)


def _seed_noise(surrogate: Surrogate) -> float:
    """At the best error that was seen."""
    sd = math.sqrt(surrogate.rough.within)
    low, high = surrogate.scale.errors(np.array([-sd, sd]))
    return float(high - low) / 2


def _warnings(
    surrogate: Surrogate, ranks: float | None, among_better: float | None
) -> tuple[str, ...]:
    evidence, found = surrogate.evidence, []
    if len(evidence.keys) < SMALL:
        found.append(
            f"the study is small for this: {len(evidence.keys)} configurations with a whole run"
        )
    if ranks is None or ranks < FAIR_RANKING:
        found.append("the surrogate ranks unseen configurations poorly; do not rely on it")
    elif among_better is None or among_better < FAIR_RANKING:
        found.append("the surrogate ranks unseen good configurations poorly")
    if not surrogate.rough.separated:
        found.append(
            "no configuration was trained often enough to tell noise between seeds from the model's"
            " own error; all of it is taken for noise"
        )
    if surrogate.full is None:
        found.append("nothing was trained in full yet; full training is taken for a short run")
    elif not surrogate.full.effects.separated:
        found.append("too few seeds in full training to tell their noise from the configuration's")
    return tuple(found)
