"""top-k: every candidate first, then the best ones, however many workers there are."""

from __future__ import annotations

import math
import random
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuneoff.search.policies.base import History, NewTrial, Policy
from tuneoff.search.policies.build import build_policy
from tuneoff.search.policies.top_k import TopK
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import DIVERGED

HORIZON = 6
DIVERGES = math.inf  # as an error: the loss is no number after that epoch

Curve = Callable[[int], Sequence[float]]
"""The errors of a run after epochs 1, 2, ...; the runs are counted from 0."""


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return optuna.create_study()


def made(budget: int, repeat: int = 0, **arm: Any) -> TopK:
    values = {
        "name": "selected",
        "data": {"name": "digits"},
        "trial": {"epochs": HORIZON},
        "space": {"lr": {"low": 1e-4, "high": 1.0, "log": True}},
        "budget": {"epochs": budget},
        "arms": {"top-k": {"sampler": "top-k", **arm}},
    }
    spec = StudySpec.parse(values, "test")
    policy = build_policy(spec, SearchSpace.of(spec), "top-k", repeat)
    assert isinstance(policy, TopK)
    return policy


@dataclass
class Run:
    """A run of a search: where it is, and who is at it."""

    job: NewTrial
    until: int
    errors: list[float] = field(default_factory=list)
    state: str = "live"  # paused, orphan, complete, diverged, failed

    @property
    def reached(self) -> int:
        return len(self.errors)


class Search:
    """A search in memory, whose workers take an epoch at a time, in any order."""

    def __init__(self, policy: TopK, study: optuna.Study, budget: int, curve: Curve) -> None:
        self.policy, self.study, self.budget, self.curve = policy, study, budget, curve
        self.runs: list[Run] = []
        self.spent = 0

    def of(self, state: str) -> list[Run]:
        return [run for run in self.runs if run.state == state]

    def history(self) -> History:
        held = sum(run.until - run.reached for run in self.of("live") + self.of("orphan"))
        paused = frozenset(i for i, run in enumerate(self.runs) if run.state == "paused")
        trials = tuple(self._trial(i, run) for i, run in enumerate(self.runs))
        return History(self.study, trials, paused, HORIZON, self.budget - self.spent - held)

    def _trial(self, number: int, run: Run) -> FrozenTrial:
        states = {"complete": TrialState.COMPLETE, "diverged": TrialState.COMPLETE,
                  "failed": TrialState.FAIL}  # fmt: skip
        state = states.get(run.state, TrialState.RUNNING)
        diverged = DIVERGED.entry(run.reached) if run.state == "diverged" else {}
        trial = create_trial(
            state=state,
            value=0.5 if state == TrialState.COMPLETE else None,
            params=dict(run.job.params),
            distributions=dict(self.policy.space.distributions),
            user_attrs=dict(run.job.note) | diverged,
            intermediate_values={i: min(e, 0.9) for i, e in enumerate(run.errors, start=1)},
        )  # fmt: skip
        trial.number = number
        return trial

    def begin(self) -> bool:
        """A free worker looks for a run, as ``work.claim`` does."""
        if orphans := self.of("orphan"):
            orphans[0].state = "live"
            return True
        job = self.policy.next(self.history())
        if job is None:
            return False
        if isinstance(job, NewTrial):
            self.runs.append(Run(job, job.until_epoch))
        else:
            run = self.runs[job.number]
            assert run.state == "paused"
            run.state, run.until = "live", job.until_epoch
        assert self.history().remaining >= 0
        return True

    def epoch(self, run: Run) -> None:
        """A worker trains one epoch."""
        self.spent += 1
        run.errors.append(self.curve(self.runs.index(run))[run.reached])
        if run.errors[-1] == DIVERGES:
            run.state = "diverged"
        elif run.reached == run.until:
            run.state = "complete" if run.reached == HORIZON else "paused"

    def to_the_end(self, workers: int = 1, choose: Callable[[int], int] = lambda n: 0) -> None:
        """Until nobody finds anything to do; ``choose`` says whose epoch ends next."""
        while True:
            while len(self.of("live")) < workers and self.begin():
                pass
            if not (live := self.of("live")):
                return
            run = live[choose(len(live))]
            if choose(8) == 7:  # its worker is killed, and the epoch is trained again
                run.state = "orphan"
            else:
                self.epoch(run)

    def result(self) -> list[tuple[Any, ...]]:
        return [(run.job.params["lr"], run.reached, run.state) for run in self.runs]


def fixed(table: Sequence[Sequence[float]]) -> Curve:
    return lambda number: table[number % len(table)]


