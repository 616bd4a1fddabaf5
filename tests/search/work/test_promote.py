"""Promotion: what is picked, ranked, trained in full and combined; each step may be cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.base import NewTrial
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.tables import finding_tables
from tuneoff.search.report.wording import how_to_read
from tuneoff.search.results.compare import compare
from tuneoff.search.results.decision.pairs import evidence_of
from tuneoff.search.results.read import confirmed, read_results
from tuneoff.search.results.status import read_status
from tuneoff.search.results.trials import trial_curves
from tuneoff.search.results.unjudged import unjudged_sentence
from tuneoff.search.spec.sections import CompareSpec
from tuneoff.search.store.attributes import (
    DIVERGED,
    ENSEMBLE,
    MEMBER_KEY,
    REPLICA,
    SEED,
    TEST_ERROR,
)
from tuneoff.search.study.evidence import known_configurations
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.promotion import unjudged_picks
from tuneoff.search.study.selection import (
    best_configuration,
    combined_members,
    outdated_ensemble,
    recommend,
)
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import read_state
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work import promote
from tuneoff.search.work.promote import (
    advance,
    enqueue_full,
    enqueue_members,
    is_promoted,
)
from tuneoff.search.work.worker import work

PROMOTE = {"top": 2, "seeds": 2, "epochs": 2}
MEMBERS = {"members": [{"model": "proxy"}, {"model": "proxy-dense", "epochs": 3}]}
ARMS = {"a": {"sampler": "random"}, "b": {"sampler": "random"}}


def add(study: Any, search: Any, lr: float, value: float | None, epochs: int = 3) -> FrozenTrial:
    """A finished search trial; pruned after ``epochs`` if it has no value."""
    trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": lr}, 3))
    for epoch in range(1, epochs + 1):
        trial.report(epoch, value or 0.1)
    trial.tell(TrialState.PRUNED if value is None else TrialState.COMPLETE, value or 0.1)
    added: FrozenTrial = study.trials(search)[trial.number]
    return added


def best_params(study: Any) -> Mapping[str, Any] | None:
    """What the ensemble is to be trained with."""
    best = best_configuration(known_configurations(Snapshot.of(study)))
    return None if best is None else best.params


@pytest.fixture
def searched(make_study: Any, sqlite_database: Any) -> Any:
    """A study whose search is over: two arms, two repeats."""
    study = make_study(sqlite_database, arms=ARMS, repeats=2, promote=PROMOTE, ensemble=MEMBERS)
    a0, b0, a1, b1 = study.arms
    add(study, a0, 0.5, 0.4)
    add(study, a0, 0.01, 0.2)
    add(study, a0, 0.3, None, 1)  # looks best, but was pruned
    add(study, a1, 0.01, 0.4)  # the same configuration: 0.3 on average
    add(study, b0, 0.02, 0.25)
    add(study, b0, 0.04, 0.25)  # as good, but later
    add(study, b1, 0.7, 0.9)
    return study


def test_the_pick_is_the_best_full_run_and_the_earlier_of_equals(searched: Any) -> None:
    picks = [recommend(searched.trials(search)) for search in searched.arms]
    assert [trial and trial.number for trial in picks] == [1, 0, 0, 0]
    assert recommend(()) is None
    assert recommend(searched.trials(searched.arms[0])[2:]) is None


def test_parameters_are_equal_in_any_order() -> None:
    assert key_of({"a": 1, "b": "x"}) == key_of({"b": "x", "a": 1})
    assert key_of({"a": 1}) != key_of({"a": "1"})


# The picks 0.01 (of two repeats), 0.02 and 0.7, and the top two, 0.02 and 0.04: each twice.
WANTED = {(lr, seed) for lr in (0.01, 0.02, 0.04, 0.7) for seed in (0, 1)}


def runs(study: Any) -> list[tuple[float, int]]:
    trials = study.trials(study.full)
    return [(t.params["lr"], REPLICA.of(t)) for t in trials]


@pytest.mark.slow
def test_picks_and_top_are_enqueued_once(searched: Any) -> None:
    assert not is_promoted(searched)
    assert enqueue_full(searched) == len(WANTED)
    assert enqueue_full(searched) == 0
    assert len(runs(searched)) == len(WANTED)
    assert set(runs(searched)) == WANTED
    for trial in searched.trials(searched.full):
        assert trial.state == TrialState.WAITING
        assert TrialRef(searched, searched.full, trial).run.recipe.epochs == 2
    # Equal configurations with equal seeds are equal runs; seeds differ from every search run's.
    seeds = {SEED.of(t) for t in searched.trials(searched.full)}
    assert seeds == {(7, 1_000_000, 0), (7, 1_000_000, 1)}


def finish(study: Any, errors: Mapping[float, list[float]]) -> list[tuple[float, int]]:
    """Finish the full runs that wait, with these errors by rate and seed; which ones there were."""
    waiting = [t for t in study.trials(study.full) if t.state == TrialState.WAITING]
    for stored in waiting:
        trial = TrialRef(study, study.full, stored)
        trial.start()
        trial.report(2, errors[stored.params["lr"]][REPLICA.of(stored)])
        trial.tell(TrialState.COMPLETE, errors[stored.params["lr"]][REPLICA.of(stored)])
    return [(t.params["lr"], REPLICA.of(t)) for t in waiting]


@pytest.mark.slow
def test_the_best_of_all_full_trainings_gets_as_many_seeds_as_the_top(
    make_study: Any, sqlite_database: Any
) -> None:
    """An arm's recommendation that was trained once beats the top configuration, and holds."""
    promote_one = {"top": 1, "seeds": 3, "epochs": 2}
    study = make_study(
        sqlite_database,
        arms=ARMS,
        promote=promote_one,
        ensemble=MEMBERS,
        compare={"epochs": 2},
    )
    add(study, study.arms[0], 0.01, 0.30)
    add(study, study.arms[1], 0.02, 0.25)
    errors = {0.01: [0.24, 0.25, 0.245], 0.02: [0.358, 0.317, 0.32]}
    assert enqueue_full(study) == 4
    assert enqueue_full(study) == 0  # the best is not known before all are trained
    finish(study, errors)
    assert not is_promoted(study)
    assert enqueue_full(study) == 2
    assert finish(study, errors) == [(0.01, 1), (0.01, 2)]
    assert enqueue_full(study) == 0
    assert best_params(study) == {"lr": 0.01}
    assert enqueue_members(study) == 2
    assert {t.params["lr"] for t in study.trials(study.ensemble)} == {0.01}


