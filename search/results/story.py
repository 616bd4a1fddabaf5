"""One trial's whole story: what was to be trained, what came of it, and who worked at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from optuna.trial import FrozenTrial

from tuneoff.messages import counted
from tuneoff.metric import ERROR, Metric
from tuneoff.search.errors import UserError
from tuneoff.search.results.read import state_of
from tuneoff.search.results.records import AttemptRecord
from tuneoff.search.results.trials import attempt_records_of
from tuneoff.search.store.attributes import (
    CHOSEN_BY,
    DIVERGED,
    ENTERED,
    FAILURE,
    NOTE,
    PRINTED,
    TEST_ERROR,
)
from tuneoff.search.study.selection import recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Search
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.trainer.contract import AnyRecipe
from tuneoff.trainer.own.recipe import OwnTraining

LOG_LINES: Final = 8
"""So many of the last lines of the logs that name a trial are shown."""
_NAMED: Final = 12
"""An error names no more arms than these."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file that a trial has left.

    Attributes:
        name: within the trial's folder.
        size: bytes.
    """

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class TrialStory:
    """All that is known of one trial.

    Attributes:
        trial: "ARM/REPEAT#NUMBER", or "QUEUE#NUMBER" of full training, ensemble and horizon.
        state: as in ``TrialCurve``.
        params: the searched parameters.
        recipe: every other field of its recipe in which it differs from the study's [trial], by
            name.
        seed: study, trial and replica, of which its random streams are made.
        errors: validation error, 0 to 1, by epoch, counted from 1.
        epochs: of a whole run.
        test_error: 0 to 1; None if it was not tested.
        diverged_epoch: in which the loss became non-finite; None if it did not.
        recommended: its arm recommends it, in its repeat.
        chosen_by: how curve-gp chose it; empty for other samplers.
        entered: when somebody entered it by hand, UTC in ISO 8601; empty if nobody did.
        note: that somebody wrote beside it; failure: why it failed. Empty if there is none.
        attempts: oldest first.
        folder: of its checkpoints on this machine; files: what lies in it.
        metric: what errors are, and how they are stored; see ``StudyResults``.
        log: the last lines of the workers' logs on this machine that name it.
        printed: what a user's own code printed last in the latest attempt that failed.
    """

    trial: str
    state: str
    params: Mapping[str, Any]
    recipe: Mapping[str, Any]
    seed: tuple[int, int, int]
    errors: Mapping[int, float]
    epochs: int
    test_error: float | None
    diverged_epoch: int | None
    recommended: bool
    chosen_by: str
    entered: str
    note: str
    failure: str
    attempts: tuple[AttemptRecord, ...]
    folder: Path
    files: tuple[StoredFile, ...]
    log: tuple[str, ...]
    metric: Metric = ERROR
    printed: tuple[str, ...] = ()


def read_story(now: Snapshot, trial: str) -> TrialStory:
    """The story of the trial that is called ``trial``, as reports call it.

    Args:
        trial: "bayes/0#12", "full#3", also with the study's name before it. The repeat may be left
            out where there is only one.

    Raises:
        UserError: there is no such trial; the message says which there are.
    """
    search, stored = _found(now, trial)
    state, ref = now.state(search), TrialRef(now.study, search, stored)
    run = ref.run
    usual = _settings(now.study.spec.recipe())
    # Of a table one value may be searched: "layer_decay.fc".
    searched = {*stored.params, *(name.partition(".")[0] for name in stored.params)}
    return TrialStory(
        trial=f"{_name(search)}#{stored.number}",
        state=state_of(stored, state),
        params=now.study.space.in_effect(stored.params),
        recipe={
            name: value
            for name, value in _settings(run.recipe).items()
            if value != usual.get(name) and name not in searched
        },
        seed=(run.seed.study, run.seed.trial, run.seed.replica),
        errors=dict(sorted(stored.intermediate_values.items())),
        epochs=run.recipe.epochs,
        test_error=TEST_ERROR.get(stored),
        diverged_epoch=DIVERGED.get(stored),
        recommended=search.kind == "arm" and _is_recommended(now.trials(search), stored),
        chosen_by=CHOSEN_BY.get(stored) or "",
        entered=ENTERED.get(stored) or "",
        note=NOTE.get(stored) or "",
        failure=FAILURE.get(stored) or "",
        attempts=tuple(attempt_records_of(search, state, stored.number)),
        folder=ref.folder,
        files=tuple(_files(ref.folder)),
        log=tuple(_log_lines(now.study.folder / "logs", str(ref))),
        metric=now.study.metric,
        printed=PRINTED.get(stored) or (),
    )


def _settings(recipe: AnyRecipe) -> dict[str, Any]:
    """Every setting of a recipe by its name; of a user's own code its parameters."""
    return recipe.settings() if isinstance(recipe, OwnTraining) else recipe.to_dict()


def _is_recommended(trials: tuple[FrozenTrial, ...], stored: FrozenTrial) -> bool:
    found = recommend(trials)
    return found is not None and found.number == stored.number


def _name(search: Search) -> str:
    return f"{search.arm}/{search.repeat}" if search.kind == "arm" else search.arm


def _found(now: Snapshot, trial: str) -> tuple[Search, FrozenTrial]:
    study = now.study
    of, mark, number = trial.removeprefix(f"{study.name}/").rpartition("#")
    searches = {_name(search): search for search in study.searches}
    if study.repeats == 1:
        searches |= {search.arm: search for search in study.arms}
    if not mark or not (number.isascii() and number.isdigit()):
        example = f"{_name(study.arms[0])}#0" if study.arms else "full#0"
        raise UserError(f"{trial!r} names no trial; write it as reports do, for example {example}")
    if of not in searches:
        raise UserError(f"study {study.name} has no {of!r}: there are {_listed(now)}")
    search = searches[of]
    trials = now.trials(search)
    if len(number) > 9 or int(number) >= len(trials):
        there = f"{counted(len(trials), 'trial')}, the last is #{len(trials) - 1}"
        raise UserError(
            f"there is no trial {of}#{number[:12]}: {of} has {there if trials else 'no trial yet'}"
        )
    return search, trials[int(number)]


def _listed(now: Snapshot) -> str:
    """The names of the searches, an arm's repeats together."""
    study = now.study
    upto = f" to {study.repeats - 1}" if study.repeats > 1 else ""
    names = [f"{arm}/0{upto}" for arm in study.spec.arms]
    more = [f"{len(names) - _NAMED} arms more"] if len(names) > _NAMED else []
    return ", ".join([*names[:_NAMED], *more, *(queue.arm for queue in study.queues)])


def _files(folder: Path) -> list[StoredFile]:
    """What lies in a folder; nothing if it is not there, or may not be read."""
    try:
        return [
            StoredFile(path.name, path.stat().st_size)
            for path in sorted(folder.iterdir())
            if path.is_file()
        ]
    except OSError:
        return []


def _log_lines(folder: Path, trial: str) -> list[str]:
    """The last lines in any worker's log that name this very trial."""
    found: list[str] = []
    try:
        for path in sorted(folder.glob("*.log")):
            with path.open(encoding="utf-8", errors="replace") as lines:
                found += [line.rstrip("\n") for line in lines if _names(line, trial)]
    except OSError:
        pass  # the logs lie on another machine, or may not be read
    return found[-LOG_LINES:]


def _names(line: str, trial: str) -> bool:
    """True if the line names this trial, and not one whose number only begins with its number."""
    _, there, after = line.partition(trial)
    return bool(there) and not after[:1].isdigit()
