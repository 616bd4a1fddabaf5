"""The sample of [horizon] into the queue: drawn once, then trained to each horizon."""

from __future__ import annotations

from optuna.trial import TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.store.attributes import HORIZON, RECIPE_CHANGES, REPLICA, SAMPLE, SEED
from tuneoff.search.study.horizon import PlannedRun, draw_sample, horizon_runs, planned_runs
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import HORIZON_RUN, Study
from tuneoff.search.study.trial_ref import add_trial


def enqueue_horizon(study: Study) -> int:
    """Enqueue what is missing of the sample's runs; the first to come draws the sample.

    Every process that asks at once finds the same sample: it is stored under the search's lock
    before the first of its trials is.

    Returns:
        The number of trials added.
    """
    if study.spec.horizon is None:
        return 0
    with study.database.lock(study.horizon.name):
        now = Snapshot.of(study)
        if now.sample is None:
            sample = draw_sample(now)
            if not sample.choices:
                return 0
            study.optuna_study(study.horizon).set_user_attr(*SAMPLE.item(sample))
            now = Snapshot.of(study)
        missing = missing_runs(now)
        for run in missing:
            note = {
                **HORIZON.entry(run.epochs),
                **REPLICA.entry(run.replica),
                **SEED.entry((study.spec.seed, HORIZON_RUN + run.epochs, run.replica)),
                **RECIPE_CHANGES.entry(study.spec.horizon.changes(run.epochs)),
            }
            add_trial(study, study.horizon, TrialState.WAITING, NewTrial(run.params, 0, note))
    return len(missing)


def missing_runs(now: Snapshot) -> list[PlannedRun]:
    """The runs that have no trial yet; of a sample that is not drawn yet, all."""
    horizon = now.study.spec.horizon
    if horizon is None:
        return []
    there = horizon_runs(now)
    planned = planned_runs(horizon, now.sample or draw_sample(now))
    return [run for run in planned if run.key not in there]
