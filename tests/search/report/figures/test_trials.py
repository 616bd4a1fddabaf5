"""Every trial has its row, whatever it reported; and what the results rest on holds no secret."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import pytest
from drawn_studies import report_data
from hypothesis import given, settings

from tuneoff.metric import ERROR
from tuneoff.search.report.data import ReportData, read_report_data
from tuneoff.search.report.figures.provenance import provenance_panels
from tuneoff.search.report.figures.trials import trials_panels, trials_table
from tuneoff.search.results.provenance import read_provenance
from tuneoff.search.results.records import TrialCurve
from tuneoff.search.results.trials import attempt_records
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.worker import work


@pytest.mark.slow
@given(data=report_data())
@settings(max_examples=40)
def test_one_row_for_each_trial_with_as_many_cells_as_heads(data: ReportData) -> None:
    panels = trials_panels(data)
    assert len(panels) == bool(data.trials)
    for one in panels:
        assert one.table is not None
        assert len(one.table.rows) == len(data.trials)
        assert {len(row) for row in one.table.rows} == {len(one.table.header)}
        assert one.finding.startswith(f"{len(data.trials)} trial")
        for column in one.table.filters:
            assert one.table.header[column] in ("Arm", "State")


def test_what_was_not_measured_is_said() -> None:
    odd = TrialCurve("a", 0, 7, "failed", {"b": True}, {1: math.nan}, note="x" * 5000)
    (row,) = trials_table([odd], ERROR).rows
    assert row[0] == "a/0#7"
    assert row[4:7] == ("–", "–", "true")
    assert len(row[-1]) == 201


@pytest.mark.slow
def test_the_record_has_the_settings_and_no_address(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    notify = {"url": "https://hooks.example.org/TOKEN", "on": ["failed"]}
    study = make_study(sqlite_database, notify=notify, seed=7)
    work(study, study.arms, make_trainer(), me, never)
    now = Snapshot.of(study)
    found = read_provenance(now, attempt_records(now))
    facts = dict(found.facts)
    assert "TOKEN" not in found.study_file + str(facts)
    again = StudySpec.parse(tomllib.loads(found.study_file), "again")
    assert again.digest() == study.spec.digest()
    assert facts["Seed"].startswith("7;")
    assert facts["Digest of the images"] == study.task.digest
    assert facts["Workers"] == "1 on 1 machine"
    assert facts["Database"] == "sqlite"
    assert facts["First attempt"].endswith("UTC")


def test_a_study_that_has_not_begun_has_a_record(sqlite_database: Any, make_study: Any) -> None:
    data = read_report_data(Snapshot.of(make_study(sqlite_database)))
    (panels,) = provenance_panels(data)
    assert panels.table is not None
    facts = {row[0]: row[1] for row in panels.table.rows}
    assert "First attempt" not in facts
    assert "not known" in facts["Versions in training"]
    assert tomllib.loads(panels.code)["name"] == data.results.name


def test_settings_that_would_turn_text_are_escaped_and_read_back(
    sqlite_database: Any, make_study: Any
) -> None:
    note = "left \u202e right \x1b[2J"
    study = make_study(sqlite_database, arms={"hand": {"configs": [{"lr": 0.1, "note": note}]}})
    (panels,) = provenance_panels(read_report_data(Snapshot.of(study)))
    assert not {"\u202e", "\x1b"} & set(panels.code)
    assert tomllib.loads(panels.code)["arms"]["hand"]["configs"][0]["note"] == note
