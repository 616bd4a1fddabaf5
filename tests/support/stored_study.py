"""Studies that nobody trained: trials and attempts written into the database in one go, by the real
schema, and full trainings, ensembles and horizons by the real plan of what is to be trained."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from optuna.distributions import distribution_to_json

from tuneoff.search.store.attributes import (
    DIVERGED,
    ENSEMBLE,
    ENVIRONMENT,
    FAILURE,
    HORIZON,
    MEMBER,
    MEMBER_KEY,
    NOTE,
    RECIPE,
    RECIPE_CHANGES,
    REPLICA,
    SAMPLE,
    SEED,
    TEST_ERROR,
    UNTIL,
    StoredEnsemble,
    StoredMember,
)
from tuneoff.search.store.tables import attempts_table
from tuneoff.search.study.horizon import draw_sample, planned_runs
from tuneoff.search.study.promotion import missing_full
from tuneoff.search.study.selection import member_trials
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import FULL_RUN, HORIZON_RUN, Search, Study

State = Literal["complete", "pruned", "paused", "diverged", "failed", "running", "waiting"]

BEGUN = 1_790_000_000.0
"""When every study began, in seconds since 1970 UTC."""
SECONDS = 40.0
"""That one epoch takes."""
_STATES: Mapping[State, tuple[str, str | None]] = {
    # What a trial is told, and how its last attempt ended.
    "complete": ("COMPLETE", "finished"),
    "diverged": ("COMPLETE", "finished"),
    "pruned": ("PRUNED", "pruned"),
    "paused": ("RUNNING", "paused"),
    "failed": ("FAIL", "failed"),
    "running": ("RUNNING", None),
    "waiting": ("WAITING", None),
}


@dataclass(frozen=True)
class Try:
    """One worker's attempt: the epochs that it trained, and how it ended."""

    epochs: int
    end: str | None
    reason: str | None = None
    worker: str = ""
    device: str = ""


@dataclass(frozen=True)
class Run:
    """One trial.

    Attributes:
        params: a value for each searched parameter.
        errors: validation error after each epoch, 0 to 1; may be NaN or infinite.
        state: what became of it.
        note: beside the configuration; failure: why it failed.
        tries: the attempts; one that trained all epochs if empty.
    """

    params: Mapping[str, Any]
    errors: tuple[float, ...] = ()
    state: State = "complete"
    note: str = ""
    failure: str = ""
    tries: tuple[Try, ...] = ()


