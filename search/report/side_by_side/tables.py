"""The tables of several studies side by side, as cells of text."""

from __future__ import annotations

from tuneoff.search.report.tables import Table
from tuneoff.search.results.numbers import NONE, level_name, share, share_span
from tuneoff.search.results.side_by_side.records import Entry, PooledRow, SideBySide
from tuneoff.search.results.side_by_side.sentences import cost_range, quality_word, studies
from tuneoff.search.results.statistics.levels import CONFIDENCE


def studies_table(found: SideBySide) -> Table:
    """The one table: a row for each study and baseline, and one for all studies together."""
    several = len(found.baselines) > 1
    rows: list[tuple[str, ...]] = []
    for column, together in enumerate(found.pooled):
        against = (together.baseline,) if several else ()
        for row in found.rows:
            entry = row.entries[column]
            settings = (row.settings[title] for title in found.columns)
            rows.append((row.name, *against, *_results(entry), *settings, _weight(entry.weight)))
        if together.mean is not None:
            name, blank = f"All {studies(len(together.studies))}", ("",) * len(found.columns)
            rows.append((name, *against, *_pooled(found, together, column), *blank, "100%"))
    units = {row.metric.in_points for row in found.pooled}
    unit = units.pop() if len(units) == 1 else ""
    header = (
        "Study",
        *(("Against",) if several else ()),
        f"{found.reference} is",
        f"Better by{unit}",
        "Its interval",
        "Cost (share of the epochs)",
        "Repeats",
        *found.columns,
        "Weight",
    )
    first = 1 + several
    text = {first - 1, first, *(i for i, title in enumerate(header) if title in ("Data", "Model"))}
    return Table("The studies", header, tuple(rows), tuple(sorted(text - {0})))


def others_table(found: SideBySide) -> Table:
    """Settings without a column in which the studies differ; without rows if there are none."""
    keys = list(found.rows[0].others) if found.rows else []
    return Table(
        heading="What else differs in the study files",
        header=("Setting", *(row.name for row in found.rows)),
        rows=tuple((key, *(row.others[key] for row in found.rows)) for key in keys),
        text_columns=tuple(range(1, 1 + len(found.rows))),
    )


def _results(entry: Entry) -> tuple[str, ...]:
    if entry.missing:
        return (entry.missing, *(NONE,) * 4)
    interval = (
        NONE
        if entry.low is None or entry.high is None
        else entry.metric.span(entry.low, entry.high)
    )
    early = entry.repeats < entry.planned
    return (
        quality_word(entry.quality),
        NONE if entry.mean is None else entry.metric.difference(entry.mean),
        interval,
        _cost(entry),
        f"{entry.repeats} of {entry.planned}" if early else str(entry.repeats),
    )


def _weight(weight: float | None) -> str:
    return NONE if weight is None else f"{100 * weight:.0f}%"


def _cost(entry: Entry) -> str:
    cost = entry.cost
    if cost is None:
        return NONE
    if cost.low is None or cost.high is None or cost.low == cost.high:
        return share(cost.share)
    return f"{share(cost.share)} ({share_span(cost.low, cost.high)})"


def _pooled(found: SideBySide, row: PooledRow, column: int) -> tuple[str, ...]:
    assert row.mean is not None  # else it has no row
    assert row.low is not None
    assert row.high is not None
    entries = [one.entries[column] for one in found.rows]
    level = "" if row.confidence == CONFIDENCE else f" ({level_name(row.confidence)})"
    return (
        quality_word(row.quality),
        row.metric.difference(row.mean),
        f"{row.metric.span(row.low, row.high)}{level}",
        cost_range(entries) or NONE,
        str(sum(entry.repeats for entry in entries if entry.weight is not None)),
    )


def spread_table(found: SideBySide) -> Table:
    """How much the studies differ from each other."""
    rows = [
        (
            row.baseline,
            str(len(row.studies)),
            row.metric.size(row.tau),
            NONE
            if row.tau_low is None or row.tau_high is None
            else f"{row.metric.size(row.tau_low)} to {row.metric.size(row.tau_high)}",
            NONE
            if row.predicted_low is None or row.predicted_high is None
            else row.metric.span(row.predicted_low, row.predicted_high),
        )
        for row in found.pooled
        if row.tau is not None
    ]
    units = {row.metric.in_points for row in found.pooled}
    unit = units.pop() if len(units) == 1 else ""
    return Table(
        heading=f"How much the studies differ{unit}",
        header=(
            "Against",
            "Studies pooled",
            "Sd between studies (tau)",
            "Its 95% interval",
            "Expected in one more study (95%)",
        ),
        rows=tuple(rows),
    )
