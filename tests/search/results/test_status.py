"""What ``status`` and the bars of a launcher say, which the database counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from tuneoff.search.errors import StudyError
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.progress import ArmProgress, read_progress
from tuneoff.search.results.read import state_of
from tuneoff.search.results.status import FAILURES, read_status
from tuneoff.search.spec.sections import CompareSpec
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import End, Worker
from tuneoff.search.store.attributes import DIVERGED, RECIPE_CHANGES
from tuneoff.search.store.counts import Counts, count
from tuneoff.search.store.database import Database
from tuneoff.search.store.moment import moment
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work.promote import enqueue_full, enqueue_members

EPOCHS = 3
ENDS: dict[TrialState, tuple[End, ...]] = {
    TrialState.RUNNING: ("paused", "lost", "failed", "released"),
    TrialState.COMPLETE: ("finished",),
    TrialState.PRUNED: ("pruned", "paused"),
    TrialState.FAIL: ("failed", "lost"),
}
"""How attempts at trials that nobody owns may have ended."""


def add_some(study: Study, search: Search, me: Worker, number: int, seed: int) -> None:
    """Trials of every kind, with none to three attempts each."""
    rng = np.random.default_rng(seed)
    for _ in range(number):
        kind = [*ENDS, "diverged", "live", "told"][rng.integers(7)]
        state = kind if isinstance(kind, TrialState) else TrialState.COMPLETE
        made = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, EPOCHS))
        for i in range(rng.integers(1 if kind in ("live", "told") else 0, 4)):
            row = attempts.insert(study.database, me, search.name, made.number, i, 0, EPOCHS)
            attempts.progress(study.database, row, int(rng.integers(EPOCHS)), float(i))
            ends = ENDS.get(state, ("lost",))
            attempts.close(study.database, row, ends[rng.integers(len(ends))])
        if kind in ("live", "told"):
            attempts.insert(study.database, me, search.name, made.number, i + 1, 0, EPOCHS)
        if kind == "diverged":
            made.tell_diverged(1)
        elif state == TrialState.FAIL:
            made.fail("odd")
        elif kind not in ("live", TrialState.RUNNING):
            made.tell(state, float(rng.choice([rng.random(), np.inf])))


def slowly_counted(now: Snapshot, search: Search) -> Counts:
    """The same counts, from the trials and attempts themselves."""
    state = now.state(search)
    rows = [row for rows in state.attempts.values() for row in rows]
    ownerless = {trial.number for trial in state.orphans}
    done = [t for t in state.trials if t.state == TrialState.COMPLETE and not DIVERGED.is_set(t)]
    finite = [t.value for t in done if t.value is not None and np.isfinite(t.value)]
    return Counts(
        states=Counter(
            "interrupted" if trial.number in ownerless else state_of(trial, state)
            for trial in state.trials
        ),
        best=min(finite, default=None),
        spent=sum(row.epochs for row in rows),
        seconds=sum(row.seconds for row in rows),
        lost=sum(row.end in ("lost", "failed") for row in rows),
        live=sorted((row for row in rows if row.live), key=lambda row: (row.started, row.trial)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_database_counts_as_we_do(
    database: Database, make_study: Callable[..., Study], me: Worker, seed: int
) -> None:
    study = make_study(database, repeats=2)
    add_some(study, study.arms[0], me, 30, seed)
    add_some(study, study.arms[1], me, 3, seed)
    now = Snapshot.of(study)
    with moment(database.engine) as connection:
        found = count(connection, [search.name for search in study.searches])
    for search in study.searches:
        wanted, counted = slowly_counted(now, search), found[search.name]
        assert [row.token for row in counted.live] == [row.token for row in wanted.live]
        counted.live = wanted.live = []
        assert counted == wanted


@pytest.mark.slow
def test_a_paused_trial_that_another_attempt_lost_is_interrupted(
    database: Database, make_study: Callable[..., Study], me: Worker
) -> None:
    study = make_study(database)
    (search,) = study.arms
    add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, EPOCHS))
    ends: tuple[End, ...] = ("paused", "lost", "paused")
    words = ["interrupted"]
    assert read_status(study).arms[0].states == {"interrupted": 1}
    for number, end in enumerate(ends):
        row = attempts.insert(database, me, search.name, 0, number, 0, EPOCHS)
        assert read_status(study).arms[0].states == {"running": 1}
        attempts.close(database, row, end)
        (word,) = read_status(study).arms[0].states
        words.append(word)
    assert words == ["interrupted", "paused", "interrupted", "paused"]


@pytest.mark.slow
def test_the_newest_failures_are_named(
    database: Database, make_study: Callable[..., Study]
) -> None:
    study = make_study(database)
    (search,) = study.arms
    for number in range(FAILURES + 2):
        trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, EPOCHS))
        trial.fail(f"[/odd] {number}")
    found = read_status(study)
    assert found.arms[0].states == {"failed": FAILURES + 2}
    assert found.failures[0] == f"{search.name}#2: [/odd] 2"
    assert found.failures[-1] == f"{search.name}#{FAILURES + 1}: [/odd] {FAILURES + 1}"
    assert len(found.failures) == FAILURES


@pytest.mark.slow
def test_promoted_trials_are_budgeted_by_their_own_recipes(
    database: Database, make_study: Callable[..., Study]
) -> None:
    study = make_study(database, repeats=2)
    assert read_progress(study) == [ArmProgress("random", 0, 18, None)]

    def enqueue(changes: dict[str, Any]) -> TrialRef:
        job = NewTrial({"lr": 0.1}, EPOCHS, RECIPE_CHANGES.entry(changes))
        return add_trial(study, study.full, TrialState.WAITING, job)

    refs = [enqueue({"epochs": 50}), enqueue({"model": "resnet18"}), enqueue({"epochs": 7})]
    assert sum(ref.run.recipe.epochs for ref in refs) == 50 + EPOCHS + 7
    (_, full) = read_progress(study)
    assert (full.name, full.budget) == ("full", 50 + EPOCHS + 7)
    refs[0].fail("odd")
    assert read_progress(study)[1].budget == EPOCHS + 7


PROMOTE = {"top": 1, "seeds": 3, "epochs": 4}
MEMBERS = {"members": [{"model": "proxy"}, {"model": "proxy-dense", "epochs": 5}]}


class TestWhatIsNotEnqueuedYet:
    """Full training and the ensemble count before the search is over."""

    @pytest.fixture
    def study(self, database: Database, make_study: Callable[..., Study]) -> Study:
        arms = {"a": {"sampler": "random"}, "b": {"sampler": "random"}}
        return make_study(database, arms=arms, repeats=2, promote=PROMOTE, ensemble=MEMBERS)

    def run(self, study: Study, me: Worker, search: Search, lr: float, error: float | None) -> None:
        """A search run of ten seconds; without an error, one that diverged."""
        made = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": lr}, EPOCHS))
        row = attempts.insert(study.database, me, search.name, made.number, 0, 0, EPOCHS)
        attempts.progress(study.database, row, EPOCHS, 10.0)
        if error is None:
            made.tell_diverged(EPOCHS)
        else:
            made.tell(TrialState.COMPLETE, error)
        attempts.close(study.database, row, "finished")

    def budgets(self, study: Study) -> dict[str, str]:
        arms = read_status(study).arms
        return {arm.name: f"{'~' if arm.about else ''}{arm.budget}" for arm in arms}

    def test_before_anything_is_known_each_arm_picks_another(self, study: Study) -> None:
        assert self.budgets(study) == {
            "a": "18",
            "b": "18",
            "full": f"~{4 * 3 * 4}",
            "ensemble": "~9",
        }
        assert [arm.name for arm in read_progress(study)] == ["a", "b", "full", "ensemble"]
        assert [arm.name for arm in read_progress(study, promote=False)] == ["a", "b"]

    @pytest.mark.slow
    def test_the_picks_are_those_so_far(self, study: Study, me: Worker) -> None:
        a0, b0, a1, _ = study.arms
        self.run(study, me, a0, 0.1, 0.3)
        self.run(study, me, a0, 0.2, 0.3)  # as good, but later
        self.run(study, me, a0, 0.3, None)
        self.run(study, me, b0, 0.1, 0.2)
        self.run(study, me, b0, 0.4, 0.21)
        self.run(study, me, a1, 0.1, 0.6)
        assert self.budgets(study)["full"] == f"~{2 * 3 * 4}"

    def test_what_a_bound_leaves(self, study: Study, me: Worker) -> None:
        """The best so far is trained for its own sake. The bound, two trainings, pays for the other
        pick of its pair, but for no other pair."""
        bounded = replace(
            study, spec=study.spec.model_copy(update={"compare": CompareSpec(epochs=11)})
        )
        self.run(study, me, study.arms[0], 0.1, 0.3)
        assert self.budgets(bounded)["full"] == f"~{(3 + 1) * 4}"

    @pytest.mark.slow
    def test_the_estimate_is_what_is_enqueued_in_the_end(self, study: Study, me: Worker) -> None:
        for search, lr in zip(study.arms, (0.1, 0.1, 0.2, 0.3), strict=True):
            self.run(study, me, search, lr, lr)
        estimate = self.budgets(study)
        assert estimate["full"] == f"~{3 * 3 * 4}"
        enqueue_full(study)
        assert self.budgets(study)["full"] == estimate["full"].lstrip("~")
        for stored in study.trials(study.full):
            trial = TrialRef(study, study.full, stored)
            trial.start()
            trial.tell(TrialState.COMPLETE, 0.1)
        assert self.budgets(study)["ensemble"] == "~9"
        enqueue_members(study)
        assert self.budgets(study)["ensemble"] == "9"

    @pytest.mark.slow
    def test_without_a_full_training_that_holds_there_is_no_ensemble(
        self, study: Study, me: Worker
    ) -> None:
        for search in study.arms:
            self.run(study, me, search, 0.1, None)
        enqueue_full(study)
        for stored in study.trials(study.full):
            trial = TrialRef(study, study.full, stored)
            trial.start()
            trial.tell_diverged(1)
        assert self.budgets(study)["ensemble"] == "0"

    @pytest.mark.slow
    def test_the_time_left_has_them_at_their_own_speed(self, study: Study, me: Worker) -> None:
        for search in study.arms:
            for _ in range(3):
                self.run(study, me, search, 0.1, 0.3)
        enqueue_full(study)
        (trial, *_) = study.trials(study.full)
        TrialRef(study, study.full, trial).start()
        row = attempts.insert(study.database, me, study.full.name, trial.number, 0, 0, 4)
        before = read_status(study).seconds_left
        # 12 epochs of full training and 9 of the ensemble, at 3.3 seconds.
        assert before == pytest.approx((12 + 9) * 120 / 36)
        attempts.progress(study.database, row, 2, 14.0)
        # Full training takes 7 seconds an epoch; the ensemble has not begun.
        expected = (12 - 2) * 7 + 9 * (120 + 14) / (36 + 2)
        assert read_status(study).seconds_left == pytest.approx(expected)


@pytest.mark.parametrize(
    ("sections", "rows"),
    [({}, []), ({"promote": PROMOTE}, ["full"])],
)
def test_a_queue_without_its_section_is_not_shown(
    sqlite_database: Database,
    make_study: Callable[..., Study],
    sections: dict[str, Any],
    rows: list[str],
) -> None:
    study = make_study(sqlite_database, **sections)
    assert [arm.name for arm in read_status(study).arms] == ["random", *rows]


def test_names_with_a_quote_are_names(database: Database, make_study: Callable[..., Study]) -> None:
    study = make_study(database)
    with moment(database.engine) as connection:
        assert count(connection, [f"{study.name}' OR 1=1 --"]) == {}


def test_a_search_whose_optuna_study_was_deleted_is_named(
    sqlite_database: Database, make_study: Callable[..., Study], me: Worker
) -> None:
    study = make_study(sqlite_database)
    (search,) = study.arms
    attempts.insert(sqlite_database, me, search.name, 0, 0, 0, EPOCHS)
    optuna.delete_study(study_name=search.name, storage=sqlite_database.optuna)
    for read in (read_status, read_progress, Snapshot.of):
        with pytest.raises(StudyError, match=f"its Optuna study {search.name} was deleted"):
            read(study)