@dataclass
class Writer:
    """Writes what a study has come to.

    Attributes:
        workers: of which each search has one, in turn.
        device: that they say they train on.
        environment: what a trained model's trainer says of where it was trained.
    """

    study: Study
    workers: tuple[str, ...] = ("gpu-box/4711", "gpu-box/4712")
    device: str = "cuda:0"
    environment: Mapping[str, str] = field(default_factory=lambda: {"device": "cuda", "torch": "2"})

    def __post_init__(self) -> None:
        self._tables = sa.MetaData()
        self._tables.reflect(self.study.database.engine)
        self._free = dict.fromkeys(self.workers, BEGUN)
        """When each worker is free."""

    def arm(self, arm: str, repeat: int, runs: Iterable[Run]) -> None:
        """Add trials to an arm's search."""
        search = next(s for s in self.study.arms if (s.arm, s.repeat) == (arm, repeat))
        self._add(search, [(run, {}) for run in runs], self.study.spec.trial.epochs)

    def full(self, errors: Callable[[Mapping[str, Any], int], tuple[float, float]]) -> None:
        """Train in full all that is to be.

        Args:
            errors: from parameters and seed to validation and test error; NaN if it diverges.
        """
        promote = self.study.spec.promote
        assert promote is not None
        while missing := missing_full(Snapshot.of(self.study)):
            added = []
            for (_, replica), params in missing.items():
                validation, test = errors(params, replica)
                note = {
                    **REPLICA.entry(replica),
                    **SEED.entry((self.study.spec.seed, FULL_RUN, replica)),
                    **RECIPE_CHANGES.entry(promote.changes()),
                }
                added.append(self._trained(params, validation, test, promote.epochs, note))
            self._add(self.study.full, added, promote.epochs)

    def ensemble(self, errors: Iterable[float], combined: float) -> None:
        """Train the ensemble's members, with these test errors, and combine them."""
        added, members = [], []
        for (member, trial), error in zip(
            member_trials(Snapshot.of(self.study)), errors, strict=True
        ):
            assert trial is None
            note = {
                **MEMBER.entry(member.index),
                **MEMBER_KEY.entry(member.key),
                **SEED.entry(member.seed),
                **RECIPE_CHANGES.entry(dict(member.changes)),
            }
            epochs = int(member.changes["epochs"])
            added.append(self._trained(member.params, error, error, epochs, note))
            members.append((str(member.changes.get("model", "proxy")), error))
        self._add(self.study.ensemble, added, 1)
        stored = tuple(StoredMember(model, e, e, 1 / len(members)) for model, e in members)
        result = StoredEnsemble("paper", stored, combined, tuple(range(len(stored))))
        self.study.optuna_study(self.study.ensemble).set_user_attr(*ENSEMBLE.item(result))

    def horizon(self, errors: Callable[[Mapping[str, Any], int], tuple[float, float]]) -> None:
        """Draw the sample, and train it.

        Args:
            errors: from parameters and epochs to validation and test error.
        """
        horizon = self.study.spec.horizon
        assert horizon is not None
        sample = draw_sample(Snapshot.of(self.study))
        self.study.optuna_study(self.study.horizon).set_user_attr(*SAMPLE.item(sample))
        added = []
        for run in planned_runs(horizon, sample):
            validation, test = errors(run.params, run.epochs)
            note = {
                **HORIZON.entry(run.epochs),
                **REPLICA.entry(run.replica),
                **SEED.entry((self.study.spec.seed, HORIZON_RUN + run.epochs, run.replica)),
                **RECIPE_CHANGES.entry(horizon.changes(run.epochs)),
            }
            added.append(self._trained(run.params, validation, test, run.epochs, note))
        self._add(self.study.horizon, added, 1)

    def _trained(
        self,
        params: Mapping[str, Any],
        validation: float,
        test: float,
        epochs: int,
        note: dict[str, Any],
    ) -> tuple[Run, dict[str, Any]]:
        """A trained model with its score on the test split."""
        if math.isnan(validation):
            return Run(params, (self.study.worst,), "diverged"), note
        errors = falling(validation, epochs)
        recipe, _ = self.study.space.apply(self.study.spec.recipe(), params)
        note |= RECIPE.entry(json.loads(json.dumps(recipe.to_dict())))
        note |= ENVIRONMENT.entry(dict(self.environment))
        if self.study.task.sizes.get("test", 0):
            note |= TEST_ERROR.entry(test)
        return Run(params, errors), note

    def _add(self, search: Search, runs: list[tuple[Run, dict[str, Any]]], until: int) -> None:
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        position = self.study.searches.index(search)
        worker = self.workers[position % len(self.workers)]
        with self.study.database.engine.begin() as connection:
            studies, trials = self._tables.tables["studies"].c, self._tables.tables["trials"].c
            study_id = connection.scalar(
                sa.select(studies.study_id).where(studies.study_name == search.name)
            )
            first = 1 + (connection.scalar(sa.select(sa.func.max(trials.trial_id))) or 0)
            number = connection.scalar(
                sa.select(sa.func.count()).where(trials.study_id == study_id)
            )
            for i, (run, note) in enumerate(runs):
                trial = {"trial_id": first + i, "number": (number or 0) + i, "study_id": study_id}
                begun, ended = self._attempts(rows, search, trial, run, worker, until)
                self._trial(rows, trial, run, note, until, begun, ended)
            for table, some in rows.items():
                connection.execute(self._tables.tables[table].insert(), some)

    def _attempts(
        self,
        rows: dict[str, list[dict[str, Any]]],
        search: Search,
        trial: Mapping[str, Any],
        run: Run,
        worker: str,
        until: int,
    ) -> tuple[float | None, float | None]:
        """The rows of its attempts; when the first began, and when the last ended."""
        if run.state == "waiting":
            return None, None
        whole = Try(max(1, len(run.errors)), _STATES[run.state][1], run.failure or None)
        from_epoch, first, ended = 0, None, None
        for number, one in enumerate(run.tries or (whole,)):
            who = one.worker or worker
            begun = self._free.get(who, BEGUN)
            ended = self._free[who] = begun + SECONDS * max(one.epochs, 0.2)
            first = begun if first is None else first
            rows[attempts_table.name].append(
                {
                    "search": search.name,
                    "trial": trial["number"],
                    "number": number,
                    "token": f"{trial['trial_id']:024d}{number:08d}",
                    "worker": who,
                    "process": "",
                    "device": one.device or self.device,
                    "started": begun,
                    "progressed": ended,
                    "ended": None if one.end is None else ended,
                    "end": one.end,
                    "reason": one.reason and one.reason[:500],
                    "from_epoch": from_epoch,
                    "until_epoch": max(until, from_epoch + one.epochs),
                    "epochs": one.epochs,
                    "seconds": SECONDS * one.epochs,
                }
            )
            from_epoch += one.epochs if one.end != "lost" else 0
        return first, ended

    def _trial(
        self,
        rows: dict[str, list[dict[str, Any]]],
        trial: Mapping[str, Any],
        run: Run,
        note: Mapping[str, Any],
        until: int,
        begun: float | None,
        ended: float | None,
    ) -> None:
        told, trial_id = _STATES[run.state][0], {"trial_id": trial["trial_id"]}
        unfinished = told in ("RUNNING", "WAITING")
        rows["trials"].append(
            {**trial, "state": told, "datetime_start": _utc(begun)}
            | {"datetime_complete": None if unfinished else _utc(ended)}
        )
        for name, distribution in self.study.space.distributions.items():
            stored = distribution.to_internal_repr(run.params[name])
            rows["trial_params"].append(
                {**trial_id, "param_name": name, "param_value": stored}
                | {"distribution_json": distribution_to_json(distribution)}
            )
        chance = self.study.worst
        errors = dict(enumerate(run.errors, 1))
        notes = dict(note)
        if run.state == "diverged":
            last = max(errors, default=1)
            errors[last] = chance
            notes |= DIVERGED.entry(last)
        if run.note:
            notes |= NOTE.entry(run.note)
        if run.state == "failed":
            notes |= FAILURE.entry(run.failure or "1 attempt failed; the last: unknown")
        for epoch, error in errors.items():
            value, kind = _stored(error)
            rows["trial_intermediate_values"].append(
                {**trial_id, "step": epoch, "intermediate_value": value}
                | {"intermediate_value_type": kind}
            )
        if told in ("COMPLETE", "PRUNED") and errors:
            value, kind = _stored(errors[max(errors)])
            if kind != "NAN":
                rows["trial_values"].append(
                    {**trial_id, "objective": 0, "value": value, "value_type": kind}
                )
        for key, content in notes.items():
            rows["trial_user_attributes"].append(
                {**trial_id, "key": key, "value_json": json.dumps(content)}
            )
        name, epoch = UNTIL.item(until)
        rows["trial_system_attributes"].append(
            {**trial_id, "key": name, "value_json": json.dumps(epoch)}
        )


def falling(final: float, epochs: int, first: float = 0.9) -> tuple[float, ...]:
    """Errors of a run that comes to ``final`` in the last of so many epochs."""
    rate, last = 3 / max(1, epochs - 1), max(1, epochs - 1)
    shares = [math.exp(-rate * e) - math.exp(-3) * e / last for e in range(epochs - 1)]
    return (*(final + (first - final) * share for share in shares), final)


def _stored(number: float) -> tuple[float | None, str]:
    """A number and its kind, as Optuna stores them."""
    if math.isnan(number):
        return None, "NAN"
    if math.isinf(number):
        return None, "INF_POS" if number > 0 else "INF_NEG"
    return number, "FINITE"


def _utc(moment: float | None) -> datetime | None:
    return None if moment is None else datetime.fromtimestamp(moment, UTC).replace(tzinfo=None)