@pytest.mark.slow
def test_one_that_was_only_lucky_leaves_the_place_to_the_next(
    make_study: Any, sqlite_database: Any
) -> None:
    promote_one = {"top": 1, "seeds": 2, "epochs": 2}
    study = make_study(sqlite_database, arms=ARMS, promote=promote_one, compare={"epochs": 2})
    add(study, study.arms[0], 0.01, 0.30)
    add(study, study.arms[1], 0.02, 0.25)
    errors = {0.01: [0.2, 0.5], 0.02: [0.31, 0.3]}
    assert enqueue_full(study) == 3
    finish(study, errors)
    assert enqueue_full(study) == 1
    finish(study, errors)
    assert enqueue_full(study) == 0
    assert best_params(study) == {"lr": 0.02}


class TestHowOftenPicksAreTrained:
    """Two arms that pick one rate in common, and two others; the top is one of them."""

    PROMOTE: Mapping[str, Any] = {"top": 1, "seeds": 3, "epochs": 2}

    @pytest.fixture
    def make(self, make_study: Any, sqlite_database: Any) -> Any:
        def make(**changes: Any) -> Any:
            settings = {"arms": ARMS, "repeats": 2, "promote": self.PROMOTE} | changes
            study = make_study(sqlite_database, **settings)
            a0, b0, a1, b1 = study.arms
            for search in (a0, b0):
                add(study, search, 0.01, 0.1)
            add(study, a1, 0.02, 0.3)
            add(study, b1, 0.03, 0.4)
            add(study, b1, 0.04, 0.6)
            return study

        return make

    @pytest.mark.slow
    def test_every_pick_has_the_same_seeds_and_equal_picks_are_trained_once(
        self, make: Any
    ) -> None:
        study = make()
        assert enqueue_full(study) == 9
        # All first seeds come before all second ones: whoever looks early finds pairs.
        assert runs(study) == [(lr, seed) for seed in range(3) for lr in (0.01, 0.02, 0.03)]
        finish(study, {0.01: [0.1] * 3, 0.02: [0.2] * 3, 0.03: [0.3] * 3})
        assert enqueue_full(study) == 0
        errors = [
            len(run.recommendation.full_validation_errors)
            for run in read_results(Snapshot.of(study)).runs
            if run.recommendation
        ]
        assert errors == [3, 3, 3, 3]

    @pytest.mark.slow
    def test_trainings_of_an_earlier_version_are_not_done_again(self, make: Any) -> None:
        """There the seed of a pick was that of its repeat, and the top had seeds of its own."""
        study = make()
        for lr, replica in ((0.01, 0), (0.02, 1), (0.03, 1), (0.01, 1), (0.01, 2)):
            template = NewTrial({"lr": lr}, 0, REPLICA.entry(replica))
            add_trial(study, study.full, TrialState.WAITING, template)
        finish(study, {0.01: [0.1] * 3, 0.02: [0.2] * 3, 0.03: [0.3] * 3})
        assert enqueue_full(study) == 4
        assert sorted(runs(study)[5:]) == [(0.02, 0), (0.02, 2), (0.03, 0), (0.03, 2)]
        assert enqueue_full(study) == 0

    @pytest.mark.slow
    def test_a_seed_that_is_out_of_range_counts_in_number(self, make: Any) -> None:
        study = make()
        template = NewTrial({"lr": 0.03}, 0, REPLICA.entry(7))
        add_trial(study, study.full, TrialState.WAITING, template)
        assert enqueue_full(study) == 8
        assert [seed for lr, seed in runs(study) if lr == 0.03] == [7, 0, 1]

    @pytest.mark.slow
    def test_a_training_that_failed_is_not_tried_for_ever(self, make: Any) -> None:
        study = make()
        enqueue_full(study)
        for stored in study.trials(study.full):
            trial = TrialRef(study, study.full, stored)
            trial.start()
            trial.tell(TrialState.FAIL)
        assert enqueue_full(study) == 0
        assert is_promoted(study)

    @pytest.mark.slow
    def test_a_bound_on_judging(self, make: Any) -> None:
        """0.01 is the top, and costs the bound nothing: four trainings are for the others."""
        study = make(compare={"epochs": 9})
        assert enqueue_full(study) == 3 + 4
        assert Counter(lr for lr, _ in runs(study)) == {0.01: 3, 0.02: 2, 0.03: 2}
        finish(study, {0.01: [0.1] * 3, 0.02: [0.2] * 3, 0.03: [0.3] * 3})
        assert enqueue_full(study) == 0
        assert is_promoted(study)
        assert unjudged_picks(Snapshot.of(study)) == ()

    @pytest.mark.slow
    def test_a_bound_that_is_raised_goes_on_from_what_is_there(self, make: Any) -> None:
        study = make(compare={"epochs": 2})
        assert enqueue_full(study) == 3  # the top
        assert unjudged_picks(Snapshot.of(study)) == (("a", 1), ("b", 1))
        finish(study, {0.01: [0.1] * 3})
        results = read_results(Snapshot.of(study))
        judged = [run.recommendation.judged for run in results.runs if run.recommendation]
        assert judged == [True, True, False, False]
        (pair,) = evidence_of(results).pairs
        assert (len(pair.picks), [*pair.errors]) == (1, [key_of({"lr": 0.01})])
        said = "Left out of the comparison are: a, repeat 1; b, repeat 1. A larger bound"
        assert said in (unjudged_sentence(results) or "")
        assert read_status(study).unjudged == unjudged_sentence(results)
        assert unjudged_sentence(results) in how_to_read(ReportData(results, compare(results)))
        assert enqueue_full(study) == 0
        more = study.spec.model_copy(update={"compare": CompareSpec(epochs=9)})
        raised = replace(study, spec=more)
        assert enqueue_full(raised) == 4
        assert Counter(lr for lr, _ in runs(study)) == {0.01: 3, 0.02: 2, 0.03: 2}
        assert unjudged_picks(Snapshot.of(raised)) == ()
        assert unjudged_sentence(read_results(Snapshot.of(raised))) is None
        assert read_status(raised).unjudged is None


