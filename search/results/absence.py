"""Why a study has nothing to show, each in one line with what to do."""

from __future__ import annotations

from collections import Counter

from optuna.trial import TrialState

from tuneoff.messages import counted
from tuneoff.search.results.numbers import all_of
from tuneoff.search.results.read import state_of
from tuneoff.search.store.attributes import FAILURE
from tuneoff.search.study.snapshot import Snapshot


def no_configuration(now: Snapshot) -> str:
    """Why there is nothing to export: no trial of any arm has come to its end."""
    name = now.study.name
    trials = [trial for search in now.study.arms for trial in now.trials(search)]
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    if failed and len(failed) == len(trials):
        reason = next((FAILURE.of(t) for t in reversed(failed) if FAILURE.is_set(t)), "unknown")
        return (
            f"study {name}: {all_of(len(trials), 'trial')} failed, so that there is nothing to "
            f"export; the last reason: {reason}"
        )
    return f"study {name} has no finished trial yet; run it first"


def no_ensemble(now: Snapshot) -> str:
    """Why there is nothing to predict with: no ensemble has been combined."""
    study = now.study
    name = study.name
    if study.spec.ensemble is None:
        return f"study {name} has no [ensemble] section; create one that has, and promote it"
    if not study.task.is_own and not study.task.sizes.get("test", 0):
        return (
            f"study {name} has no ensemble, because its data have no test split to score one on; "
            "create the study with data that have"
        )
    members = _states(now, ensemble=True)
    if members and not set(members) & _TO_COME:
        return f"study {name} has no ensemble, because {_all(members, 'member')}; {_DIVERGED_FIX}"
    trainings = _states(now, ensemble=False)
    if trainings and set(trainings) <= {"diverged", "failed"}:
        return (
            f"study {name} has no ensemble, because {_all(trainings, 'full training')}; "
            f"{_DIVERGED_FIX}"
        )
    return f"study {name} has no ensemble yet; run `tuneoff promote {name}` first"


_TO_COME = {"waiting", "running", "paused", "complete"}
_DIVERGED_FIX = "search lower rates in [space], or see `tuneoff status`"


def _states(now: Snapshot, ensemble: bool) -> Counter[str]:
    search = now.study.ensemble if ensemble else now.study.full
    return Counter(state_of(trial, now.state(search)) for trial in now.trials(search))


def _all(states: Counter[str], noun: str) -> str:
    if len(states) == 1:
        return f"{all_of(states.total(), noun)} {next(iter(states))}"
    parts = " and ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"of {counted(states.total(), noun)} {parts}"
