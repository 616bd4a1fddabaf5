"""What is known of each configuration of a study, and which are the best by the best evidence."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store.attributes import DIVERGED, REPLICA
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.shrinkage import shrunk_means
from tuneoff.search.study.snapshot import Snapshot

Evidence = Literal["full training", "search runs"]
FULL_TRAINING: Final = "full training"
SEARCH_RUNS: Final = "search runs"


@dataclass(frozen=True)
class Runs:
    """The finished runs of one configuration, all of one kind.

    Attributes:
        errors: validation errors of those that did not diverge, 0 to 1.
        diverged: number of those that did.
        expected: the error that the next run is expected to have, 0 to 1: the mean of ``errors``,
            shrunk as ``shrinkage.shrunk_means`` says, weighted with the error of guessing by the
            share of runs that diverged; None without a run.
    """

    errors: tuple[float, ...] = ()
    diverged: int = 0
    expected: float | None = None

    @property
    def count(self) -> int:
        """Of all runs."""
        return len(self.errors) + self.diverged

    @property
    def all_diverged(self) -> bool:
        """True if there are runs, and none of them came to an error of its own."""
        return self.diverged > 0 and not self.errors

    @property
    def mean(self) -> float | None:
        """Of ``errors``."""
        return statistics.fmean(self.errors) if self.errors else None

    @property
    def sd(self) -> float | None:
        """Standard deviation of ``errors``; None for fewer than two."""
        return statistics.stdev(self.errors) if len(self.errors) > 1 else None


@dataclass(frozen=True)
class Configuration:
    """A configuration that the arms found, with all that is known of it.

    Attributes:
        source: the first trial that had it, "ARM/REPEAT#TRIAL".
        search: its full search runs in all arms and repeats.
        full: its full trainings.
        trained: the trials of its finished full trainings, by replica; diverged ones, too.
    """

    params: Mapping[str, Any]
    source: str
    search: Runs
    full: Runs
    trained: tuple[FrozenTrial, ...]

    @property
    def key(self) -> str:
        """Equal for equal parameters."""
        return key_of(self.params)

    @property
    def decided_by(self) -> Evidence:
        """The more trustworthy kind of runs that there is."""
        return FULL_TRAINING if self.full.count else SEARCH_RUNS

    @property
    def diverged(self) -> bool:
        """True if all runs of the kind that decides diverged."""
        return (self.full if self.full.count else self.search).all_diverged


def known_configurations(now: Snapshot) -> list[Configuration]:
    """Every configuration with a finished full search run or full training, best first.

    Full training is what the search is for, so that whatever has been trained in full goes before
    what has not, by the expected error of full training; the rest follows by the expected error of
    search runs. Configurations that diverged are last. Of equals the one with more runs goes first.
    """
    search, source = _search_runs(now)
    full = finished_full(now)
    keys = list(dict.fromkeys([*search, *full]))
    of_search = _runs(now, [search.get(key, []) for key in keys])
    of_full = _runs(now, [full.get(key, []) for key in keys])
    found = [
        Configuration(params, at, searched, fully, tuple(full.get(key, ())))
        for key, searched, fully in zip(keys, of_search, of_full, strict=True)
        for params, at in (source[key],)
    ]
    return sorted(found, key=lambda c: (c.diverged, not c.full.count, *_order(c)))


def promising(known: Sequence[Configuration]) -> list[Configuration]:
    """Configurations by the expected error of their search runs alone, best first.

    It does not change while these are trained in full. Those of which every run diverged are left
    out.
    """
    able = (c for c in known if c.search.errors)
    return sorted(able, key=lambda c: (_least(c.search), c.source))


def full_runs(now: Snapshot) -> dict[tuple[str, int], FrozenTrial]:
    """Trials of full training by (key of the parameters, replica)."""
    return {
        (key_of(trial.params), REPLICA.of(trial)): trial for trial in now.trials(now.study.full)
    }


def finished_full(now: Snapshot) -> dict[str, list[FrozenTrial]]:
    """Finished full trainings of each configuration, diverged ones too: by its key, by replica."""
    finished: dict[str, list[FrozenTrial]] = defaultdict(list)
    for (key, _), trial in sorted(full_runs(now).items(), key=lambda item: item[0]):
        if trial.state == TrialState.COMPLETE and trial.value is not None:
            finished[key].append(trial)
    return dict(finished)


def _order(found: Configuration) -> tuple[Any, ...]:
    return _least(found.full), _least(found.search), found.source


def _least(runs: Runs) -> tuple[float, int, float]:
    """Less is better; for runs of the same kind."""
    expected = 1.0 if runs.expected is None else runs.expected
    return expected, -runs.count, 1.0 if runs.mean is None else runs.mean


def _search_runs(
    now: Snapshot,
) -> tuple[dict[str, list[FrozenTrial]], dict[str, tuple[Mapping[str, Any], str]]]:
    """Complete trials of all arms, and where each configuration of any trial was found first.

    An arm recommends a run that has not come to its end if all others diverged, so that full
    training knows configurations that have no complete trial.
    """
    complete: dict[str, list[FrozenTrial]] = defaultdict(list)
    source: dict[str, tuple[Mapping[str, Any], str]] = {}
    others: dict[str, tuple[Mapping[str, Any], str]] = {}
    for search in now.study.arms:
        for trial in now.trials(search):
            key, name = key_of(trial.params), f"{search.arm}/{search.repeat}#{trial.number}"
            if trial.state == TrialState.COMPLETE and trial.value is not None:
                complete[key].append(trial)
                source.setdefault(key, (trial.params, name))
            else:
                others.setdefault(key, (trial.params, name))
    promoted = {
        key_of(trial.params): (trial.params, f"full#{trial.number}")
        for trial in now.trials(now.study.full)
    }
    return complete, {**promoted, **others, **source}


def _runs(now: Snapshot, trials: Sequence[Sequence[FrozenTrial]]) -> list[Runs]:
    """The runs of each configuration, all configurations' of one kind, with expected errors."""
    errors = [
        tuple(t.value for t in mine if t.value is not None and not DIVERGED.is_set(t))
        for mine in trials
    ]
    images = None
    if now.study.metric.percent:
        images = max(1, now.study.task.sizes.get("validation", 0))
    shrunk = iter(shrunk_means([some for some in errors if some], images))
    chance = now.study.worst
    made = []
    for mine, some in zip(trials, errors, strict=True):
        diverged = len(mine) - len(some)
        expected = None
        if mine:
            share = diverged / len(mine)
            expected = share * chance + ((1 - share) * next(shrunk) if some else 0.0)
        made.append(Runs(some, diverged, expected))
    return made