def test_all_begin_and_the_best_end(study: Any) -> None:
    first = [0.5, 0.3, 0.4, 0.2, 0.6]
    search = Search(made(24, candidates=9), study, 24, lambda i: [first[i % 5], *[0.1] * 5])
    search.to_the_end()
    # 15 epochs are left for three ends. Of equal errors the older one goes first.
    assert [run.reached for run in search.runs] == [1, 6, 1, 6, 1, 1, 1, 1, 6]
    assert len({run.job.params["lr"] for run in search.runs}) == 9
    search = Search(made(24, candidates=9, full=1), study, 24, lambda i: [first[i % 5], *[0.1] * 5])
    search.to_the_end()
    assert [run.reached for run in search.runs] == [1, 1, 1, 6, 1, 1, 1, 1, 1]


def test_repeats_have_other_candidates(study: Any) -> None:
    nothing = History(study, (), frozenset(), HORIZON, 24)
    assert made(24, repeat=0).next(nothing) != made(24, repeat=1).next(nothing)


def test_what_diverged_or_failed_is_not_ended(study: Any) -> None:
    table = [[DIVERGES], [0.8] * 6, [math.nan] * 6, [0.7] * 6]
    search = Search(made(24, candidates=4), study, 24, fixed(table))
    search.begin()
    search.epoch(search.runs[0])
    search.begin()
    search.runs[1].state = "failed"
    search.to_the_end()
    assert [run.state for run in search.runs] == ["diverged", "failed", "paused", "complete"]


def test_one_that_diverges_later_makes_room_for_the_next(study: Any) -> None:
    table = [[0.1, DIVERGES], [0.2] * 6, [0.3] * 6, [0.4] * 6]
    search = Search(made(15, candidates=4), study, 15, fixed(table))
    search.to_the_end()  # 4 epochs, 1 in vain, and then two ends of 5
    assert [run.reached for run in search.runs] == [2, 6, 6, 1]


def test_nobody_goes_on_before_all_have_begun(study: Any) -> None:
    search = Search(made(24, candidates=3), study, 24, fixed([[0.5] * 6]))
    assert all(search.begin() for _ in range(3))
    assert not search.begin()
    search.epoch(search.runs[0])
    assert not search.begin()
    search.epoch(search.runs[1])
    search.epoch(search.runs[2])
    assert search.begin()


def test_an_own_idea_is_no_candidate(study: Any) -> None:
    """What somebody enters in the arm costs its epochs, and takes the place of none."""
    search = Search(made(24, candidates=4, full=2), study, 24, fixed([[0.5] * 6]))
    entered = NewTrial({"lr": 0.5}, HORIZON)
    search.runs.append(Run(entered, HORIZON, [0.01] * 6, "complete"))
    search.spent = HORIZON
    search.to_the_end()
    assert [run.reached for run in search.runs] == [6, 6, 6, 1, 1]
    first = made(24).next(History(study, (), frozenset(), HORIZON, 24))
    assert search.runs[1].job == first


errors = st.one_of(st.sampled_from([0.1, 0.2, DIVERGES, math.nan]), st.floats(0.05, 0.9))


@given(
    table=st.lists(st.lists(errors, min_size=HORIZON, max_size=HORIZON), min_size=1, max_size=8),
    budget=st.integers(HORIZON, 40), arm=st.sampled_from([{}, {"min_epochs": 2}, {"full": 1}]),
    workers=st.integers(2, 5), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=25)
@pytest.mark.slow
def test_the_same_is_trained_whoever_trains_it(
    study: Any,
    table: list[list[float]],
    budget: int,
    arm: dict[str, int],
    workers: int,
    seed: int,
) -> None:
    policy: Policy = made(budget, **arm)
    assert isinstance(policy, TopK)
    alone = Search(policy, study, budget, fixed(table))
    alone.to_the_end()
    crew = Search(policy, study, budget, fixed(table))
    crew.to_the_end(workers, random.Random(seed).randrange)
    assert crew.result() == alone.result()
    for search in (alone, crew):
        assert search.spent == sum(run.reached for run in search.runs) <= budget
        assert not search.of("orphan")
    first = policy.first
    begun = [run for run in alone.runs if run.reached >= first and run.errors[first - 1] < DIVERGES]
    ended = [run.errors[first - 1] for run in begun if run.reached > first]
    left = [run.errors[first - 1] for run in begun if run.reached == first]
    if ended and left:
        assert not max(ended) > min(left)
    assert len(ended) <= policy.full
    assert policy.stops is False
    if left and min(left) < DIVERGES and len(ended) < policy.full:
        assert budget - alone.spent < HORIZON - first  # which no further end costs


def test_the_example_of_the_documentation_has_the_defaults() -> None:
    text = Path(__file__).parents[3].joinpath("studies", "README.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```toml\n(.*?)```", text, re.S) if "top-k" in b)
    arm = tomllib.loads(block)["arms"]["top-k"]
    usual = made(54)
    assert arm == {
        "sampler": "top-k",
        "min_epochs": usual.first,
        "candidates": usual.candidates,
        "full": 5,
    }
    assert made(54, **{key: arm[key] for key in ("min_epochs", "candidates", "full")}).full == 5
