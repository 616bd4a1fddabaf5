"""What an arm is: the policy that a study file's [arms.NAME] asks for, in one repeat."""

from __future__ import annotations

from typing import Any

import numpy as np

from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.curve_gp import CurveGP
from tuneoff.search.policies.fixed import Listed
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.policies.sampled import QuasiRandom, Sampled
from tuneoff.search.spec.file import ArmSpec, StudySpec
from tuneoff.search.spec.space import SearchSpace


def build_policy(spec: StudySpec, space: SearchSpace, arm: str, repeat: int) -> Policy:
    """The policy of an arm of the study file, in a repeat (0-based)."""
    settings: ArmSpec = spec.arms[arm]
    seed = (spec.seed, repeat)
    pruning = Pruning(
        settings.pruner,
        settings.min_epochs or 1,
        settings.reduction,
        settings.startup or 5,
        spec.trial.epochs,
    )
    if settings.configs is not None:
        return Listed(settings.configs, pruning)
    if settings.method == "curve-gp":
        return CurveGP(
            space,
            seed,
            startup=settings.startup or 8,
            first_rung=settings.min_epochs,
            reduction=settings.reduction,
            start=_hand_tuned(spec, settings.start_from),
            believed=_hand_tuned(spec, settings.believe),
        )
    if settings.method == "grid":
        grid = space.grid(settings.points)
        # In random order, so that a budget too small for the whole grid is not spent on one side.
        order = np.random.default_rng(np.random.SeedSequence(seed)).permutation(len(grid))
        return Listed([grid[i] for i in order], pruning)
    if settings.method == "quasi-random":
        return QuasiRandom(space, seed, pruning)
    assert settings.method is not None
    return Sampled(settings.method, space, seed, settings.startup or 5, pruning)


def _hand_tuned(spec: StudySpec, arm: str | None) -> list[dict[str, Any]]:
    configs = (spec.arms[arm].configs or ()) if arm else ()
    return [{name: value for name, value in c.items() if name != "note"} for c in configs]


def queue_policy(horizon: int) -> Policy:
    """The policy of promoted trials: nothing but what was enqueued, run to the end."""
    return Listed((), Pruning("none", 1, 2, 1, horizon))
