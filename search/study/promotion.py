"""Which full trainings a study is to have: those of the picks, the most promising, the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from typing import Any

from optuna.trial import FrozenTrial

from tuneoff.search.spec.sections import PromoteSpec
from tuneoff.search.study.evidence import (
    Configuration,
    full_runs,
    known_configurations,
    promising,
)
from tuneoff.search.study.judging import Judging, Pick, allocate
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.selection import best_configuration, recommend
from tuneoff.search.study.snapshot import Snapshot

FullRun = tuple[str, int]
"""The key of a configuration, and which of its seeds."""


def picks_of(now: Snapshot) -> dict[Pick, Mapping[str, Any]]:
    """The parameters of what each arm picks in each repeat; without those that do not pick yet."""
    found = ((search, recommend(now.trials(search))) for search in now.study.arms)
    return {(s.arm, s.repeat): trial.params for s, trial in found if trial is not None}


def unjudged_picks(now: Snapshot) -> tuple[Pick, ...]:
    """The picks that are not to be judged, because [compare] ``epochs`` is too small."""
    if now.study.spec.promote is None or now.study.spec.compare.epochs is None:
        return ()
    return _Plan(now, now.study.spec.promote).judging.unjudged


def unfinished_picks(now: Snapshot) -> tuple[Pick, ...]:
    """The picks that may still change, or have fewer full trainings than they are to have.

    Searches of one repeat end together, as full training waits for all of them: as long as a trial
    of any is not finished, a pick that was trained for another repeat is no less provisional.
    Trainings beyond [promote] ``seeds`` narrow what is known already, and are not waited for.
    """
    promote, picks = now.study.spec.promote, picks_of(now)
    if promote is None:
        return ()
    plan = _Plan(now, promote)
    if not plan.there:
        return tuple(picks)
    ended = Counter(key for (key, _), trial in plan.there.items() if trial.state.is_finished())
    wanted = plan.judging.trainings
    searched_on = {
        search.repeat
        for search in now.study.arms
        if not all(trial.state.is_finished() for trial in now.trials(search))
    }
    return tuple(
        pick
        for pick, params in picks.items()
        for key in [key_of(params)]
        if pick[1] in searched_on or ended[key] < min(wanted.get(key, 0), promote.seeds)
    )


def is_spent(now: Snapshot) -> bool:
    """True if [compare] ``epochs`` has not enough left to train both picks of another pair."""
    if now.study.spec.promote is None or now.study.spec.compare.epochs is None:
        return False
    left = _Plan(now, now.study.spec.promote).judging.left
    return left is not None and left < 2


def missing_full(now: Snapshot) -> dict[FullRun, Mapping[str, Any]]:
    """Parameters of the full trainings to add, in the order in which they are to be begun.

    Every arm's pick in every repeat is trained with [promote] ``seeds`` seeds, or with as many as
    ``judging.allocate`` says where repeats share it, or under a bound of [compare] ``epochs``; so
    are, with ``seeds`` each, the ``top`` configurations, which are the most promising by search
    runs. Once all these have been trained, the best of all that was trained in full is brought to
    ``seeds``, and if another one is the best by then, that one, too.

    All configurations have the same seeds, from the first on. Both picks of a pair then see the
    same order of images and the same first weights of a head, and what a seed does to every
    configuration alike cancels in their difference; what it does to one alone does not, and is the
    noise that more seeds average out. Where picks have different numbers of seeds, because one of
    them was picked in more repeats, the former cancels only in part.

    A training is stored once, whoever asks for it: two arms, two repeats or the top. Those of
    studies of earlier versions, in which the seed of a pick was that of its repeat, count like
    any other, so that only what is missing in number is added.
    """
    if now.study.spec.promote is None:
        return {}
    plan = _Plan(now, now.study.spec.promote)
    missing = plan.missing(plan.wanted)
    if missing or not all(trial.state.is_finished() for trial in plan.there.values()):
        return missing
    return plan.missing(plan.seeds_of_the_best)


def missing_of(now: Snapshot, wanted: Mapping[str, int]) -> dict[FullRun, Mapping[str, Any]]:
    """As ``missing_full``: what is missing of so many trainings of each of these configurations.

    Of these, the first as many as [compare] ``epochs`` has left.
    """
    if now.study.spec.promote is None:
        return {}
    plan = _Plan(now, now.study.spec.promote)
    missing, left = plan.missing(wanted), plan.judging.left
    return missing if left is None else dict(islice(missing.items(), max(0, left)))


@dataclass(frozen=True)
class _Plan:
    """The full trainings of a study at one moment: those that are there, and those that it needs.

    Numbers of trainings are by the key of the configuration.
    """

    now: Snapshot
    promote: PromoteSpec

    @cached_property
    def there(self) -> dict[FullRun, FrozenTrial]:
        """Stored full trainings, however they ended."""
        return full_runs(self.now)

    @cached_property
    def known(self) -> list[Configuration]:
        return known_configurations(self.now)

    @cached_property
    def top(self) -> dict[str, int]:
        """The most promising configurations."""
        return {c.key: self.promote.seeds for c in promising(self.known)[: self.promote.top]}

    @cached_property
    def judging(self) -> Judging:
        """The picks."""
        spec = self.now.study.spec
        epochs = spec.compare.epochs
        return allocate(
            {pick: key_of(params) for pick, params in picks_of(self.now).items()},
            tuple(spec.arms),
            self.promote.seeds,
            Counter(key for key, _ in self.there),
            self.top,
            None if epochs is None else epochs // self.promote.epochs,
        )

    @property
    def wanted(self) -> dict[str, int]:
        """The picks and the top."""
        picked = self.judging.trainings
        return {**picked, **{key: n for key, n in self.top.items() if key not in picked}}

    @property
    def seeds_of_the_best(self) -> dict[str, int]:
        best = best_configuration(self.known)
        return {} if best is None else {best.key: self.promote.seeds}

    def missing(self, wanted: Mapping[str, int]) -> dict[FullRun, Mapping[str, Any]]:
        """What is wanted and not there: the first training of each, then the second ..."""
        params = {c.key: c.params for c in self.known}
        params |= {key_of(pick): pick for pick in picks_of(self.now).values()}
        trained = Counter(key for key, _ in self.there)
        rounds = []
        for place, (key, number) in enumerate(wanted.items()):
            free = (seed for seed in count() if (key, seed) not in self.there)
            for nth in range(trained[key], number):
                rounds.append((nth, place, key, next(free)))
        return {(key, seed): params[key] for _, _, key, seed in sorted(rounds)}
