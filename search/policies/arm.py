"""One arm of a study file in one repeat: all that a sampler's builder is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.space import SearchSpace

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Arm:
    """What the policy of an arm is made from.

    Attributes:
        settings: the arm's section of the study file.
        space: what is searched.
        seed: entropy of the repeat; the arms of one repeat share it, so that they start alike.
        pruning: the arm's pruner.
        budget: epochs for all runs of the search; 0 where it is given in seconds.
        start: the configurations of the arm that ``settings.start_from`` names, without notes.
        prior: those of the arm that ``settings.prior_from`` names.
    """

    settings: ArmSpec
    space: SearchSpace
    seed: tuple[int, ...]
    pruning: Pruning
    budget: int
    start: tuple[Params, ...] = ()
    prior: tuple[Params, ...] = ()
