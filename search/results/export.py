"""The best configurations of a study, with what is known of each: what `tuneoff export` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from tuneoff.search.errors import UserError
from tuneoff.search.results.absence import no_configuration
from tuneoff.search.results.export_file import Exported
from tuneoff.search.results.numbers import all_of
from tuneoff.search.store.attributes import DIVERGED, ENVIRONMENT, RECIPE, TEST_ERROR
from tuneoff.search.study.evidence import SEARCH_RUNS, Configuration, known_configurations
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import FULL_RUN, Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.trainer.contract import RunSeed, recipe_from_dict


@dataclass(frozen=True)
class Best:
    """The best configurations, and what must be known of how they were chosen.

    Attributes:
        notes: each a sentence.
    """

    configurations: list[Exported]
    notes: list[str]


def best(study: Study, top: int, diverged: bool = False) -> Best:
    """As ``best_of``, of the study as it stands."""
    return best_of(Snapshot.of(study), top, diverged)


def best_of(now: Snapshot, top: int, diverged: bool = False) -> Best:
    """The study's best configurations by the best evidence there is, see ``known_configurations``.

    Args:
        now: the study at one moment.
        top: how many.
        diverged: also those of which every run diverged.

    Raises:
        UserError: no trial has finished yet, or all diverged.
    """
    study, known = now.study, known_configurations(now)
    if not known:
        raise UserError(no_configuration(now))
    able = [found for found in known if diverged or not found.diverged]
    if not able:
        raise UserError(
            f"study {study.name}: {all_of(len(known), 'configuration')} diverged, so that "
            "none is worth training; search lower rates in [space], or add --diverged"
        )
    rows = [_exported(study, rank, found) for rank, found in enumerate(able[:top], start=1)]
    return Best(rows, _notes(now, known, able, top))


def best_or_none(now: Snapshot) -> Exported | None:
    """The best configuration; None before one has finished, and if every one diverged."""
    try:
        return best_of(now, 1).configurations[0]
    except UserError:
        return None


def _notes(
    now: Snapshot, known: Sequence[Configuration], able: Sequence[Configuration], top: int
) -> list[str]:
    notes = []
    if (left_out := len(known) - len(able)) and len(able) < top:
        notes.append(f"{left_out} more diverged and are left out; --diverged exports them, too.")
    trials = now.trials(now.study.full)
    left = sum(not trial.state.is_finished() for trial in trials)
    if left:
        notes.append(
            f"{left} of {len(trials)} full trainings are still to come and may change the order."
        )
    elif able[0].decided_by == SEARCH_RUNS and now.study.spec.promote:
        notes.append("None was trained in full yet, so that search runs decide: `tuneoff promote`.")
    return notes


def evidence_of(found: Configuration) -> dict[str, float | str]:
    """What is known of a configuration, as plain values.

    "decided_by" is the kind of runs by which it has its rank, "full training" or "search runs".
    For each kind of which there are any: their number, how many diverged, mean and standard
    deviation of the validation errors of the others, 0 to 1, and the error that the next run is
    expected to have (``Runs.expected``).
    """
    known: dict[str, float | str | None] = {"decided_by": found.decided_by}
    for kind, runs in (("search_runs", found.search), ("full_trainings", found.full)):
        if runs.count:
            known |= {
                kind: runs.count,
                f"{kind}_diverged": runs.diverged,
                f"{kind}_mean_error": runs.mean,
                f"{kind}_sd": runs.sd,
                f"{kind}_expected_error": runs.expected,
            }
    return {name: value for name, value in known.items() if value is not None}


def _exported(study: Study, rank: int, found: Configuration) -> Exported:
    evidence = evidence_of(found)
    if not found.trained:
        recipe, hyperparams = study.space.apply(study.spec.recipe(), found.params)
        recipe = recipe.override(study.spec.full_changes())
        seed = RunSeed(study.spec.seed, FULL_RUN, 0)
        params = study.space.in_effect(found.params)
        ours = None if study.spec.is_own else hyperparams
        return Exported(
            rank, found.source, params, ours, recipe, seed, {}, {}, evidence, study.metric
        )
    # A training that diverged is not worth doing again where there is another one.
    first = min(found.trained, key=DIVERGED.is_set)
    run = TrialRef(study, study.full, first).run
    assert first.value is not None
    values = [trial.value for trial in found.trained if trial.value is not None]
    expected = {
        "validation_error": first.value,
        "mean_validation_error": fmean(values),
        "seeds": len(values),
    }
    if (test_error := TEST_ERROR.get(first)) is not None:
        expected["test_error"] = test_error
    return Exported(
        rank=rank,
        source=found.source,
        params=study.space.in_effect(found.params),
        hyperparams=None if study.spec.is_own else run.params,
        # A run that diverged was not scored, and has neither.
        recipe=recipe_from_dict(RECIPE.get(first) or run.recipe.to_dict()),
        seed=run.seed,
        expected=expected,
        environment=ENVIRONMENT.get(first) or {},
        evidence=evidence,
        metric=study.metric,
    )
