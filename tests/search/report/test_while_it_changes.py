"""A report of a study whose workers go on: each one shows one moment, and adds up."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuneoff.search.report.data import ReportData, read_report_data
from tuneoff.search.report.write import write_report
from tuneoff.search.results.compare import compare
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import work
from tuneoff.testing import CurveTrainer

pytestmark = pytest.mark.slow


def adds_up(data: ReportData, told: dict[str, Any]) -> None:
    """The same sums over attempts, trials and searches, in what is drawn and in the JSON file."""
    assert data.comparison == compare(data.results)
    for run in data.results.runs:
        trials = [t for t in data.trials if (t.arm, t.repeat) == (run.arm, run.repeat)]
        attempts = [a for a in data.attempts if (a.arm, a.repeat) == (run.arm, run.repeat)]
        assert run.spent == sum(t.epochs for t in trials) == sum(a.epochs for a in attempts)
        assert run.states == Counter(t.state for t in trials)
        assert run.spent <= run.budget
        ended = [a for a in attempts if a.ended is not None]
        assert (run.steps[-1].spent if run.steps else 0) <= sum(a.epochs for a in ended)
        for trial in trials:
            mine = [a for a in attempts if a.trial == trial.number]
            assert [a.number for a in mine] == list(range(len(mine)))
            # An epoch is entered in the ledger before its error is reported.
            assert len(trial.errors) <= trial.epochs
            if trial.state == "complete":
                assert sorted(trial.errors) == [1, 2, 3]
    assert len(told["trials"]) == len(data.trials)
    assert len(told["attempts"]) == len(data.attempts)
    assert sum(run["spent"] for run in told["results"]["runs"]) == sum(
        attempt["epochs"] for attempt in told["attempts"] if attempt["arm"] in data.results.arms
    )


def test_each_report_adds_up(
    database: Database,
    make_study: Callable[..., Study],
    make_trainer: Callable[..., CurveTrainer],
    reopen: Callable[[Database], Database],
    tmp_path: Path,
) -> None:
    study = make_study(
        database,
        repeats=3,
        arms={
            "bayes": {"sampler": "tpe", "pruner": "median", "startup": 2},
            "random": {"sampler": "random"},
        },
        budget={"epochs": 18},
        promote={"top": 1, "seeds": 2, "epochs": 3},
    )
    done, failed = threading.Event(), list[BaseException]()

    def train(number: int) -> None:
        try:
            mine = open_study(reopen(database), study.name, study.work)
            trainer = make_trainer(diverges=lambda params, epoch: params.lr > 0.5)
            me = replace(Worker.here("cpu"), name=f"here/{number}")
            work(mine, mine.searches, trainer, me, done.is_set, lambda: advance(mine, trainer))
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=train, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    sums: list[int] = []
    try:
        while any(worker.is_alive() for worker in workers) and len(sums) < 40:
            data = read_report_data(Snapshot.of(study))
            page = write_report(data, tmp_path / "report")
            told = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
            adds_up(data, told)
            sums.append(sum(attempt.epochs for attempt in data.attempts))
    finally:
        done.set()
        for worker in workers:
            worker.join(60)
    assert failed == []
    assert sums == sorted(sums)
    assert len(set(sums)) > 2  # it did change meanwhile
