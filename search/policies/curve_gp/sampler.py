"""The model as a sampler for anyone's Optuna study, whatever prunes its trials."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.curve_gp.acquisition import log_expected_improvement
from tuneoff.search.policies.curve_gp.curves import Curve, Run, arranged
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.feasibility import Feasibility
from tuneoff.search.policies.curve_gp.kernel import Priors
from tuneoff.search.policies.curve_gp.model import FullRuns, NotPositiveDefinite
from tuneoff.search.policies.curve_gp.model_state import ModelState, best_new
from tuneoff.search.policies.curve_gp.study_space import (
    CONDITIONAL,
    asking,
    comparable,
    left_out,
    listed,
    searched,
    space_of,
)
from tuneoff.search.policies.curve_gp.threads import one_thread
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.space import Floats, value_at

log = logging.getLogger(__name__)

# A pruned run has failed if this quantile of the errors of runs that went on was better than its.
GIVEN_UP = 0.5


class CurveGPSampler(BaseSampler):
    """A Gaussian process over (configuration, step) that also learns from pruned trials.

    Optuna's own ``GPSampler`` learns from COMPLETE trials only, so a pruner starves it. This one
    models the whole learning curves that ``trial.report`` leaves, and suggests the configuration
    with the largest expected improvement of the value after a full run::

        import optuna
        from tuneoff import CurveGPSampler

        def objective(trial):
            lr = trial.suggest_float("lr", 1e-4, 1.0, log=True)
            for epoch in range(1, 28):
                error = train_one_epoch(lr)
                trial.report(error, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned
            return error

        study = optuna.create_study(
            sampler=CurveGPSampler(max_epoch=27, seed=0), pruner=optuna.pruners.MedianPruner()
        )
        study.optimize(objective, n_trials=50)

    What it makes of trials:

    - COMPLETE: the reported values are its curve, and the trial's value is the one after a full
      run, whether or not as many steps were reported. Without reports that value is all.
    - PRUNED: the reported values. It has also failed if it has none, or if half of the trials
      that went on had a better one at the step of its last.
    - FAIL: the reported values, and it has failed.
    - Any other has failed, too, if its last value is NaN, infinite in the bad direction, or a
      thousand median absolute deviations worse than the median. Failures have a model of their
      own: trials go where success is more probable than failure, and the more probable the better.
      A failed trial that lacks a parameter is ignored.
    - RUNNING: the reported values, and its end is taken to be as expected, which repels others.
      One whose parameters are not all there yet is ignored, or, if its number is lower, taken to
      get what the model would suggest for it: two that ask at once get different answers.
    - WAITING: ignored until it runs.
    - Reported values have to be the objective's own, in its unit. Those that are NaN, or infinite
      in the bad direction, are left out; one that is infinite in the good direction counts as the
      best finite one of the study.
    - Constraints are ignored. With ``HyperbandPruner``, the trials of all brackets count.

    The first trials, while fewer than ``n_startup_trials`` others have a value, or while none has
    ended that would tell which parameters there are, come from a scrambled Sobol sequence: a
    trial's number is its place there, and the order in which it asks for parameters that of the
    dimensions. So do all parameters of a trial, with a logged warning, if the model cannot be
    fitted.

    Suggestions are a function of the study's trials, the trial's number and the seed. Workers can
    share a seed: no two trials of a study have the same number. A single-objective study of
    either direction is needed, with the same parameters in every trial; parameters whose range is
    a single value may come and go. What is searched is what most of the last five trials that have
    ended searched, so that a changed range is followed after three. A trial with a value outside,
    with another parameter or without one, is left out with a logged warning.

    Args:
        n_startup_trials: trials with a value before the model is asked.
        max_epoch: the number of the last step of a full run, if steps are counted from 1 (27 for
            1, 2, ..., 27, as for 0, 1, ..., 26); later steps are left out. None for the last step
            that any trial of the study has reported, which is too early while all are pruned
            early. Steps begin at 0 if any trial has reported a step 0, else at 1. If all are
            multiples of a number, such as 100, 200, 300, that is taken for one epoch.
        seed: None for one that is different each time.

    Raises:
        ValueError: an argument is out of range. Later, from ``trial.suggest_*``: the study has
            several objectives, or a parameter that is new to it.
    """

    def __init__(
        self, *, n_startup_trials: int = 5, max_epoch: int | None = None, seed: int | None = None
    ) -> None:
        if n_startup_trials < 1:
            raise ValueError(f"n_startup_trials = {n_startup_trials} is less than 1")
        if max_epoch is not None and max_epoch < 1:
            raise ValueError(f"max_epoch = {max_epoch} is less than 1")
        if seed is not None and seed < 0:
            raise ValueError(f"seed = {seed} is less than 0")
        self._n_startup_trials = n_startup_trials
        self._max_epoch = max_epoch
        self._warned: set[tuple[str, int]] = set()  # studies and trials
        self._seed = np.random.SeedSequence().generate_state(1)[0].item() if seed is None else seed

    def reseed_rng(self) -> None:
        """Nothing to do, as randomness comes from the seed and the trials' numbers.

        Optuna calls this for the copies that work on a study with ``n_jobs`` > 1. They stay on one
        Sobol sequence, with and without a seed.
        """

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What most of the last trials that have ended searched, without single values.

        Raises:
            ValueError: several objectives.
        """
        _check_objectives(study)
        others = _others(study, trial)
        space, _ = space_of(others)
        self._warn(study.study_name, left_out(others, space))
        return space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The configuration that the model expects most of; none in the start-up.

        Raises:
            ValueError: several objectives.
        """
        _check_objectives(study)
        if not search_space:
            return {}
        others = _others(study, trial)
        try:
            with one_thread():
                state = self._model_state(study, comparable(others, search_space), search_space)
                if state is None:
                    return {}
                return self._best_new(
                    state, [*asking(others, search_space, trial.number), trial.number]
                )
        except (NotPositiveDefinite, np.linalg.LinAlgError) as error:
            log.warning("%s: %s; trial %d gets a quasi-random configuration instead",
                        study.study_name, error, trial.number)  # fmt: skip
            return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """One coordinate of the trial's point of the Sobol sequence.

        Raises:
            ValueError: several objectives, or a parameter that other trials do not have.
        """
        _check_objectives(study)
        space, count = space_of(_others(study, trial))
        # A single trial may have been the odd one.
        if count > 1 and param_name not in space and not param_distribution.single():
            raise ValueError(
                "CurveGPSampler needs the same parameters in every trial, but trial "
                f"{trial.number} searches {param_name!r} and earlier trials did not; start a new "
                f"study, or for a conditional space use {CONDITIONAL}"
            )
        dimension = len(searched(trial.distributions))
        # Each dimension comes from a sequence of its own, as nobody knows yet how many there will
        # be. Those of one sequence are scrambled independently of each other anyway.
        point = sobol_point((self._seed, dimension), dimension + 1, trial.number)
        return value_at(param_distribution, float(point[dimension]))

    def _warn(self, study: str, reasons: Mapping[int, str]) -> None:
        new = [number for number in reasons if (study, number) not in self._warned]
        if new:
            self._warned.update((study, number) for number in new)
            log.warning("%s: %s left out: %s", study, listed(new), reasons[new[0]])

    def _model_state(
        self, study: Study, trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]
    ) -> ModelState | None:
        """The state of the model of these trials; None in the start-up."""
        encoding = Encoding(space)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        steps = {step for trial in trials for step in trial.intermediate_values}
        epochs = _Epochs.of(steps, self._max_epoch)
        runs = _failed([_run(trial, epochs, sign) for trial in trials], trials)
        everything = arranged(runs, encoding)
        if sum(bool(curve.errors) for curve in everything) < self._n_startup_trials:
            return None
        running = {trial.number for trial in trials if trial.state == TrialState.RUNNING}
        return ModelState(encoding, everything, running, epochs.horizon, Priors())

    def _best_new(self, state: ModelState, numbers: Sequence[int]) -> dict[str, Any]:
        """The best configuration for the last of these trials, given those of the others."""
        runs = state.expected(state.model.full_runs)
        best = state.best(state.model.full_runs)
        feasibility = state.feasibility
        *others, own = numbers
        for number in others:
            params = self._most_promising(state, runs, best, feasibility, number)
            taken = Curve(number, state.encoding.columns(params), {})
            state = replace(state, curves=[*state.curves, taken])
            runs = runs.given_runs_at(taken.x[None, :])
        return self._most_promising(state, runs, best, feasibility, own)

    def _most_promising(
        self,
        state: ModelState,
        runs: FullRuns,
        best: float,
        feasibility: Feasibility | None,
        number: int,
    ) -> dict[str, Any]:
        def log_acquisition(x: Floats) -> Floats:
            values = log_expected_improvement(*runs.predict(x), best)
            return values if feasibility is None else values + feasibility.log_weight(x)

        rng = np.random.default_rng(np.random.SeedSequence([self._seed, number]))
        params, _ = best_new(state, runs, log_acquisition, rng)
        return params


@dataclass(frozen=True)
class _Epochs:
    """How a study's steps are counted: as epochs 1, 2, ..., horizon.

    Attributes:
        first: the epoch of step 0, which is 0 where steps begin at 1.
        stride: steps of one epoch.
    """

    first: int
    stride: int
    horizon: int

    @classmethod
    def of(cls, steps: Set[int], max_epoch: int | None) -> _Epochs:
        first = int(0 in steps)
        stride = math.gcd(*steps) or 1
        last = max(steps, default=0) if max_epoch is None else max_epoch - first
        return cls(first, stride, max(1, last // stride + first))

    def at(self, step: int) -> int:
        return step // self.stride + self.first


def _run(trial: FrozenTrial, epochs: _Epochs, sign: float) -> Run:
    errors = {epochs.at(step): sign * value for step, value in trial.intermediate_values.items()}
    errors = {epoch: error for epoch, error in errors.items() if epoch <= epochs.horizon}
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        errors[epochs.horizon] = sign * trial.value
    return Run(trial.number, trial.params, errors, trial.state == TrialState.FAIL)


def _failed(runs: Sequence[Run], trials: Sequence[FrozenTrial]) -> list[Run]:
    """The runs, with those that were pruned far behind as failed.

    A pruned run failed if it has no error, or if the last one is worse than ``GIVEN_UP`` of those
    that runs had at that epoch and went on. Nobody but the pruner knows whether it would have
    become better; but the pruner will stop the next one there as well.
    """
    pruned = [trial.state == TrialState.PRUNED for trial in trials]
    went_on: dict[int, list[float]] = defaultdict(list)
    for run, stopped in zip(runs, pruned, strict=True):
        for epoch, error in run.errors.items():
            if math.isfinite(error) and not (stopped and epoch == max(run.errors)):
                went_on[epoch].append(error)
    bounds = {epoch: float(np.quantile(errors, GIVEN_UP)) for epoch, errors in went_on.items()}

    def gave_up(run: Run) -> bool:
        last = max(run.errors, default=0)
        return not run.errors or run.errors[last] > bounds.get(last, math.inf)

    pairs = zip(runs, pruned, strict=True)
    return [
        replace(run, failed=True) if stopped and gave_up(run) else run for run, stopped in pairs
    ]


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    # Hyperband passes a study whose own get_trials has the trials of one bracket only.
    trials = Study.get_trials(study, deepcopy=False)
    return [other for other in trials if other.number != trial.number]


def _check_objectives(study: Study) -> None:
    if len(study.directions) > 1:
        raise ValueError(
            "If the study is being used for multi-objective optimization, "
            "CurveGPSampler cannot be used."
        )
