"""Configurations that somebody entered by hand, carried on into repeats that are added later."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.store.attributes import ENTERED, NOTE
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import add_trial


def enter_again(study: Study, repeats: int) -> None:
    """Enter in further repeats what was entered in every open one, as often as it is missing there.

    Nobody works in the new repeats yet, so that no lock is needed but that of whoever opens them.

    Args:
        study: with the repeats that are open.
        repeats: how many there are to be.
    """
    grown = study.grown(repeats)
    for arm, settings in study.spec.arms.items():
        if settings.configs is None:
            continue
        old = [_entered(study, search) for search in study.arms if search.arm == arm]
        everywhere = set.intersection(*(set(found) for found in old)) if old else set()
        for search in grown.arms[len(study.arms) :]:
            if search.arm == arm:
                there = _entered(grown, search)
                for key, trial in old[0].items():
                    if key in everywhere and key not in there:
                        _enter(grown, search, trial)


def _enter(study: Study, search: Search, trial: FrozenTrial) -> None:
    about = (attribute.name for attribute in (ENTERED, NOTE))
    note = {name: trial.user_attrs[name] for name in about if name in trial.user_attrs}
    job = NewTrial(trial.params, study.spec.trial.epochs, note)
    add_trial(study, search, TrialState.WAITING, job)


def _entered(study: Study, search: Search) -> dict[str, FrozenTrial]:
    """By key, in the order in which they were entered."""
    return {key_of(t.params): t for t in study.trials(search) if ENTERED.is_set(t)}
