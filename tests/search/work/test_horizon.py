"""[horizon]: the sample is drawn once, every run of it is enqueued once and trained to its end."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from optuna.trial import TrialState

from tuneoff.search.cli.launching import is_complete
from tuneoff.search.errors import StudyError
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.progress import read_progress
from tuneoff.search.results.status import read_status
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attributes import (
    DIVERGED,
    HORIZON,
    REPLICA,
    SAMPLE,
    SEED,
    TEST_ERROR,
)
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.search.study.selection import recommend
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work.horizon import enqueue_horizon
from tuneoff.search.work.promote import advance, is_promoted
from tuneoff.search.work.worker import work

ARMS = {"a": {"sampler": "random"}, "b": {"sampler": "quasi-random"}}
HORIZON_SECTION = {"epochs": [4, 2], "configurations": 6}


def add(study: Any, search: Any, lr: float, value: float, diverged: bool = False) -> None:
    """A finished search run."""
    trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": lr}, 3))
    trial.report(3, value)
    if diverged:
        trial.note(DIVERGED.entry(3))
    trial.tell(TrialState.COMPLETE, value)


@pytest.fixture
def searched(make_study: Any, sqlite_database: Any) -> Any:
    """A study of two arms of nine finished runs each, whose search is over."""
    study = make_study(sqlite_database, arms=ARMS, budget={"epochs": 27}, horizon=HORIZON_SECTION)
    for offset, search in enumerate(study.arms):
        for i in range(9):
            add(study, search, 0.01 * (2 * i + offset + 1), 0.2 + 0.05 * i + 0.01 * offset)
    return study


def reopened(study: Any, **horizon: Any) -> Any:
    """The study, created again with a changed [horizon]."""
    values = study.spec.model_dump()
    values["horizon"] = {**HORIZON_SECTION, **horizon} if horizon.get("epochs", 1) else None
    spec = StudySpec.parse(values, "test")
    return create_study(study.database, spec, study.task, study.work)


def rows(study: Any) -> list[tuple[float, int, int]]:
    return [(t.params["lr"], HORIZON.of(t), REPLICA.of(t)) for t in study.trials(study.horizon)]


@pytest.mark.slow
def test_each_run_is_enqueued_once_the_short_ones_first(searched: Any) -> None:
    assert not is_promoted(searched)
    assert enqueue_horizon(searched) == 12
    assert enqueue_horizon(searched) == 0
    assert is_promoted(searched)
    found = rows(searched)
    assert len(set(found)) == len(found) == 12
    assert [epochs for _, epochs, _ in found] == [2] * 6 + [4] * 6
    assert {lr for lr, epochs, _ in found if epochs == 2} == {
        lr for lr, epochs, _ in found if epochs == 4
    }


def test_a_horizon_is_a_training_of_its_own(searched: Any) -> None:
    enqueue_horizon(searched)
    for stored in searched.trials(searched.horizon):
        run = TrialRef(searched, searched.horizon, stored).run
        assert run.recipe.epochs == HORIZON.of(stored)
        assert SEED.of(stored) == (7, 3_000_000 + HORIZON.of(stored), 0)


@pytest.mark.slow
def test_what_each_arm_recommends_is_in_the_sample(searched: Any) -> None:
    enqueue_horizon(searched)
    sample = SAMPLE.of(searched.optuna_study(searched.horizon))
    keys = {key_of(choice.params) for choice in sample.choices}
    for search in searched.arms:
        picked = recommend(searched.trials(search))
        assert picked is not None
        assert key_of(picked.params) in keys
    assert sample.population == 18
    assert sum(choice.weight for choice in sample.choices) == pytest.approx(18)
    assert {choice.level for choice in sample.choices} == {0, 1, 2}


def test_runs_that_diverged_are_not_drawn(make_study: Any, sqlite_database: Any) -> None:
    study = make_study(sqlite_database, horizon=HORIZON_SECTION)
    add(study, study.arms[0], 0.5, 0.9, diverged=True)
    assert enqueue_horizon(study) == 0
    assert is_promoted(study)
    add(study, study.arms[0], 0.1, 0.3)
    assert enqueue_horizon(study) == 2
    assert rows(study) == [(0.1, 2, 0), (0.1, 4, 0)]


@pytest.mark.slow
def test_a_later_search_run_does_not_change_the_sample(searched: Any) -> None:
    enqueue_horizon(searched)
    before = SAMPLE.of(searched.optuna_study(searched.horizon))
    add(searched, searched.arms[0], 0.9, 0.01)
    assert enqueue_horizon(searched) == 0
    assert SAMPLE.of(open_study(searched.database, searched.name, searched.work).optuna_study(
        searched.horizon
    )) == before  # fmt: skip


@pytest.mark.slow
def test_a_cut_off_step_is_done_again_by_whoever_comes_next(
    searched: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    added = 0

    def dies(*args: Any) -> Any:
        nonlocal added
        if added == 5:
            raise Killed
        added += 1
        return add_trial(*args)

    monkeypatch.setattr("tuneoff.search.work.horizon.add_trial", dies)
    with pytest.raises(Killed):
        enqueue_horizon(searched)
    monkeypatch.undo()
    before = SAMPLE.of(searched.optuna_study(searched.horizon))
    assert enqueue_horizon(searched) == 7
    assert len(set(rows(searched))) == 12
    assert SAMPLE.of(searched.optuna_study(searched.horizon)) == before


@pytest.mark.slow
def test_several_at_once_enqueue_each_run_once(searched: Any, reopen: Any) -> None:
    studies = [
        open_study(reopen(searched.database), searched.name, searched.work) for _ in range(4)
    ]
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda s=study: counts.append(enqueue_horizon(s)))
        for study in studies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 12]
    assert len(set(rows(searched))) == len(rows(searched)) == 12


@pytest.mark.slow
def test_workers_train_it_last_and_leave_nothing_behind(
    make_study: Any, sqlite_database: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    promote = {"top": 1, "seeds": 1, "epochs": 2}
    study = make_study(sqlite_database, arms=ARMS, promote=promote, horizon=HORIZON_SECTION)
    trainer = make_trainer()
    assert not is_complete(study)
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    assert is_complete(study)
    check_ledger(study, trainer)
    trials = study.trials(study.horizon)
    assert len(trials) == 12
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    for trial in trials:
        assert max(trial.intermediate_values) == HORIZON.of(trial)
        assert TEST_ERROR.is_set(trial)
    assert min(t.datetime_start for t in trials) >= max(
        t.datetime_complete for t in study.trials(study.full)
    )
    left = [path for path in study.checkpoints(study.horizon).rglob("*") if path.is_file()]
    assert left == []
    status = {arm.name: arm for arm in read_status(study).arms}
    assert (status["horizon"].spent, status["horizon"].budget) == (36, 36)
    assert [arm.name for arm in read_progress(study)] == ["a", "b", "full", "horizon"]


@pytest.mark.slow
def test_a_worker_that_is_stopped_in_between_is_continued(
    make_study: Any, sqlite_database: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study = make_study(sqlite_database, arms=ARMS, horizon=HORIZON_SECTION)
    epochs = 0

    def stop() -> bool:
        return epochs >= 25  # 18 of the search, 7 of the horizons

    def count(folder: Any, epoch: int) -> None:
        nonlocal epochs
        epochs += 1

    trainer = make_trainer(fails=count)
    first = work(study, study.searches, trainer, me, stop, lambda: advance(study, trainer))
    assert first.stopped
    assert not is_complete(study)
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    assert is_complete(study)
    check_ledger(study, trainer)
    assert len(rows(study)) == len(set(rows(study))) == 12


@pytest.mark.slow
def test_without_the_section_there_is_nothing_of_it(
    make_study: Any, sqlite_database: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, arms=ARMS)
    trainer = make_trainer()
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    assert is_complete(study)
    assert study.horizon not in study.searches
    with pytest.raises(StudyError):
        study.trials(study.horizon)


# A section that is added or changed


@pytest.mark.slow
def test_a_study_that_is_done_takes_the_section_later(
    make_study: Any, sqlite_database: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, arms=ARMS)
    trainer = make_trainer()
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    longer = reopened(study, epochs=[2, 4])
    assert longer.uid == study.uid
    assert longer.spec.digest() == study.spec.digest()
    assert not is_complete(longer)
    work(longer, longer.searches, trainer, me, never, lambda: advance(longer, trainer))
    assert is_complete(longer)
    assert len(rows(longer)) == 12


@pytest.mark.slow
def test_horizons_and_seeds_may_grow(searched: Any) -> None:
    enqueue_horizon(searched)
    longer = reopened(searched, epochs=[2, 4, 8], seeds=2)
    assert enqueue_horizon(longer) == 6 * 3 * 2 - 12
    assert len(set(rows(longer))) == 36
    assert Snapshot.of(longer).sample == Snapshot.of(searched).sample


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": [2, 8]}, "horizon.epochs may only grow; put 4 back"),
        ({"epochs": []}, "put the section back into the file"),
        ({"configurations": 7}, "horizon.configurations is 6, not 7"),
        ({"batch_size": 16}, "horizon.batch_size is None, not 16"),
    ],
)
def test_what_is_stored_is_not_given_up(
    searched: Any, change: dict[str, Any], message: str
) -> None:
    if change.get("epochs") != []:
        assert reopened(searched, **change).spec.horizon != searched.spec.horizon
        reopened(searched, epochs=[2, 4])
    enqueue_horizon(searched)
    with pytest.raises(StudyError, match=message):
        reopened(searched, **change)
    assert reopened(searched, epochs=[2, 4]).spec.horizon == searched.spec.horizon


def test_seeds_do_not_shrink(make_study: Any, sqlite_database: Any) -> None:
    study = make_study(sqlite_database, horizon={**HORIZON_SECTION, "seeds": 2})
    add(study, study.arms[0], 0.1, 0.3)
    enqueue_horizon(study)
    with pytest.raises(StudyError, match=r"horizon\.seeds may only grow; put 2 back"):
        reopened(study, seeds=1)
