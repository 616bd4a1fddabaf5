"""A study at one moment, so that whatever a report says of it agrees with the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.attributes import (
    DIVERGED,
    ENSEMBLE,
    FAILURE,
    REVEALED,
    SAMPLE,
    STOPPED,
    StoredEnsemble,
    StoredSample,
    StoredStop,
)
from tuneoff.search.store.moment import moment
from tuneoff.search.store.optuna_tables import read_attribute, read_study_attributes
from tuneoff.search.store.trials import read_trials
from tuneoff.search.study import table
from tuneoff.search.study.early_stop import StoredAttributes, early_stops
from tuneoff.search.study.plausible import plausible
from tuneoff.search.study.state import SearchState
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import last_epoch


@dataclass(frozen=True)
class Snapshot:
    """A study's trials and attempts at one moment of the database.

    Attributes:
        study: with the repeats that were open.
        states: of every search, by its name.
        ensemble: what is stored of the combined ensemble; None before there is one.
        stops: by search: how it ended, where it ended early.
        sample: what is trained to each horizon; None before it is drawn.
        age: seconds since the study was created, on the database's clock.
        revealed: when whoever tuned by hand saw what the other arms found; None before.
    """

    study: Study
    states: Mapping[str, SearchState]
    ensemble: StoredEnsemble | None
    stops: Mapping[str, StoredStop]
    sample: StoredSample | None = None
    age: float = 0.0
    revealed: str | None = None

    @classmethod
    def of(cls, study: Study) -> Snapshot:
        """Read a study, which may go on meanwhile.

        Raises:
            StudyError: one of its Optuna studies was deleted.
        """
        with moment(study.database.engine) as connection:
            standing = table.standing(connection, study.name)
            study = study.grown(standing.repeats)
            names = [search.name for search in study.searches]
            rows = attempts.read_at(connection, names)
            trials = read_trials(connection, names)
            noted = read_study_attributes(connection, study.ensemble.name)
            stopped = read_attribute(connection, names, STOPPED.name)
            sampled = read_study_attributes(connection, study.horizon.name)
            of_full = read_study_attributes(connection, study.full.name)
        by_search: dict[str, dict[int, list[Attempt]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            by_search[row.search][row.trial].append(row)
        states = {}
        for search in study.searches:
            if search.name not in trials:
                raise study.deleted(search)
            mine = by_search[search.name]
            states[search.name] = SearchState.of(
                as_it_stands(study, search, trials[search.name], mine),
                [row for some in mine.values() for row in some],
            )
        spent = {name: state.spent for name, state in states.items()}
        return cls(
            study,
            states,
            ensemble=ENSEMBLE.get(StoredAttributes(study.ensemble.name, noted)),
            stops=early_stops(stopped, spent),
            sample=SAMPLE.get(StoredAttributes(study.horizon.name, sampled)),
            age=standing.age,
            revealed=REVEALED.get(StoredAttributes(study.full.name, of_full)),
        )

    def state(self, search: Search) -> SearchState:
        """A search as it stood."""
        return self.states[search.name]

    def trials(self, search: Search) -> tuple[FrozenTrial, ...]:
        """A search's trials, by number. Not copies: do not change them."""
        return self.states[search.name].trials


def as_it_stands(
    study: Study,
    search: Search,
    trials: Iterable[FrozenTrial],
    attempts: Mapping[int, Sequence[Attempt]],
) -> list[FrozenTrial]:
    """Some trials of a search, as stored, without what is no error or not in the ledger yet.

    Args:
        attempts: by trial, oldest first, as they were when the trials were read.
    """
    chance = study.worst
    return [
        _as_owned(_as_finite(trial, chance), attempts.get(trial.number, ()))
        for trial in plausible(study, search, trials)
    ]


def _as_finite(trial: FrozenTrial, chance: float) -> FrozenTrial:
    """A trial that somebody else told an infinite value, as one of ours that diverged is told."""
    if trial.value is None or math.isfinite(trial.value):
        return trial
    told = copy(trial)
    told.value = chance
    told.user_attrs = trial.user_attrs | DIVERGED.entry(last_epoch(trial))
    return told


def _as_owned(trial: FrozenTrial, rows: Sequence[Attempt]) -> FrozenTrial:
    """A trial without what its owner has written of an end that is not in the ledger yet.

    A worker tells a trial first, and ends its attempt then. Until it has done both, the trial is
    running.
    """
    if not (rows and rows[-1].live):
        return trial
    reached = max(row.reached for row in rows)
    if not trial.state.is_finished() and last_epoch(trial) <= reached:
        return trial
    was = copy(trial)
    was.state, was.value, was.datetime_complete = TrialState.RUNNING, None, None
    was.intermediate_values = {e: v for e, v in trial.intermediate_values.items() if e <= reached}
    later = (DIVERGED.name, FAILURE.name)
    was.user_attrs = {k: v for k, v in trial.user_attrs.items() if k not in later}
    return was
