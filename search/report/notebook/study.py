"""A study for whoever works on it in a notebook: its results, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.search.errors import StudyError
from tuneoff.search.report.data import ReportData, read_report_data
from tuneoff.search.report.figures import all_panels
from tuneoff.search.report.notebook.columns import COLUMNS, columns_of
from tuneoff.search.report.notebook.frames import frame
from tuneoff.search.results.compare import compare
from tuneoff.search.results.comparison import Comparison
from tuneoff.search.results.read import read_results
from tuneoff.search.results.records import StudyResults
from tuneoff.search.store.database import open_database
from tuneoff.search.store.defaults import COMMAND_PATIENCE_SECONDS, DEFAULT_URL
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd
    from plotly import graph_objects as go


class LoadedStudy(StudyResults):
    """A study as it was when it was loaded: ``StudyResults``, and tables and figures of it.

    Tables are pandas' and need the extra ``notebook``; figures are plotly's. Each call makes a new
    one, which may be changed. What a table's columns mean is in ``columns``. Errors are values of
    the study's ``metric``, stored so that lower is better; what is not known is NaN. All methods
    that return a table raise UserError without pandas.
    """

    def __init__(self, results: StudyResults, now: Snapshot, reference: str | None = None) -> None:
        """
        Args:
            results: ``read_results(now)``.
            now: the study at one moment.
            reference: the arm to compare the others with; the default if None.

        Raises:
            StudyError: there is no arm of that name.
        """
        super().__init__(**{one.name: getattr(results, one.name) for one in fields(StudyResults)})
        # Nothing of a frozen record is assigned to.
        vars(self).update(_now=now, _reference=reference, comparison=compare(results, reference))

    comparison: Comparison
    """Every arm against the reference: outcomes, intervals, cost, sentences."""

    @cached_property
    def report(self) -> ReportData:
        """All that the study's report is drawn from; read when it is first asked for."""
        return read_report_data(vars(self)["_now"], vars(self)["_reference"])

    @property
    def answer(self) -> str:
        """The answer in plain words."""
        return self.comparison.verdict

    def columns(self, table: str) -> Mapping[str, str]:
        """What each column means in this study, of a table that is called as the method that
        returns it.

        Raises:
            StudyError: there is no such table.
        """
        if table not in COLUMNS:
            raise StudyError(f"there is no table {table!r}; there are: {', '.join(COLUMNS)}")
        return columns_of(table, self.metric)

    def trials(self) -> pd.DataFrame:
        """One row for each trial of an arm, with a column ``params_NAME`` for each parameter."""
        return frame("trials", self.report)

    def epochs(self) -> pd.DataFrame:
        """One row for each epoch that a trial reported: the learning curves."""
        return frame("epochs", self.report)

    def attempts(self) -> pd.DataFrame:
        """One row for each attempt at a trial, of arms and of full training: the ledger."""
        return frame("attempts", self.report)

    def picks(self) -> pd.DataFrame:
        """One row for each recommendation, with a column ``params_NAME`` for each parameter."""
        return frame("picks", self.report)

    def differences(self) -> pd.DataFrame:
        """One row for each baseline and paired repeat."""
        return frame("differences", self.report)

    def pairs(self) -> pd.DataFrame:
        """One row for each baseline: the outcome, its interval, and the cost."""
        return frame("pairs", self.report)

    def per_arm(self) -> pd.DataFrame:
        """One row for each arm: what it spent and came to."""
        return frame("per_arm", self.report)

    def figures(self) -> dict[str, go.Figure]:
        """The report's figures, by name; those of a panel with several are numbered from 1."""
        found = {}
        for panels in all_panels(self.report):
            several = len(panels.figures) > 1
            for number, figure in enumerate(panels.figures, start=1):
                found[f"{panels.name}-{number}" if several else panels.name] = figure
        return found

    def figure(self, name: str) -> go.Figure:
        """One of ``figures`` (StudyError if there is none of that name)."""
        found = self.figures()
        if name not in found:
            there = ", ".join(found) or "none yet"
            raise StudyError(f"study {self.name} has no figure {name!r}; it has: {there}")
        return found[name]


def load_study(
    name: str, storage: str = DEFAULT_URL, *, reference: str | None = None
) -> LoadedStudy:
    """All that a study has come to so far, by its name.

    Args:
        name: the study file's ``name``.
        storage: "sqlite:///FILE" or "postgresql://USER:PASSWORD@HOST/DATABASE".
        reference: the arm to compare the others with; the default if None.

    Raises:
        StorageError, StudyError: the database cannot be read, or has no such study or arm.
        StorageOutage: it could not be reached.
    """
    database = open_database(storage, patience=COMMAND_PATIENCE_SECONDS)
    try:
        now = Snapshot.of(open_study(database, name, Path()))
        return LoadedStudy(read_results(now), now, reference)
    finally:
        database.close()
