"""The samplers and pruners that [arms.NAME] of a study file can name.

To add one, write a builder in ``tuneoff.search.policies`` and a line here: the study file's checks,
its messages and the tests of the documentation ask these registries. A builder stands here as text
and is imported when an arm uses it, so that a study file is checked without importing Optuna's
samplers, and this package without importing the policies.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuneoff.registry import Entry, Registry

_POLICIES = "tuneoff.search.policies"


@dataclass(frozen=True)
class Sampler(Entry):
    """A sampler: ``target`` takes a ``tuneoff.search.policies.arm.Arm`` and returns a Policy.

    Attributes:
        stops_runs: it pauses or ends weak runs itself, so that it goes with no pruner.
        takes_hand_tuned: it makes use of ``start_from`` and ``prior_from``.
    """

    stops_runs: bool = False
    takes_hand_tuned: bool = False


SAMPLERS = Registry(
    "sampler",
    {
        "curve-gp": Sampler(
            f"{_POLICIES}.curve_gp.policy:build",
            "a Gaussian process over learning curves; pauses weak runs, resumes promising ones",
            stops_runs=True,
            takes_hand_tuned=True,
        ),
        "gp": Sampler(f"{_POLICIES}.sampled:gp", "Optuna's Gaussian process over full runs"),
        "tpe": Sampler(f"{_POLICIES}.sampled:tpe", "Optuna's tree-structured Parzen estimator"),
        "random": Sampler(f"{_POLICIES}.sampled:random", "independent uniform points"),
        "quasi-random": Sampler(
            f"{_POLICIES}.quasi_random:build", "the points of a scrambled Sobol sequence"
        ),
        "grid": Sampler(
            f"{_POLICIES}.grid:build", "every combination of evenly spaced values, in random order"
        ),
    },
)
DEFAULT_SAMPLER = SAMPLERS.names[0]  # of an arm that names none


@dataclass(frozen=True)
class Pruner(Entry):
    """A pruner: ``target`` takes a ``tuneoff.search.policies.pruning.Pruning`` and returns
    an ``optuna.pruners.BasePruner``.

    Attributes:
        stops_runs: False for the one that lets every run come to its end.
    """

    stops_runs: bool = True


PRUNERS = Registry(
    "pruner",
    {
        "none": Pruner(f"{_POLICIES}.pruning:none", "every run is a full one", stops_runs=False),
        "median": Pruner(
            f"{_POLICIES}.pruning:median", "stops what is worse than the median of earlier runs"
        ),
        "hyperband": Pruner(
            f"{_POLICIES}.pruning:hyperband", "successive halving from several first rungs"
        ),
        "successive-halving": Pruner(
            f"{_POLICIES}.pruning:successive_halving",
            "lets the best of each rung go on to the next",
        ),
    },
)
NO_PRUNER = PRUNERS.names[0]  # of an arm that names none
