"""Samplers that remember what they have been asked, rebuilt from a search's history.

Some of Optuna's samplers keep more than the trials: QMC counts the points that it has drawn, CMA-ES
and NSGA-II note in each trial the generation that it belongs to, and anybody's own may have
attributes. None of it is stored with a search. So a new sampler is taken through the whole search
again, in a study in memory: it is asked for each trial, given the configuration that the trial
really had, and told what came of it, in the order in which that happened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from tuneoff.search.errors import SpecError
from tuneoff.search.policies.base import Decision, History, NewTrial
from tuneoff.search.policies.made import reason
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec.space import SearchSpace, inside

Event = tuple[Any, ...]
"""("ask", number, parameters) or ("tell", number, state, value, reported values by epoch)."""


@dataclass(frozen=True)
class Replayed:
    """A sampler that is taken through the search before it proposes a trial.

    What it proposes depends on the history and the seed alone, if the sampler takes a seed, or
    draws nothing at random. Values that a running trial has reported are shown to it once the
    trial has ended; that the trial runs, and its configuration, at once.

    Attributes:
        reference: of the sampler, as messages call it.
        sampler: makes a new one from a seed.
        seed: entropy of this repeat.
    """

    reference: str
    sampler: Callable[[int], BaseSampler]
    space: SearchSpace
    seed: tuple[int, ...]
    pruning: Pruning
    _kept: list[_Replay] = field(default_factory=list, compare=False, repr=False)

    def next(self, history: History) -> NewTrial | None:
        """What the sampler proposes after this history; None once it has stopped the study.

        Raises:
            SpecError: it raises, or proposes what lies outside the space.
        """
        if history.remaining < history.horizon:
            return None
        try:
            params = self._proposal(history)
            return None if params is None else NewTrial(params, history.horizon)
        except SpecError:
            raise
        except Exception as error:
            self._kept.clear()
            raise SpecError(
                f'sampler = "{self.reference}": proposed no configuration: {reason(error)}'
            ) from error

    def _proposal(self, history: History) -> dict[str, Any] | None:
        events = list(events_of(history.trials))
        # Most often nothing but the last trial is new since this process was asked before.
        if not self._kept or self._kept[0].done != events[: len(self._kept[0].done)]:
            self._kept[:] = [self._begin(history.study.study_name)]
        replay = self._kept[0]
        for event in events[len(replay.done) :]:
            replay.follow(event)
        if replay.study.stopped:
            return None
        return self.space.check(replay.ask(len(history.trials)))

    def _begin(self, name: str) -> _Replay:
        entropy = np.random.SeedSequence(self.seed)
        sampler = _Recorded(self.sampler(int(entropy.generate_state(1)[0])))
        study = _Stoppable(name, optuna.storages.InMemoryStorage(), sampler, self.pruning.build())
        return _Replay(study, sampler, self.space.distributions)

    @property
    def stops(self) -> bool:
        """As the pruner."""
        return self.pruning.stops

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """As the pruner says."""
        return self.pruning.after(history, trial)


def events_of(trials: Sequence[FrozenTrial]) -> Iterator[Event]:
    """What a sampler has been asked and told in a search, in order.

    Trials began in the order of their numbers. One had ended before another began if its time of
    ending says so.
    """
    ended = sorted(
        (trial for trial in trials if trial.state.is_finished()),
        key=lambda trial: (trial.datetime_complete or datetime.max, trial.number),
    )
    begun: set[int] = set()
    for trial in trials:
        now = trial.datetime_start or datetime.min
        while ended and ended[0].number in begun and (ended[0].datetime_complete or now) <= now:
            yield _told(ended.pop(0))
        begun.add(trial.number)
        yield ("ask", trial.number, dict(trial.params))
    yield from map(_told, ended)


def _told(trial: FrozenTrial) -> Event:
    reported = dict(trial.intermediate_values)
    return ("tell", trial.number, trial.state, trial.value, reported)


class _Stoppable(Study):
    """A study in memory that notes when its sampler has nothing left to propose."""

    def __init__(
        self,
        name: str,
        storage: optuna.storages.BaseStorage,
        sampler: BaseSampler,
        pruner: optuna.pruners.BasePruner,
    ) -> None:
        optuna.create_study(study_name=name, storage=storage)
        super().__init__(name, storage, sampler, pruner)
        self.stopped = False

    def stop(self) -> None:
        self.stopped = True


class _Recorded(BaseSampler):
    """A sampler whose trials get the parameters that they really had, whatever it proposes."""

    def __init__(self, inner: BaseSampler) -> None:
        self.inner = inner
        self.params: Mapping[str, Any] = {}

    def reseed_rng(self) -> None:
        self.inner.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        drawn = self.inner.sample_relative(study, trial, search_space)
        return {name: self.params.get(name, value) for name, value in drawn.items()}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, distribution: BaseDistribution
    ) -> Any:
        drawn = self.inner.sample_independent(study, trial, param_name, distribution)
        return self.params.get(param_name, drawn)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self.inner.after_trial(study, trial, state, values)


@dataclass
class _Replay:
    """A study in memory, and what has been replayed in it."""

    study: _Stoppable
    sampler: _Recorded
    distributions: Mapping[str, BaseDistribution]
    done: list[Event] = field(default_factory=list)
    running: dict[int, Trial] = field(default_factory=dict)

    def follow(self, event: Event) -> None:
        if event[0] == "ask":
            self.ask(event[1], event[2])
            return
        _, number, state, value, reported = event
        trial = self.running.pop(number)
        for epoch, error in reported.items():
            trial.report(error, epoch)
        # Optuna takes the last reported value of a pruned trial.
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state)
        self.done.append(event)

    def ask(self, number: int, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The parameters of the next trial: these, or what the sampler proposes."""
        # Somebody may have added a trial of another space: the sampler is told what fits into ours.
        self.sampler.params = {
            name: value
            for name, value in (params or {}).items()
            if name in self.distributions and inside(self.distributions[name], value)
        }
        trial = self.study.ask(dict(self.distributions))
        assert trial.number == number
        self.running[number] = trial
        self.done.append(("ask", number, dict(trial.params if params is None else params)))
        return dict(trial.params)
