"""The sample of a study's configurations that is trained to each horizon, and by which trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from tuneoff.search.errors import StudyError
from tuneoff.search.spec.sections import HorizonSpec
from tuneoff.search.store.attributes import (
    HORIZON,
    REPLICA,
    SAMPLE,
    StoredChoice,
    StoredSample,
)
from tuneoff.search.study.evidence import known_configurations
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.sample import Candidate, draw
from tuneoff.search.study.selection import recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study


@dataclass(frozen=True)
class PlannedRun:
    """One training of the sample: a configuration, to a horizon in epochs, with a seed from 0."""

    params: Mapping[str, Any]
    epochs: int
    replica: int

    @property
    def key(self) -> tuple[str, int, int]:
        """Different for each run of a study."""
        return key_of(self.params), self.epochs, self.replica


def draw_sample(now: Snapshot) -> StoredSample:
    """The sample of a study whose search is over: the same one for equal searches.

    It is drawn from the configurations that an arm has run to the end of a search run without
    diverging: of the others it is not known what they would have come to.
    """
    horizon = now.study.spec.horizon
    assert horizon is not None
    recommended = (recommend(now.trials(search)) for search in now.study.arms)
    picks = {key_of(trial.params) for trial in recommended if trial is not None}
    known = {found.key: found for found in known_configurations(now) if found.search.errors}
    candidates = [
        Candidate(key, found.source.partition("/")[0], found.search.mean or 0.0, key in picks)
        for key, found in known.items()
    ]
    return StoredSample(
        configurations=horizon.configurations,
        population=len(candidates),
        choices=tuple(
            StoredChoice(
                params=dict(known[one.candidate.key].params),
                arm=one.candidate.arm,
                level=one.level,
                weight=one.weight,
                search_error=one.candidate.error,
            )
            for one in draw(candidates, horizon.configurations, now.study.spec.seed)
        ),
    )


def planned_runs(horizon: HorizonSpec, sample: StoredSample) -> Iterator[PlannedRun]:
    """Every run of the sample, the short ones first: one horizon is complete before the next."""
    for epochs in horizon.epochs:
        for replica in range(horizon.seeds):
            for choice in sample.choices:
                yield PlannedRun(choice.params, epochs, replica)


def horizon_runs(now: Snapshot) -> dict[tuple[str, int, int], FrozenTrial]:
    """The trials that train the sample, by (key of the parameters, horizon, replica)."""
    if now.study.spec.horizon is None:
        return {}
    return {
        (key_of(trial.params), HORIZON.of(trial), REPLICA.of(trial)): trial
        for trial in now.trials(now.study.horizon)
    }


def check_changes(study: Study, wanted: HorizonSpec | None) -> None:
    """Make sure that a changed [horizon] section goes with what is stored.

    Before the sample is drawn everything may change. Once it is, ``epochs`` and ``seeds`` may grow.

    Raises:
        StudyError: it does not; the message says what to put back.
    """
    before = study.spec.horizon
    if before is None or wanted == before or not SAMPLE.is_set(study.optuna_study(study.horizon)):
        return
    where = f"study {study.name}: its sample for [horizon] is drawn"
    if wanted is None:
        raise StudyError(f"{where}; put the section back into the file")
    if gone := sorted(set(before.epochs) - set(wanted.epochs)):
        raise StudyError(f"{where}, and horizon.epochs may only grow; put {gone[0]} back into it")
    if wanted.seeds < before.seeds:
        raise StudyError(f"{where}, and horizon.seeds may only grow; put {before.seeds} back")
    fixed = before.model_copy(update={"epochs": wanted.epochs, "seeds": wanted.seeds})
    for name, value in fixed:
        if value != getattr(wanted, name):
            raise StudyError(
                f"{where}, and horizon.{name} is {value!r}, not {getattr(wanted, name)!r}; put the "
                "file back, or give the study another name"
            )
