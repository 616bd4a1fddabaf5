"""The stored runs of [horizon] as records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.results.horizon.records import HorizonRuns, Sampled
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.store.attributes import DIVERGED, TEST_ERROR, StoredChoice
from tuneoff.search.study.horizon import horizon_runs, planned_runs
from tuneoff.search.study.judging import HAND
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.selection import error_of, recommend
from tuneoff.search.study.snapshot import Snapshot


def read_horizon(now: Snapshot) -> HorizonRuns | None:
    """The runs of [horizon] so far; None for a study without that section."""
    spec = now.study.spec
    if spec.horizon is None:
        return None
    trials = horizon_runs(now)
    planned = () if now.sample is None else tuple(planned_runs(spec.horizon, now.sample))
    done: dict[str, dict[int, list[FrozenTrial]]] = defaultdict(lambda: defaultdict(list))
    missing = 0
    for run in planned:
        trial = trials.get(run.key)
        if trial is not None and trial.state == TrialState.COMPLETE:
            done[key_of(run.params)][run.epochs].append(trial)
        elif trial is None or not trial.state.is_finished():
            missing += 1
    chance, tested = now.study.worst, bool(now.study.task.sizes.get("test", 0))
    if now.study.task.is_own:
        tested = any(TEST_ERROR.is_set(trial) for trial in trials.values())
    choices = () if now.sample is None else now.sample.choices
    return HorizonRuns(
        horizons=spec.horizon.epochs,
        population=0 if now.sample is None else now.sample.population,
        sample=tuple(
            _sampled(one, done[key_of(one.params)], chance if tested else None) for one in choices
        ),
        arms=tuple(spec.arms),
        baseline=_baseline(spec.arms),
        picks=_picks(now),
        log_parameters=tuple(
            name for name, param in spec.space.items() if param.log and not param.when
        ),
        missing=missing,
        metric=now.study.metric,
    )


def _sampled(
    choice: StoredChoice, done: Mapping[int, list[FrozenTrial]], chance: float | None
) -> Sampled:
    """A configuration with its finished runs.

    Args:
        chance: what a run that diverged counts as on the test split; None if there is none.
    """

    def test_error(trial: FrozenTrial) -> float | None:
        return chance if DIVERGED.is_set(trial) else TEST_ERROR.get(trial)

    tested = {epochs: [test_error(trial) for trial in some] for epochs, some in done.items()}
    return Sampled(
        key=key_of(choice.params),
        params=dict(choice.params),
        arm=choice.arm,
        level=choice.level,
        weight=choice.weight,
        search_error=choice.search_error,
        errors={epochs: tuple(map(error_of, some)) for epochs, some in done.items()},
        test_errors={
            epochs: tuple(error for error in some if error is not None)
            for epochs, some in tested.items()
            if chance is not None
        },
    )


def _baseline(arms: Mapping[str, ArmSpec]) -> str | None:
    """The hand-tuned arm, by its usual name where there are several."""
    hand_tuned = [name for name, arm in arms.items() if arm.configs is not None]
    return HAND if HAND in arms else next(iter(hand_tuned), None)


def _picks(now: Snapshot) -> dict[str, dict[int, str]]:
    found: dict[str, dict[int, str]] = {arm: {} for arm in now.study.spec.arms}
    for search in now.study.arms:
        if (trial := recommend(now.trials(search))) is not None:
            found[search.arm][search.repeat] = key_of(trial.params)
    return found
