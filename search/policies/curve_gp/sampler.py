"""The model as a sampler for anyone's Optuna study, whatever prunes its trials."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.curve_gp.acquisition import log_expected_improvement
from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.policies.curve_gp.kernel import Priors
from tuneoff.search.policies.curve_gp.model import FullRuns, NotPositiveDefinite
from tuneoff.search.policies.curve_gp.model_state import ModelState, best_new
from tuneoff.search.policies.curve_gp.observations import Curve, Run, arranged
from tuneoff.search.policies.curve_gp.threads import one_thread
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.space import Floats, value_at

log = logging.getLogger(__name__)

# At most so many other trials are taken to wait for their parameters: the workers of more are dead.
ASKING = 8
CONDITIONAL = "optuna.samplers.TPESampler(multivariate=True, group=True)"


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
    - PRUNED and FAIL: the reported values. Without reports, a place not to go again. A failed
      trial that lacks a parameter is ignored.
    - RUNNING: the reported values, and its end is taken to be as expected, which repels others.
      One whose parameters are not all there yet is ignored, or, if its number is lower, taken to
      get what the model would suggest for it: two that ask at once get different answers.
    - WAITING: ignored until it runs.
    - Reported values have to be the objective's own, in its unit. Those that are NaN are left
      out; infinite ones count as the worst, or the best, finite one of the study.
    - Constraints are ignored. With ``HyperbandPruner``, the trials of all brackets count.

    The first trials, while fewer than ``n_startup_trials`` others have a value, or while none has
    ended that would tell which parameters there are, come from a scrambled Sobol sequence: a
    trial's number is its place there, and the order in which it asks for parameters that of the
    dimensions. So do all parameters of a trial, with a logged warning, if the model cannot be
    fitted.

    Suggestions are a function of the study's trials, the trial's number and the seed. Workers can
    share a seed: no two trials of a study have the same number. A single-objective study of
    either direction is needed, with the same parameters in every trial and the same ranges;
    parameters whose range is a single value may come and go.

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
            several objectives, or trials with different parameters or ranges.
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
        self._seed = np.random.SeedSequence().generate_state(1)[0].item() if seed is None else seed

    def reseed_rng(self) -> None:
        """Nothing to do, as randomness comes from the seed and the trials' numbers.

        Optuna calls this for the copies that work on a study with ``n_jobs`` > 1. They stay on one
        Sobol sequence, with and without a seed.
        """

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters of all trials that have ended, without those of a single value.

        Raises:
            ValueError: several objectives, or trials with different parameters or ranges.
        """
        _check_objectives(study)
        return _space(_others(study, trial))

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
                state = self._model_state(study, _comparable(others, search_space), search_space)
                if state is None:
                    return {}
                return self._best_new(
                    state, [*_asking(others, search_space, trial.number), trial.number]
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
            ValueError: several objectives, or a parameter or range that other trials do not have.
        """
        _check_objectives(study)
        space = _space(_others(study, trial))
        if space and not param_distribution.single():
            _check_same({**space, param_name: param_distribution}, trial.number, space)
        dimension = len(_searched(trial.distributions))
        # Each dimension comes from a sequence of its own, as nobody knows yet how many there will
        # be. Those of one sequence are scrambled independently of each other anyway.
        point = sobol_point((self._seed, dimension), dimension + 1, trial.number)
        return value_at(param_distribution, float(point[dimension]))

    def _model_state(
        self, study: Study, trials: Sequence[FrozenTrial], space: Mapping[str, BaseDistribution]
    ) -> ModelState | None:
        """The state of the model of these trials; None in the start-up."""
        encoding = Encoding(space)
        sign = -1.0 if study.direction == StudyDirection.MAXIMIZE else 1.0
        steps = {step for trial in trials for step in trial.intermediate_values}
        epochs = _Epochs.of(steps, self._max_epoch)
        everything = arranged([_run(trial, epochs, sign) for trial in trials], encoding)
        if sum(bool(curve.errors) for curve in everything) < self._n_startup_trials:
            return None
        running = {trial.number for trial in trials if trial.state == TrialState.RUNNING}
        return ModelState(encoding, everything, running, epochs.horizon, Priors())

    def _best_new(self, state: ModelState, numbers: Sequence[int]) -> dict[str, Any]:
        """The best configuration for the last of these trials, given those of the others."""
        runs = state.expected(state.model.full_runs)
        best = state.best(state.model.full_runs)
        *others, own = numbers
        for number in others:
            params = self._most_promising(state, runs, best, number)
            taken = Curve(number, state.encoding.columns(params), {})
            state = replace(state, curves=[*state.curves, taken])
            runs = runs.given_runs_at(taken.x[None, :])
        return self._most_promising(state, runs, best, own)

    def _most_promising(
        self, state: ModelState, runs: FullRuns, best: float, number: int
    ) -> dict[str, Any]:
        def log_acquisition(x: Floats) -> Floats:
            return log_expected_improvement(*runs.predict(x), best)

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
    return trial.number, trial.params, errors


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    # Hyperband passes a study whose own get_trials has the trials of one bracket only.
    trials = Study.get_trials(study, deepcopy=False)
    return [other for other in trials if other.number != trial.number]


def _comparable(
    trials: Collection[FrozenTrial], space: Mapping[str, BaseDistribution]
) -> list[FrozenTrial]:
    """Trials that have begun and have each parameter of the space, with the same range."""
    return [
        trial
        for trial in trials
        if trial.state != TrialState.WAITING
        and all(trial.distributions.get(name) == space[name] for name in space)
    ]


def _asking(
    trials: Collection[FrozenTrial], space: Mapping[str, BaseDistribution], before: int
) -> list[int]:
    """Numbers of trials that began earlier and do not have their parameters yet."""
    numbers = [
        trial.number
        for trial in trials
        if trial.state == TrialState.RUNNING
        and trial.number < before
        and not space.keys() <= trial.params.keys()
    ]
    return numbers[-ASKING:]


def _searched(distributions: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    return {name: d for name, d in distributions.items() if not d.single()}


def _space(trials: Collection[FrozenTrial]) -> dict[str, BaseDistribution]:
    """The parameters that are searched, by name; empty before a trial has ended.

    Raises:
        ValueError: trials differ.
    """
    first: FrozenTrial | None = None
    space: dict[str, BaseDistribution] = {}
    for trial in trials:
        # Any other trial may have ended before it had asked for all of its parameters.
        asked = trial.state == TrialState.PRUNED and trial.intermediate_values
        if trial.state != TrialState.COMPLETE and not asked:
            continue
        if first is None:
            first, space = trial, dict(sorted(_searched(trial.distributions).items()))
        elif trial.distributions != first.distributions:
            _check_same(_searched(trial.distributions), trial.number, space, first.number)
    return space


def _check_same(
    space: Mapping[str, BaseDistribution],
    number: int,
    other: Mapping[str, BaseDistribution],
    other_number: int | None = None,
) -> None:
    there = "earlier trials" if other_number is None else f"trial {other_number}"
    for name in sorted(space.keys() ^ other.keys()):
        has, lacks = f"trial {number}", there
        if name in other:
            has, lacks = lacks, has
        raise ValueError(
            f"CurveGPSampler needs the same parameters in every trial, but {has} searched "
            f"{name!r} and {lacks} did not; for a conditional space use {CONDITIONAL}"
        )
    for name in sorted(space):
        if space[name] != other[name]:
            raise ValueError(
                f"CurveGPSampler needs the same ranges in every trial, but that of {name!r} is "
                f"{space[name]} in trial {number} and {other[name]} in {there}; start a new "
                "study, or use optuna.samplers.TPESampler()"
            )


def _check_objectives(study: Study) -> None:
    if len(study.directions) > 1:
        raise ValueError(
            "If the study is being used for multi-objective optimization, "
            "CurveGPSampler cannot be used."
        )
