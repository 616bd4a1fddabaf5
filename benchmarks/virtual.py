"""Asynchronous workers on a virtual clock: the project's policies without any training.

Every epoch takes one unit of virtual time on every worker. Trials, attempts and the history that a
policy sees are those of ``tuneoff.search``; the learning curves are given.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import Decision, NewTrial, Policy
from tuneoff.search.store.attempts import Attempt, End
from tuneoff.search.study.state import SearchState
from tuneoff.search.study.trial_ref import last_epoch

Curve = Callable[[Mapping[str, Any]], Sequence[float]]


@dataclass(frozen=True)
class Step:
    """One epoch of one trial.

    Attributes:
        epochs: number of epochs that all trials have trained by then.
        trial: number of the trial.
        epoch: the trial's epoch, 1-based.
        error: its validation error after that epoch.
        final: its error after a full run, whether or not it is ever trained that far.
    """

    epochs: int
    trial: int
    epoch: int
    error: float
    final: float


@dataclass(frozen=True)
class Simulation:
    """What one arm did until its budget was spent.

    Attributes:
        steps: one for each epoch trained, in the order in which they ended.
        states: number of trials in each state; "paused" are those that were paused at the end.
        seconds: real seconds spent in the policy's ``next`` and ``after``.
        suggestions: number of jobs that ``next`` returned.
    """

    steps: tuple[Step, ...]
    states: Mapping[str, int]
    seconds: float
    suggestions: int

    def recommended(self, epochs: int, horizon: int) -> float:
        """The final error of the trial that the arm would recommend after ``epochs`` epochs.

        That is the trial with the least error at the last epoch that any trial has reached: the
        best full run, once there is one. Infinity before the first epoch.
        """
        done = [step for step in self.steps if step.epochs <= epochs]
        if not done:
            return float("inf")
        deepest = max(step.epoch for step in done)
        return min((s for s in done if s.epoch == deepest), key=lambda s: s.error).final


def simulate(
    policy: Policy,
    distributions: Mapping[str, BaseDistribution],
    curve: Curve,
    horizon: int,
    budget: int,
    workers: int,
    on_epochs: Callable[[int], None] = lambda epochs: None,
    place: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Simulation:
    """Run a policy until its budget is spent or it asks for no more.

    Args:
        policy: decides what is trained.
        distributions: of the hyperparameters.
        curve: gives a configuration's errors after epochs 1, 2, ..., horizon.
        horizon: epochs of a full run.
        budget: epochs in all.
        workers: number of trials that are trained at the same time.
        on_epochs: called with the number of epochs spent so far.
        place: the parameters that are trained instead of those that the policy proposes, which is
            told so.
    """
    study = optuna.create_study(
        study_name="virtual",
        direction="minimize",
        storage=optuna.storages.InMemoryStorage(),
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=optuna.pruners.NopPruner(),
    )
    # A private name, for trials with given parameters and states: what ``tuneoff.search`` does
    # through its own storage.
    storage = study._storage
    rows: list[Attempt] = []
    curves: dict[int, Sequence[float]] = {}
    steps: list[Step] = []
    seconds, suggestions = 0.0, 0
    clock: list[tuple[int, int, int]] = []  # (time of the next epoch's end, order, worker)
    owned: dict[int, int] = {}  # worker -> index of its attempt
    order = 0

    def read_state() -> SearchState:
        trials = storage.get_all_trials(study._study_id, deepcopy=False)
        return SearchState.of(trials, sorted(rows, key=lambda row: row.number))

    def start_job(worker: int, now: int) -> bool:
        nonlocal seconds, suggestions, order
        state = read_state()
        history = state.history(study, horizon, budget)
        begun = time.perf_counter()
        job = policy.next(history) if history.remaining > 0 else None
        seconds += time.perf_counter() - begun
        if job is None:
            return False
        suggestions += 1
        start = 0
        if isinstance(job, NewTrial):
            trial = FrozenTrial(
                number=-1, trial_id=-1, state=TrialState.RUNNING, value=None,
                datetime_start=datetime.now(), datetime_complete=None,
                params=dict(place(job.params)),
                distributions=dict(distributions), user_attrs=dict(job.note), system_attrs={},
                intermediate_values={},
            )  # fmt: skip
            number = len(state.trials)
            storage.create_new_trial(study._study_id, template_trial=trial)
            curves[number] = curve(trial.params)
        else:
            number, start = job.number, last_epoch(state.trials[job.number])
        if job.until_epoch - start > history.remaining:
            return False
        owned[worker] = len(rows)
        before = state.attempts.get(number, [])
        row = Attempt(
            search="virtual", trial=number, number=len(before), token=f"{len(rows)}",
            worker=f"{worker}", process="", device="cpu", started=float(now),
            progressed=float(now), ended=None, end=None, reason=None, from_epoch=start,
            until_epoch=job.until_epoch, epochs=0, seconds=0.0, idle=0.0,
        )  # fmt: skip
        rows.append(row)
        order += 1
        heapq.heappush(clock, (now + 1, order, worker))
        return True

    def finish_epoch(worker: int, now: int) -> None:
        nonlocal seconds, order
        row = rows[owned[worker]]
        epoch = row.reached + 1
        error = float(curves[row.trial][epoch - 1])
        storage.set_trial_intermediate_value(row.trial, epoch, error)
        row = replace(row, epochs=row.epochs + 1, progressed=float(now))
        rows[owned[worker]] = row
        final = float(curves[row.trial][horizon - 1])
        steps.append(Step(len(steps) + 1, row.trial, epoch, error, final))
        on_epochs(len(steps))
        end: End | None = None
        if epoch == horizon:
            storage.set_trial_state_values(row.trial, TrialState.COMPLETE, [error])
            end = "finished"
        else:
            state = read_state()
            trial = state.trials[row.trial]
            begun = time.perf_counter()
            decision = policy.after(state.history(study, horizon, budget), trial)
            seconds += time.perf_counter() - begun
            if decision == Decision.PRUNE:
                storage.set_trial_state_values(row.trial, TrialState.PRUNED, [error])
                end = "pruned"
            elif decision == Decision.PAUSE or epoch == row.until_epoch:
                end = "paused"
        if end is None:
            order += 1
            heapq.heappush(clock, (now + 1, order, worker))
        else:
            rows[owned[worker]] = replace(row, end=end, ended=float(now))
            del owned[worker]

    now = 0
    while True:
        for worker in range(workers):
            if worker not in owned and not start_job(worker, now):
                break
        if not clock:
            break
        now = clock[0][0]
        while clock and clock[0][0] == now:
            _, _, worker = heapq.heappop(clock)
            finish_epoch(worker, now)

    state = read_state()
    states: dict[str, int] = {}
    for trial in state.trials:
        name = "paused" if trial in state.paused else trial.state.name.lower()
        states[name] = states.get(name, 0) + 1
    return Simulation(tuple(steps), states, seconds, suggestions)
