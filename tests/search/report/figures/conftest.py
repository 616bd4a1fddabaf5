"""Report data made by hand, for figures of single trials and attempts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tuneoff.search.report.data import ReportData
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, AttemptRecord, StudyResults, TrialCurve


@pytest.fixture
def make_data() -> Callable[..., ReportData]:
    """Makes a report's data of these trials and attempts, of arms that recommend nothing."""

    def make(
        arms: Sequence[str] = ("bayes", "hand"),
        trials: Sequence[TrialCurve] = (),
        attempts: Sequence[AttemptRecord] = (),
        repeats: int = 1,
        **others: Any,
    ) -> ReportData:
        runs = tuple(
            ArmRun(arm, repeat, 100, 0, 0.0, {}, (), None)
            for arm in arms
            for repeat in range(repeats)
        )
        results = StudyResults("made", tuple(arms), repeats, 3, 0.9, runs)
        made = ReportData(results, compare(results), trials, attempts=attempts)
        return replace(made, **others)

    return make
