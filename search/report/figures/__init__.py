"""The report's figures, in the order in which the page shows them.

A figure is added by a module with a function from ``ReportData`` to its ``Panels`` (see ``base``),
and by that function's name in ``MAKERS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.anytime import anytime_panels
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.report.figures.horizon import horizon_panels
from tuneoff.search.report.figures.importance import importance_panels
from tuneoff.search.report.figures.learning import learning_panels
from tuneoff.search.report.figures.ledger import ledger_panels
from tuneoff.search.report.figures.parallel import parallel_panels
from tuneoff.search.report.figures.parameters import parameter_panels
from tuneoff.search.report.figures.predictions import prediction_panels
from tuneoff.search.report.figures.provenance import provenance_panels
from tuneoff.search.report.figures.recommendations import recommendation_panels
from tuneoff.search.report.figures.timeline import timeline_panels
from tuneoff.search.report.figures.trials import trials_panels

MAKERS: Final[tuple[Callable[[ReportData], Iterable[Panels]], ...]] = (
    anytime_panels,
    recommendation_panels,
    parameter_panels,
    importance_panels,
    parallel_panels,
    learning_panels,
    horizon_panels,
    prediction_panels,
    ledger_panels,
    timeline_panels,
    trials_panels,
    provenance_panels,
)


def all_panels(data: ReportData) -> list[Panels]:
    """All panels that have something to show at this stage of the study."""
    return [panels for make in MAKERS for panels in make(data) if panels.figures or panels.table]
