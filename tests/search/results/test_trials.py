"""Trials and attempts as records: what the ledger says, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tuneoff.search.report.data import read_report_data
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.worker import work


@pytest.mark.slow
def test_a_reports_records_agree_with_each_other(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    arms = {"bayes": {"sampler": "curve-gp"}, "random": {"sampler": "random"}}
    study = make_study(sqlite_database, arms=arms)
    work(study, study.arms, make_trainer(), me, never)
    data = read_report_data(Snapshot.of(study))
    assert data.trials
    for run in data.results.runs:
        mine = [t for t in data.trials if (t.arm, t.repeat) == (run.arm, run.repeat)]
        rows = [a for a in data.attempts if (a.arm, a.repeat) == (run.arm, run.repeat)]
        assert sum(t.epochs for t in mine) == sum(a.epochs for a in rows) == run.spent > 0
        assert sum(t.attempts for t in mine) == len(rows)
        assert {a.state for a in rows} <= {t.state for t in mine}
    assert [a.started for a in data.attempts] == sorted(a.started for a in data.attempts)
    assert all(t.worker == me.name and t.device == me.device for t in data.trials if t.attempts)
    assert data.best is not None
    assert data.best.rank == 1


def test_a_study_in_which_nothing_has_run_has_nothing_to_use(
    sqlite_database: Any, make_study: Any
) -> None:
    data = read_report_data(Snapshot.of(make_study(sqlite_database)))
    assert (data.best, data.outlook, data.attempts) == (None, None, [])
