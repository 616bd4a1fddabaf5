"""A try of the samplers and pruners that a study file refers to, before the study is made."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, QMCSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff import references
from tuneoff.search.errors import SpecError
from tuneoff.search.policies.base import History, NewTrial
from tuneoff.search.policies.build import build_policy
from tuneoff.search.policies.referenced import make_sampler
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace

_TRIALS = 3
_WAY_OUT: dict[type[BaseSampler], str] = {QMCSampler: "; give options = { scramble = true }"}


def try_references(spec: StudySpec, space: SearchSpace) -> list[str]:
    """Make sure that each arm's sampler and pruner propose and judge trials of this space.

    Each is asked for a few trials in memory, as its search would ask it. Where no arm has any by
    reference, nothing is done.

    Returns:
        What people should know of them, a line each.

    Raises:
        SpecError: one cannot be made, refuses the space, or raises; one line that names the arm.
    """
    arms = {arm: settings for arm, settings in spec.arms.items() if settings.by_reference}
    notes: list[str] = []
    if arms:
        # Optuna would tell of every study in memory.
        optuna.logging.set_verbosity(max(optuna.logging.get_verbosity(), optuna.logging.WARNING))
    for arm, settings in arms.items():
        try:
            if settings.method is not None and references.is_reference(settings.method):
                sampler = make_sampler(settings.method, settings.options, spec.seed)
                notes += [f"arms.{arm}: {note}" for note in _notes(sampler, space)]
                first, second = (_try(spec, space, arm, repeat) for repeat in range(2))
                # The first trial of some samplers is drawn apart from the rest.
                if first[1:] and first[1:] == second[1:] and _is_endless(space):
                    notes.append(
                        f"arms.{arm}: {type(sampler).__name__} proposes the same in every repeat, "
                        f"which then differ in training alone{_WAY_OUT.get(type(sampler), '')}"
                    )
            else:
                _try(spec, space, arm, 0)
        except SpecError as error:
            raise SpecError(f"arms.{arm}: {error}") from error
    return notes


def _try(spec: StudySpec, space: SearchSpace, arm: str, repeat: int) -> list[dict[str, Any]]:
    """What an arm proposes for its first trials."""
    found: list[dict[str, Any]] = []
    policy = build_policy(spec, space, arm, repeat)
    epochs = spec.trial.epochs
    study = optuna.create_study(study_name=f"{spec.name}/{arm}/{repeat}")
    for number in range(_TRIALS):
        now = tuple(study.get_trials(deepcopy=False))
        job = policy.next(History(study, now, frozenset(), epochs, spec.budget.epochs or epochs))
        if not isinstance(job, NewTrial):
            if not number:
                raise SpecError("proposes nothing; check its options")
            break
        found.append(dict(job.params))
        # What training reports is for it to bear; here every trial is a bit better.
        curve = dict.fromkeys(range(1, epochs + 1), 0.5 - 0.1 * number)
        if policy.stops:
            _ask_pruner(policy, study, space, job, curve, epochs)
        study.add_trial(_trial(space, job, curve, TrialState.COMPLETE))
    return found


def _is_endless(space: SearchSpace) -> bool:
    """False if two repeats may well draw the same by chance."""
    ranges = (d for d in space.distributions.values() if isinstance(d, FloatDistribution))
    return any(each.step is None and not each.single() for each in ranges)


def _ask_pruner(
    policy: Any,
    study: optuna.Study,
    space: SearchSpace,
    job: NewTrial,
    curve: dict[int, float],
    epochs: int,
) -> None:
    """Ask about a trial after its first epoch, in a copy: pruners note in the study what they say.

    Optuna's own take a study for what its storage has, so the trial has to be stored.
    """
    copy = optuna.create_study(study_name=study.study_name)
    copy.add_trials(study.get_trials(deepcopy=False))
    copy.add_trial(_trial(space, job, {1: curve[1]}, TrialState.RUNNING))
    trials = tuple(copy.get_trials(deepcopy=False))
    policy.after(History(copy, trials, frozenset(), epochs, epochs), trials[-1])


def _trial(
    space: SearchSpace, job: NewTrial, curve: dict[int, float], state: TrialState
) -> FrozenTrial:
    return create_trial(
        state=state,
        value=curve[max(curve)] if state is TrialState.COMPLETE else None,
        params=dict(job.params),
        distributions=dict(space.distributions),
        intermediate_values=curve,
    )


def _notes(sampler: BaseSampler, space: SearchSpace) -> Iterator[str]:
    """What CMA-ES does not search. It would draw that at random, and say so for every trial."""
    if not isinstance(sampler, CmaEsSampler):
        return
    if importlib.util.find_spec("cmaes") is None:
        raise SpecError(
            "CmaEsSampler needs the package cmaes, which is not here; pip install cmaes"
        )
    name = type(sampler).__name__
    others = [
        name for name, d in space.distributions.items() if isinstance(d, CategoricalDistribution)
    ]
    if len(others) == len(space.distributions):
        raise SpecError(
            f"{name} searches numbers, and [space] has none; choose another sampler, or search a "
            "range"
        )
    if others:
        yield f"{name} searches numbers alone; {' and '.join(others)} will be drawn at random"
