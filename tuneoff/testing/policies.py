"""A search in memory, and what every policy must do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import Decision, History, Job, NewTrial, Policy, ResumeTrial

Curve = Callable[[Mapping[str, Any]], Sequence[float]]
"""Validation errors after epochs 1, 2, ..., horizon of a configuration."""


def simulate(
    policy: Policy,
    distributions: Mapping[str, BaseDistribution],
    curve: Curve,
    horizon: int,
    budget: int,
) -> Iterator[tuple[History, Job | None]]:
    """Run a policy with one worker, in memory, until it has no more to ask for.

    A job that the budget cannot pay for ends it, as in a real search.

    Args:
        distributions: of the parameters that the policy proposes.
        curve: gives what each run reports.
        horizon: epochs of a full run.
        budget: epochs for all runs.

    Yields:
        What the policy was asked with, and what it answered; the last answer is None.
    """
    study = optuna.create_study(study_name="simulated", storage=optuna.storages.InMemoryStorage())
    storage = study._storage  # it plays the part of the search, which writes through the storage
    study_id = study._study_id
    paused: set[int] = set()
    spent = 0
    while True:
        trials = tuple(storage.get_all_trials(study_id, deepcopy=False))
        history = History(study, trials, frozenset(paused), horizon, budget - spent)
        job = policy.next(history) if history.remaining > 0 else None
        if isinstance(job, NewTrial):
            trial_id = storage.create_new_trial(study_id, _running(job, distributions))
            number, start = len(trials), 0
        elif isinstance(job, ResumeTrial):
            trial_id, number = trials[job.number]._trial_id, job.number
            start = max(trials[number].intermediate_values, default=0)
        if job is None or job.until_epoch - start > history.remaining:
            yield history, None
            return
        yield history, job
        paused.discard(number)
        errors = curve(storage.get_trial(trial_id).params)
        decision = Decision.CONTINUE
        for epoch in range(start + 1, job.until_epoch + 1):
            storage.set_trial_intermediate_value(trial_id, epoch, errors[epoch - 1])
            spent += 1
            if epoch == horizon:
                break
            now = replace(history, trials=tuple(storage.get_all_trials(study_id, deepcopy=False)))
            decision = policy.after(now, now.trials[number])
            if decision is not Decision.CONTINUE:
                break
        if epoch == horizon:
            storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [errors[-1]])
        elif decision is Decision.PRUNE:
            storage.set_trial_state_values(trial_id, TrialState.PRUNED, [errors[epoch - 1]])
        else:
            paused.add(number)


def _running(job: NewTrial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params=dict(job.params),
        distributions=dict(distributions),
        user_attrs=dict(job.note),
        system_attrs={},
        intermediate_values={},
    )


class PolicyConformance:
    """What the search relies on in a policy.

    The space has ``lr`` on a logarithmic scale and ``momentum``; give other ``distributions`` if
    your policy needs them.
    """

    distributions: Mapping[str, BaseDistribution] = {
        "lr": FloatDistribution(1e-4, 1.0, log=True),
        "momentum": FloatDistribution(0.5, 0.99),
    }
    horizon = 9
    budget = 90

    def make_policy(self) -> Policy:
        """The policy, as a new process would have it, with the same seed each time."""
        raise NotImplementedError

    def curve(self, params: Mapping[str, Any]) -> Sequence[float]:
        """Errors after each epoch: different for different configurations, and falling."""
        units = (
            distribution.to_internal_repr(params[name])
            for name, distribution in self.distributions.items()
        )
        final = 0.1 + 0.5 * (abs(hash(tuple(units))) % 1000) / 1000
        return [final + 0.3 / (epoch + 1) for epoch in range(self.horizon)]

    def test_proposals_lie_in_the_space(self) -> None:
        jobs = [job for _, job in self._run(self.make_policy()) if isinstance(job, NewTrial)]
        assert jobs
        for job in jobs:
            assert set(job.params) == set(self.distributions)
            for name, distribution in self.distributions.items():
                value = job.params[name]
                assert distribution._contains(distribution.to_internal_repr(value))
                if isinstance(distribution, CategoricalDistribution):
                    assert value in distribution.choices

    def test_jobs_end_within_a_full_run(self) -> None:
        for history, job in self._run(self.make_policy()):
            if job is None:
                continue
            done = 0
            if isinstance(job, ResumeTrial):
                assert job.number in history.paused
                done = max(history.trials[job.number].intermediate_values, default=0)
            assert done < job.until_epoch <= self.horizon

    def test_it_ends(self) -> None:
        answers = list(self._run(self.make_policy()))
        assert answers[-1][1] is None
        assert len(answers) <= self.budget + 1

    def test_the_budget_is_never_exceeded(self) -> None:
        last, _ = list(self._run(self.make_policy()))[-1]
        assert 0 <= last.remaining <= self.budget
        assert sum(len(t.intermediate_values) for t in last.trials) == self.budget - last.remaining

    def test_equal_histories_get_equal_answers(self) -> None:
        for history, job in self._run(self.make_policy()):
            if history.remaining <= 0:
                continue
            for policy in (self.make_policy(), self.make_policy()):
                answer = policy.next(history)
                assert job is None or answer == job

    def test_asking_writes_nothing(self) -> None:
        policy = self.make_policy()
        for history, job in self._run(policy):
            trials = history.study.get_trials(deepcopy=True)
            if job is None and history.remaining > 0:
                policy.next(history)
                assert history.study.get_trials(deepcopy=True) == trials

    def test_notes_can_be_stored(self) -> None:
        import json

        for _, job in self._run(self.make_policy()):
            if isinstance(job, NewTrial):
                assert json.loads(json.dumps(dict(job.note))) == dict(job.note)

    def test_a_policy_that_never_stops_runs_says_so(self) -> None:
        policy = self.make_policy()
        if policy.stops:
            return
        for history, job in self._run(policy):
            if job is None:
                break
            running = [t for t in history.trials if t.intermediate_values]
            for trial in running:
                assert policy.after(history, trial) is Decision.CONTINUE

    def _run(self, policy: Policy) -> Iterator[tuple[History, Job | None]]:
        return simulate(policy, self.distributions, self.curve, self.horizon, self.budget)