def test_configurations_that_always_diverge_are_trained_in_full_for_their_arms_alone(
    make_study: Any, sqlite_database: Any
) -> None:
    study = make_study(sqlite_database, arms=ARMS, promote=PROMOTE, ensemble=MEMBERS)
    for search in study.arms:
        for lr in (0.5, 0.6):
            trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": lr}, 3))
            trial.tell_diverged(2)
    assert enqueue_full(study) == 2
    assert runs(study) == [(0.5, 0), (0.5, 1)]
    finish_diverged(study)
    assert enqueue_full(study) == 0
    assert enqueue_members(study) == 0
    assert is_promoted(study)


def finish_diverged(study: Any) -> None:
    """Have every full run that waits diverge."""
    for stored in study.trials(study.full):
        trial = TrialRef(study, study.full, stored)
        trial.start()
        trial.tell_diverged(1)


def test_promotion_that_was_cut_off_adds_only_the_missing(
    searched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = promote._enqueue, [1, 2, 3]

    def die(*arguments: Any) -> None:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(promote, "_enqueue", die)
        with pytest.raises(KeyboardInterrupt):
            enqueue_full(searched)
    assert len(runs(searched)) == 3
    assert enqueue_full(searched) == len(WANTED) - 3
    assert sorted(runs(searched)) == sorted(WANTED)


def test_a_worker_stays_for_what_another_has_enqueued(searched: Any, make_trainer: Any) -> None:
    # Both have found nothing to claim; then one is first to take the next step.
    assert advance(searched, make_trainer())
    assert advance(searched, make_trainer())
    assert len(runs(searched)) == len(WANTED)


@pytest.mark.slow
def test_from_search_to_ensemble(
    searched: Any, make_trainer: Any, me: Any, never: Any, caplog: Any
) -> None:
    study = searched
    trainer = make_trainer()
    searches = (study.full, study.ensemble)
    done = work(study, searches, trainer, me, never, lambda: advance(study, trainer))
    assert done.attempts == len(WANTED) + 2
    assert is_promoted(study)
    assert not advance(study, trainer)

    rows = confirmed(Snapshot.of(study))
    seeds = {row.params["lr"]: len(row.validation_errors) for row in rows}
    assert seeds == {0.01: 2, 0.02: 2, 0.04: 2, 0.7: 2}
    assert [len(row.test_errors) for row in rows] == [len(row.validation_errors) for row in rows]
    expected = [row.expected_error or 1 for row in rows]
    assert expected == sorted(expected)
    best = best_params(study)
    assert best == rows[0].params

    members = study.trials(study.ensemble)
    assert all(trial.params == best for trial in members)
    recipes = [TrialRef(study, study.ensemble, trial).run.recipe for trial in members]
    assert [(r.model, r.epochs) for r in recipes] == [("proxy", 2), ("proxy-dense", 3)]
    results = read_results(Snapshot.of(study))
    assert results.ensemble is not None
    assert [m.model for m in results.ensemble.members] == ["proxy", "proxy-dense"]
    assert [m.weight for m in results.ensemble.members] == [0.5, 0.5]
    assert 0 < results.ensemble.test_error < 1

    runs = {(run.arm, run.repeat): run for run in results.runs}
    chosen = runs["a", 0].recommendation
    assert chosen is not None
    assert (chosen.trial, chosen.params) == (1, {"lr": 0.01})
    assert chosen.full_validation_error is not None
    assert chosen.test_error is not None
    assert runs["a", 0].states == {"complete": 2, "pruned": 1}


class TestMembersAreWhatTheyAreTrainedWith:
    """An ensemble has the best configuration, also when more searching finds a better one."""

    @pytest.fixture
    def promoted(self, searched: Any, make_trainer: Any, me: Any, never: Any) -> Any:
        """A study with an ensemble."""
        self.work_on(searched, make_trainer(), me, never)
        assert is_promoted(searched)
        return searched

    def work_on(self, study: Any, trainer: Any, me: Any, never: Any) -> None:
        searches = (study.full, study.ensemble)
        work(study, searches, trainer, me, never, lambda: advance(study, trainer))

    def combined(self, study: Any) -> list[tuple[int, dict[str, Any]]]:
        """Number and parameters of the members that the stored ensemble was made of."""
        return [(t.number, t.params) for t in combined_members(Snapshot.of(study))]

    def find_better(self, study: Any) -> None:
        """More searching, after which 0.03, the trainer's best rate, is the best in the search."""
        for search in study.arms:
            add(study, search, 0.03, 0.01)

    def forget_keys(self, study: Any) -> None:
        """Make the study one of an earlier version, whose members had no keys."""
        ensemble = study.optuna_study(study.ensemble)
        plain = dict(ensemble.user_attrs[ENSEMBLE.name])
        del plain["trials"]
        ensemble.set_user_attr(ENSEMBLE.name, plain)
        table = sa.table("trial_user_attributes", sa.column("key"), sa.column("trial_id"))
        ids = [study.trial_id(study.ensemble, t.number) for t in study.trials(study.ensemble)]
        gone = sa.delete(table).where(table.c.key == MEMBER_KEY.name, table.c.trial_id.in_(ids))
        with study.database.engine.begin() as connection:
            assert connection.execute(gone).rowcount == len(ids)

    @pytest.mark.slow
    def test_no_stale_member_is_combined(
        self, promoted: Any, make_trainer: Any, me: Any, never: Any, caplog: Any
    ) -> None:
        study = promoted
        before = self.combined(study)
        assert [number for number, _ in before] == [0, 1]
        assert before[0][1] != {"lr": 0.03}
        self.find_better(study)
        assert not is_promoted(study)
        assert self.combined(study) == before
        assert outdated_ensemble(Snapshot.of(study)) is None  # the better one is not trained yet
        enqueue_full(study)
        finish(study, {0.03: [0.01, 0.01]})
        outdated = outdated_ensemble(Snapshot.of(study))
        assert outdated is not None
        assert f"was trained with {before[0][1]}; the best configuration" in outdated
        shown = read_results(Snapshot.of(study))
        headings = [table.heading for table in finding_tables(shown)]
        assert headings[-1].endswith(", which is no longer the best configuration")
        self.work_on(study, make_trainer(), me, never)
        assert outdated_ensemble(Snapshot.of(study)) is None
        (said,) = [r.getMessage() for r in caplog.records if "trained anew" in r.getMessage()]
        assert f"its members were trained with {before[0][1]}" in said
        assert "the best configuration by full training is {'lr': 0.03}" in said
        assert is_promoted(study)
        assert best_params(study) == {"lr": 0.03}
        assert self.combined(study) == [(2, {"lr": 0.03}), (3, {"lr": 0.03})]
        stored = ENSEMBLE.of(study.optuna_study(study.ensemble))
        errors = [trial.value for trial in study.trials(study.ensemble)[2:]]
        assert [member.validation_error for member in stored.members] == errors

    @pytest.mark.slow
    @pytest.mark.parametrize("better", [False, True])
    def test_a_study_of_an_earlier_version_goes_on(
        self, promoted: Any, make_trainer: Any, me: Any, never: Any, reopen: Any, better: bool
    ) -> None:
        before = self.combined(promoted)
        self.forget_keys(promoted)
        study = open_study(reopen(promoted.database), promoted.name, promoted.work)
        assert self.combined(study) == before
        assert is_promoted(study)
        if better:
            self.find_better(study)
            assert not is_promoted(study)
        self.work_on(study, make_trainer(), me, never)
        assert len(study.trials(study.ensemble)) == (4 if better else 2)
        assert self.combined(study) == (
            [(2, {"lr": 0.03}), (3, {"lr": 0.03})] if better else before
        )

    @pytest.mark.slow
    def test_what_is_combined_meanwhile_by_another_stands(
        self, searched: Any, make_trainer: Any, me: Any, never: Any
    ) -> None:
        """Combining holds no lock, so that two workers may come to it at once."""
        study, trainer = searched, make_trainer()
        combine = trainer.combine
        locked: list[bool] = []

        def slowly(*arguments: Any) -> Any:
            # Nobody waits for this: another worker does the same, and is done first.
            if not locked:
                locked.append(False)
                with study.database.lock(study.ensemble.name):
                    pass
                promote.combine(study, trainer)
            return combine(*arguments)

        trainer.combine = slowly
        self.work_on(study, trainer, me, never)
        assert is_promoted(study)
        assert len(self.combined(study)) == 2


@pytest.mark.slow
@pytest.mark.parametrize("bad", [0, 1])
def test_a_member_that_diverges_leaves_a_smaller_ensemble(
    searched: Any, make_trainer: Any, me: Any, never: Any, bad: int
) -> None:
    study = searched
    trainer = make_trainer()
    searches = (study.full, study.ensemble)
    while not study.trials(study.ensemble):
        assert advance(study, trainer)
        if not study.trials(study.ensemble):
            work(study, searches, trainer, me, never)
    broken = make_trainer()
    train = broken.train

    def diverge(recipe: Any, params: Any, seed: Any, folder: Any, tick: Any) -> Any:
        if folder.name == f"{bad:05d}":
            broken.diverges = lambda params, epoch: True
        else:
            broken.diverges = lambda params, epoch: False
        return train(recipe, params, seed, folder, tick)

    broken.train = diverge
    work(study, searches, broken, me, never, lambda: advance(study, broken))
    states = [DIVERGED.is_set(t) for t in study.trials(study.ensemble)]
    assert states == [bad == 0, bad == 1]
    ensemble = read_results(Snapshot.of(study)).ensemble
    assert ensemble is not None
    assert [m.model for m in ensemble.members] == [["proxy-dense"], ["proxy"]][bad]
    assert is_promoted(study)


@pytest.mark.slow
def test_an_ensemble_of_the_diverged_is_none(
    searched: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = searched
    broken = make_trainer(diverges=lambda params, epoch: True)
    searches = (study.full, study.ensemble)
    work(study, searches, broken, me, never, lambda: advance(study, broken))
    assert is_promoted(study)
    assert read_results(Snapshot.of(study)).ensemble is None
    assert not ENSEMBLE.is_set(study.optuna_study(study.ensemble))
    assert all(not TEST_ERROR.is_set(t) for t in study.trials(study.full))


def test_nothing_is_promoted_without_the_section(
    sqlite_database: Any, make_study: Any, make_trainer: Any
) -> None:
    study = make_study(sqlite_database)
    add(study, study.arms[0], 0.1, 0.3)
    assert enqueue_full(study) == 0
    assert enqueue_members(study) == 0
    assert not advance(study, make_trainer())
    assert is_promoted(study)
    assert confirmed(Snapshot.of(study)) == []
    assert best_params(study) is None


def test_a_search_without_a_full_run_promotes_nothing(
    sqlite_database: Any, make_study: Any, make_trainer: Any
) -> None:
    study = make_study(sqlite_database, promote=PROMOTE, ensemble=MEMBERS)
    add(study, study.arms[0], 0.1, None, 1)
    assert not advance(study, make_trainer())
    assert is_promoted(study)
    assert read_results(Snapshot.of(study)).runs[0].recommendation is None


@pytest.mark.slow
def test_results_follow_the_ledger(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    arms = {"hand": {"configs": [{"lr": 0.03}, {"lr": 0.5}, {"lr": 0.1}]}}
    study = make_study(database, arms=arms)
    trainer = make_trainer(diverges=lambda params, epoch: params.lr == 0.5 and epoch == 2)
    work(study, study.arms, trainer, me, never)
    (run,) = read_results(Snapshot.of(study)).runs
    first, _, third = study.trials(study.arms[0])
    assert [(s.spent, s.trial, s.epoch, s.error, s.full) for s in run.steps] == [
        (3, 0, 3, first.value, True),
        (5, 1, 2, study.task.chance_error, False),
        (8, 2, 3, third.value, True),
    ]
    assert [step.diverged for step in run.steps] == [False, True, False]
    assert (run.spent, run.budget, run.seconds) == (8, 9, 4.0)
    assert run.states == {"complete": 2, "diverged": 1}
    curves = trial_curves(Snapshot.of(study))
    assert [curve.state for curve in curves] == ["complete", "diverged", "complete"]
    assert curves[0].errors == first.intermediate_values


def test_a_paused_trial_is_called_so(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    from tuneoff.search.results.read import state_of
    from tuneoff.search.work.claim import Claim, claim
    from tuneoff.search.work.trial import run_trial

    class Once:
        stops = False

        def next(self, history: Any) -> Any:
            return None if history.trials else NewTrial({"lr": 0.1}, 1)

        def after(self, history: Any, trial: Any) -> Any:
            from tuneoff.search.policies.base import Decision

            return Decision.CONTINUE

    study = make_study(sqlite_database)
    search = replace(study.arms[0], make_policy=Once)
    found = claim(study, search, me)
    assert isinstance(found, Claim)
    run_trial(found, make_trainer(), never)
    now = read_state(study, search)
    assert [state_of(trial, now) for trial in now.trials] == ["paused"]
    (run,) = read_results(Snapshot.of(study)).runs
    assert [(s.spent, s.epoch, s.full) for s in run.steps] == [(1, 1, False)]
