"""A user's own loop under a worker: what it reports is stored, and what it trains again is paid."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from tuneoff import references
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import DIVERGED, FAILURE, TEST_ERROR
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.study import Study
from tuneoff.search.work.heartbeat import Heartbeat
from tuneoff.search.work.promote import enqueue_full
from tuneoff.search.work.worker import work
from tuneoff.trainer.own.loop import LoopTrainer

_numbers = itertools.count()
LOOP = """
def train(params, context):
    for epoch in context.remaining:
        if params["saves"]:
            context.save(epoch)
        context.report(epoch, VALUE, test=0.25)
"""


@pytest.fixture
def make(
    sqlite_database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Study]:
    """Makes a study of one configuration, trained by this text."""
    monkeypatch.syspath_prepend(tmp_path)

    def study(text: str = LOOP, saves: bool = True, **changes: Any) -> Study:
        name = f"ownwork{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text.replace("VALUE", "0.5 / epoch"))
        references.allow([name])
        values = {
            "name": name,
            "repeats": 1,
            "trial": {"trainer": f"{name}:train", "epochs": 4, "params": {"saves": saves}},
            "space": {"x": {"low": 1, "high": 9}},
            "budget": {"epochs": 4},
            "arms": {"hand": {"configs": [{"x": 3}]}},
            "promote": {"epochs": 5, "seeds": 1, "top": 1},
            "workers": {"max_attempts": 1},
        }
        spec = StudySpec.parse(values | changes, "test")
        task = LoopTrainer().check(spec.trial.own_training())
        return create_study(sqlite_database, spec, task, tmp_path / "work")

    return study


@pytest.mark.slow
def test_results_on_validation_and_test_data_are_stored(make: Any, me: Any, never: Any) -> None:
    study = make()
    work(study, study.arms, LoopTrainer(), me, never)
    enqueue_full(study)
    work(study, study.searches, LoopTrainer(), me, never)
    (short,), (full,) = study.trials(study.arms[0]), study.trials(study.full)
    assert short.intermediate_values == {1: 0.5, 2: 0.25, 3: 0.5 / 3, 4: 0.125}
    assert (short.value, TEST_ERROR.get(short)) == (0.125, None)
    assert (full.value, TEST_ERROR.get(full)) == (0.1, 0.25)


@pytest.mark.slow
@pytest.mark.parametrize(("saves", "begins", "paid"), [(True, 2, 4), (False, 0, 6)])
def test_what_is_trained_again_is_paid_again(
    make: Any, me: Any, never: Any, caplog: Any, saves: bool, begins: int, paid: int
) -> None:
    study = make(saves=saves)

    def leave() -> bool:
        return sum(row.epochs for row in attempts.read(study.database, [study.arms[0].name])) >= 1

    work(study, study.arms, LoopTrainer(), me, leave)
    assert [row.epochs for row in study.ledger.read([study.arms[0].name])] == [2]
    work(study, study.arms, LoopTrainer(), me, never)
    rows = sorted(study.ledger.read([study.arms[0].name]), key=lambda row: row.number)
    assert rows[-1].from_epoch == begins
    assert sum(row.epochs for row in rows) == paid
    assert rows[-1].end == "finished"
    assert ("saved nothing to go on from after epoch 2" in caplog.text) == (not saves)


@pytest.mark.slow
def test_a_run_that_errs_fails_with_one_line(make: Any, me: Any, never: Any) -> None:
    study = make("def train(params, context):\n    context.report(1, 'good')\n")
    work(study, study.arms, LoopTrainer(), me, never)
    (trial,) = study.trials(study.arms[0])
    assert trial.state == TrialState.FAIL
    assert "reported 'good' as the value of epoch 1; report a number" in FAILURE.of(trial)


@pytest.mark.slow
def test_what_its_metric_cannot_be_fails(make: Any, me: Any, never: Any) -> None:
    study = make("def train(params, context):\n    yield 93.5\n")
    work(study, study.arms, LoopTrainer(), me, never)
    (trial,) = study.trials(study.arms[0])
    assert "93.5 in epoch 1, and error lies between 0 and 1" in FAILURE.of(trial)


def test_a_run_that_diverges_is_given_the_worst_value(make: Any, me: Any, never: Any) -> None:
    study = make("def train(params, context):\n    yield 0.5\n    yield float('nan')\n")
    work(study, study.arms, LoopTrainer(), me, never)
    (trial,) = study.trials(study.arms[0])
    assert (DIVERGED.get(trial), trial.value) == (2, 1.0)


@pytest.mark.slow
def test_what_is_maximised_is_stored_so_that_lower_is_better(
    make: Any, me: Any, never: Any
) -> None:
    study = make(metric={"name": "accuracy"})
    work(study, study.arms, LoopTrainer(), me, never)
    (trial,) = study.trials(study.arms[0])
    assert trial.value == 1 - 0.125


def test_what_a_heartbeat_raises_is_raised_where_it_is_asked_for() -> None:
    beats: list[int] = []
    failed = threading.Event()

    def beat() -> None:
        beats.append(1)
        if len(beats) == 3:
            failed.set()
            raise ValueError("lost")

    heart = Heartbeat(beat, 0.001)
    heart.check()
    with heart.beating():
        assert failed.wait(30)
    assert len(beats) == 3
    with pytest.raises(ValueError, match="lost"):
        heart.check()
