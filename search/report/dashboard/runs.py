"""A search run as a trial of the copy that optuna-dashboard shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Final

from optuna.trial import FrozenTrial, TrialState

from tuneoff.messages import counted, printable
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.attributes import (
    CHOSEN_BY,
    DIVERGED,
    FAILURE,
    NOTE,
    SOURCE,
    StoredSource,
)
from tuneoff.search.store.trial_ids import id_of
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.trainer.contract import AnyRecipe
from tuneoff.trainer.own.recipe import OwnTraining

KEYS: Final = (
    "arm",
    "arm number",
    "repeat",
    "trial",
    "outcome",
    "epochs",
    "seed",
    "recipe",
    "worker",
    "device",
    "attempts",
    "seconds",
    "chosen by",
    "note",
    "reason",
    SOURCE.name,
)
"""The attributes that are written, all but the link to the log, which never changes."""

LOG_MARK: Final = "70e0ff"
"""Begins the name of each log: optuna-dashboard takes only hexadecimal ones."""


@dataclass(frozen=True, slots=True)
class Run:
    """A search run as it stands.

    Attributes:
        trial: as ``snapshot.as_it_stands`` has it.
        attempts: oldest first.
        mark: changes with everything that may change of it: see ``mark_of``.
    """

    search: Search
    trial: FrozenTrial
    attempts: Sequence[Attempt]
    mark: str = ""

    @property
    def outcome(self) -> str:
        """Its state in a word."""
        state, last = self.trial.state, self.attempts[-1] if self.attempts else None
        if state == TrialState.COMPLETE:
            return "diverged" if DIVERGED.is_set(self.trial) else "complete"
        if state == TrialState.RUNNING and not (last and last.live):
            return "paused" if last and last.end == "paused" else "interrupted"
        return "failed" if state == TrialState.FAIL else state.name.lower()


def as_copied(study: Study, run: Run) -> FrozenTrial:
    """The run as a trial of the copy: without number and id.

    Parameters, errors and state are the run's own. So a run that diverged is complete, with the
    error of guessing, and counts where importance is computed; ``outcome`` tells it apart. A run
    ends when its last attempt did: one that was paused and never taken up again is told only when
    its search is over, and would fill the timeline until then.
    """
    trial = run.trial
    attributes = _attributes(study, run)
    ended = trial.datetime_complete
    if ended is not None and run.attempts and (last := run.attempts[-1].ended) is not None:
        there = datetime.fromtimestamp(last, UTC).astimezone().replace(tzinfo=None)
        ended = min(ended, max(there, trial.datetime_start or there))
    params = study.space.in_effect(trial.params)
    copied = FrozenTrial(
        number=-1,
        trial_id=-1,
        state=trial.state,
        value=trial.value,
        datetime_start=trial.datetime_start,
        datetime_complete=ended,
        params=params,
        distributions={name: trial.distributions[name] for name in params},
        user_attrs=attributes,
        system_attrs={},
        intermediate_values=dict(trial.intermediate_values),
    )
    source = StoredSource(id_of(trial), run.mark)
    copied.system_attrs = SOURCE.entry(source) | _log_link(study, run)
    return copied


def _attributes(study: Study, run: Run) -> dict[str, Any]:
    trial, attempts = run.trial, run.attempts
    training = TrialRef(study, run.search, trial).run
    seed = training.seed
    known: dict[str, Any] = {
        "arm": run.search.arm,
        "arm number": list(study.spec.arms).index(run.search.arm),  # an axis must have numbers
        "repeat": run.search.repeat,
        "trial": trial.number,
        "outcome": run.outcome,
        "epochs": sum(attempt.epochs for attempt in attempts),
        "seed": f"{seed.study}, {seed.trial}, {seed.replica}",
        "recipe": recipe_in_short(training.recipe),
        "worker": attempts[-1].worker if attempts else None,
        "device": attempts[-1].device if attempts else None,
        "attempts": len(attempts),
        "seconds": round(sum(attempt.seconds for attempt in attempts), 2),
        "chosen by": CHOSEN_BY.get(trial),
        "note": NOTE.get(trial),
        "reason": printable(reason) if (reason := FAILURE.get(trial)) else None,
    }
    return {name: value for name, value in known.items() if value is not None}


def recipe_in_short(recipe: AnyRecipe) -> str:
    """What is trained, in a few words."""
    if isinstance(recipe, OwnTraining):
        return f"{recipe.code}, {counted(recipe.epochs, 'epoch')}"
    return f"{recipe.model}, {counted(recipe.epochs, 'epoch')}, batches of {recipe.batch_size}"


def recipe_in_words(recipe: AnyRecipe) -> str:
    """A recipe by the fields that are not as they are by default."""
    if isinstance(recipe, OwnTraining):
        return ", ".join((recipe.code, *(f"{n} {v}" for n, v in recipe.settings().items())))
    defaults = {f.name: f.default for f in fields(recipe)}
    chosen = (f"{n} {v}" for n, v in asdict(recipe).items() if n != "data" and v != defaults[n])
    return ", ".join((f"data {recipe.data.name}", *chosen))


def mark_of(state: str, reported: int, attempts: int, ended: int, epochs: int) -> str:
    """What tells whether a run has changed, at the cost of a few counts.

    Args:
        state: of the trial, by its name in Optuna.
        reported: how many epochs were reported.
        attempts, ended: how many there are, and how many of them have ended.
        epochs: of all attempts.
    """
    return f"{state} {reported} {attempts} {ended} {epochs}"


def log_name(study: Study, search: Search, number: int) -> str:
    """The name by which optuna-dashboard asks for a run's log: it is written when it is asked."""
    arm = list(study.spec.arms).index(search.arm)
    return f"{LOG_MARK}-{study.uid}-{arm:x}-{search.repeat:x}-{number:x}"


def _log_link(study: Study, run: Run) -> dict[str, Any]:
    name = log_name(study, run.search, run.trial.number)
    meta = {
        "artifact_id": name,
        "filename": f"{run.search.name.replace('/', '-')}-{run.trial.number}.log.txt",
        "mimetype": "text/plain",
        "encoding": None,
    }
    return {f"artifacts:{name}": json.dumps(meta)}
