"""The samplers and pruners that [arms.NAME] of a study file can name.

Besides the names here it can give a reference, "module:Class", to a class made for Optuna.

To add one, write a builder in ``tuneoff.search.policies`` and a line here: the study file's checks,
its messages and the tests of the documentation ask these registries. A builder stands here as text
and is imported when an arm uses it, so that a study file is checked without importing Optuna's
samplers, and this package without importing the policies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tuneoff import references
from tuneoff.registry import Entry, Registry

_POLICIES = "tuneoff.search.policies"
E = TypeVar("E", bound=Entry)


class OpenRegistry(Registry[E]):
    """A registry that also takes references: what they stand for is said by ``by_reference``."""

    def __init__(
        self, kind: str, entries: Mapping[str, E], by_reference: Callable[[str], E]
    ) -> None:
        super().__init__(kind, entries)
        self._by_reference = by_reference

    def entry(self, name: str) -> E:
        """All that is known of a name or a reference (ValueError if it is neither)."""
        if references.is_reference(name):
            return self._by_reference(references.check_class(name, self.kind))
        return super().entry(name)


@dataclass(frozen=True)
class Sampler(Entry):
    """A sampler: ``target`` takes a ``tuneoff.search.policies.arm.Arm`` and returns a Policy.

    Attributes:
        title: what an arm with it is called in a sentence; empty: by its own name.
        stops_runs: it pauses or ends weak runs itself, so that it goes with no pruner.
        takes_hand_tuned: it makes use of ``start_from`` and ``prior_from``.
        takes_steps: it makes use of ``start``, ``order`` and ``factors``.
        takes_shares: it makes use of ``candidates`` and ``full``.
        learns: what it proposes depends on what earlier runs came to, and not on their number
            alone.
    """

    title: str = ""
    stops_runs: bool = False
    takes_hand_tuned: bool = False
    takes_steps: bool = False
    takes_shares: bool = False
    learns: bool = True


def class_name(reference: str) -> str:
    """What reports call the thing that a reference names."""
    return reference.rpartition(":")[2]


_DO_NOT_LEARN = ("optuna.samplers:RandomSampler", "optuna.samplers:QMCSampler")


def _sampler(reference: str) -> Sampler:
    name = class_name(reference)
    return Sampler(
        f"{_POLICIES}.referenced:build",
        f"{name}, a sampler made for Optuna",
        title=name,
        learns=reference not in _DO_NOT_LEARN,
    )


SAMPLERS = OpenRegistry(
    "sampler",
    {
        "curve-gp": Sampler(
            f"{_POLICIES}.curve_gp.policy:build",
            "a Gaussian process over learning curves; pauses weak runs, resumes promising ones",
            stops_runs=True,
            takes_hand_tuned=True,
            title="Bayesian optimisation",
        ),
        "gp": Sampler(
            f"{_POLICIES}.sampled:gp",
            "Optuna's Gaussian process over full runs",
            title="Bayesian optimisation",
        ),
        "tpe": Sampler(
            f"{_POLICIES}.sampled:tpe",
            "Optuna's tree-structured Parzen estimator",
            title="Bayesian optimisation",
        ),
        "random": Sampler(
            f"{_POLICIES}.sampled:random",
            "independent uniform points",
            learns=False,
            title="random search",
        ),
        "quasi-random": Sampler(
            f"{_POLICIES}.quasi_random:build",
            "the points of a scrambled Sobol sequence",
            learns=False,
            title="quasi-random search",
        ),
        "grid": Sampler(
            f"{_POLICIES}.grid:build",
            "every combination of evenly spaced values, in random order",
            learns=False,
            title="grid search",
        ),
        "one-at-a-time": Sampler(
            f"{_POLICIES}.one_at_a_time:build",
            "one parameter after the other, as people tune by hand",
            takes_steps=True,
            title="one-at-a-time tuning",
        ),
        "top-k": Sampler(
            f"{_POLICIES}.top_k:build",
            "many configurations for an epoch or so, the best of them in full",
            stops_runs=True,
            takes_shares=True,
            title="top-k selection",
        ),
    },
    _sampler,
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


def _pruner(reference: str) -> Pruner:
    return Pruner(
        f"{_POLICIES}.pruning:by_reference",
        f"{class_name(reference)}, a pruner made for Optuna",
        stops_runs=reference != "optuna.pruners:NopPruner",
    )


PRUNERS = OpenRegistry(
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
    _pruner,
)
NO_PRUNER = PRUNERS.names[0]  # of an arm that names none
