"""The report's sections below its first screen, in the order in which people ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tuneoff.search.report.comparison_tables import verdict_tables
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.report.horizon import horizon_outcome, horizon_tables
from tuneoff.search.report.tables import Table, finding_tables
from tuneoff.search.report.wording import Topic, keys, reading_notes

_ORDER: Final = (
    *("anytime", "recommendations", "learning", "parameters", "importance", "parallel"),
    *("maps", "beliefs", "forecasts", "coverage", "predictions"),
    *("ledger", "timeline", "ensemble", "calibration"),
)
"""Names of panels, or how they begin."""
_HORIZON: Final = ("horizon", "curve-ranks")
_LATE: Final = _ORDER.index("ledger")
_LAST: Final = ("trials", "provenance")
"""Panels without a reading order of their own: tables for those who look something up."""
_TOPICS: Final[dict[str, Topic]] = {
    "anytime": "anytime",
    "recommendations": "picks",
    "coverage": "predictions",
}
_STATISTICS: Final = ("Checks beside the decision", "What the recommendations lost on the way")
_EXPECTED: Final = "Lowest validation error to be expected"


@dataclass(frozen=True, slots=True)
class Section:
    """One heading of the page, with all that stands below it.

    Attributes:
        name: its anchor.
        title: its heading.
        text: sentences at its beginning.
        panels: figures, each with what is said of them.
        tables: below them.
        notes: what helps to read it, folded.
    """

    name: str
    title: str
    text: tuple[str, ...] = ()
    panels: tuple[Panels, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def sections(data: ReportData, panels: Sequence[Panels]) -> list[Section]:
    """All sections that have something to show."""
    notes, metric = reading_notes(data), data.results.metric
    compared = verdict_tables(data.comparison)
    found = finding_tables(data.results)
    details = [t for t in compared if t.heading.startswith(_STATISTICS)]
    details += [t for t in found if t.heading.startswith(metric.in_words(_EXPECTED))]
    compared = [table for table in compared if table not in details]
    found = [table for table in found if table not in details]
    longer = [p for p in panels if p.name.startswith(_HORIZON)]
    panels = [p for p in panels if p not in longer]
    early = [p for p in panels if _rank(p) < _LATE]
    late = [p for p in panels if _rank(p) >= _LATE]
    every = (
        Section(
            "arms",
            "Quality and cost of each arm",
            text=tuple(pair.sentence for pair in data.comparison.pairs[1:]),
            tables=tuple(compared),
            notes=(*keys(data.comparison), *notes["arms"]),
        ),
        *(_of_panels(one, notes) for one in sorted(early, key=_rank)),
        Section(
            "horizons",
            "What longer runs say",
            text=tuple(horizon_outcome(data.horizon)),
            panels=tuple(longer),
            tables=tuple(horizon_tables(data.horizon, metric)),
        ),
        Section(
            "settings",
            "Settings that were recommended and trained in full",
            tables=tuple(found),
            notes=tuple(notes["confirmed"]),
        ),
        *(_of_panels(one, notes) for one in sorted(late, key=_rank)),
        Section(
            "statistics",
            "Details of the statistics",
            text=tuple(_advice(data)),
            tables=tuple(details),
            notes=tuple(notes["statistics"]),
        ),
    )
    return [one for one in every if one.text or one.panels or one.tables]


def _of_panels(panels: Panels, notes: dict[Topic, list[str]]) -> Section:
    topic = _TOPICS.get(panels.name.partition("-")[0])
    return Section(
        f"section-{panels.name}",
        panels.title,
        panels=(panels,),
        notes=tuple(notes[topic]) if topic else (),
    )


def _rank(panels: Panels) -> int:
    """The place of panels in the reading order; those that nothing is known of come before it ends.

    A table to look something up in comes last.
    """
    for last, name in enumerate(_LAST):
        if panels.name.startswith(name):
            return len(_ORDER) + 1 + last
    return next((i for i, name in enumerate(_ORDER) if panels.name.startswith(name)), len(_ORDER))


def _advice(data: ReportData) -> list[str]:
    return list(dict.fromkeys(text for pair in data.comparison.pairs for text in pair.advice))
