"""The sampler "grid": every combination of evenly spaced values."""

from __future__ import annotations

import numpy as np

from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.fixed import FixedConfigurations


def build(arm: Arm) -> Policy:
    """The grid of the arm's space, with ``points`` values of each range."""
    grid = arm.space.grid(arm.settings.points)
    # In random order, so that a budget too small for the whole grid is not spent on one side.
    order = np.random.default_rng(np.random.SeedSequence(arm.seed)).permutation(len(grid))
    return FixedConfigurations([grid[i] for i in order], arm.pruning)
