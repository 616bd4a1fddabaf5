"""The report as Markdown, to be pasted into a pull request: the answer first, the rest folded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tuneoff.messages import printable
from tuneoff.metric import Metric
from tuneoff.search.report.comparison_tables import verdict_tables
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.first_screen import FirstScreen, first_screen
from tuneoff.search.report.horizon import horizon_outcome, horizon_tables
from tuneoff.search.report.tables import Table, coverage_table, finding_tables
from tuneoff.search.report.wording import caveats, how_to_read, outcome
from tuneoff.search.results.comparison import Comparison, PairwiseComparison
from tuneoff.search.results.numbers import NONE, share, share_span

_PAIRS: Final = 8
"""Baselines in the table that stands first; the others are in the folded part."""


def markdown(data: ReportData) -> str:
    """The report without its figures.

    What the first screen of the page says comes first, in less than sixty lines unless more than
    twenty parameters are searched. GitHub and GitLab fold the rest.
    """
    screen = first_screen(data)
    blocks = [f"# {text(screen.question)}", *_answer(screen), *_short_table(data.comparison)]
    blocks += [*_settings(screen), *_firmer(screen)]
    details = [*outcome_blocks(data.comparison), *map(prose, horizon_outcome(data.horizon))]
    for table in _tables(data):
        details += [f"### {text(table.heading)}", table_block(table)]
    blocks += folded("Details: the exact answer, every table", details)
    blocks += folded("How to read this", [_bullets(how_to_read(data))])
    return "\n\n".join(blocks) + "\n"


def folded(summary: str, blocks: Iterable[str]) -> list[str]:
    """Blocks that are seen once somebody opens them; ``summary`` is our own text."""
    return [f"<details><summary>{summary}</summary>", *blocks, "</details>"]


def code_block(code: str, language: str = "") -> str:
    """Lines of code as they are; no line of them ends the block."""
    lines = [printable(line) for line in code.strip("\n").split("\n")]
    longest = max((len(run) for run in re.findall(r"`+", code)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join((f"{fence}{language}", *lines, fence))


def _answer(screen: FirstScreen) -> list[str]:
    lines = [f"**{text(screen.answer.text)}**"]
    more = " ".join(filter(None, (screen.answer.cost, screen.errors)))
    return [*lines, *([text(more)] if more else [])]


def _short_table(comparison: Comparison) -> list[str]:
    """Outcome, difference and cost against each baseline."""
    if not comparison.pairs:
        return []
    reference = comparison.reference
    table = Table(
        heading="",
        header=(
            "Against",
            f"{reference} is",
            f"Better by{comparison.metric.in_points}",
            "Epochs needed to be as good",
            "Repeats",
        ),
        rows=tuple(_short_row(pair, comparison.metric) for pair in comparison.pairs[:_PAIRS]),
        text_columns=(1,),
    )
    left = len(comparison.pairs) - _PAIRS
    return [table_block(table), *([f"{left} more are among the details."] if left > 0 else [])]


def _short_row(pair: PairwiseComparison, metric: Metric) -> tuple[str, ...]:
    interval = ""
    if pair.low is not None and pair.high is not None:
        interval = f" ({metric.span(pair.low, pair.high)})"
    cost, needed = pair.cost, NONE
    if cost is not None:
        needed = share(cost.share)
        if cost.low is not None and cost.high is not None and cost.low != cost.high:
            needed += f" ({share_span(cost.low, cost.high)})"
    count = len(pair.repeats)
    return (
        pair.baseline,
        "as good" if pair.quality == "equivalent" else pair.quality,
        f"{metric.difference(pair.mean)}{interval}",
        needed,
        f"{count} of {pair.planned}" if pair.early else str(count),
    )


def _settings(screen: FirstScreen) -> list[str]:
    """The settings to use, to be copied, and the command that trains them."""
    if screen.settings is None:
        return [prose(screen.no_settings)] if screen.no_settings else []
    settings = screen.settings
    return [
        "## Settings to use",
        prose(f"{settings.source} {settings.expectation}"),
        code_block(settings.text, "toml"),
        code_block(settings.command, "sh"),
    ]


def _firmer(screen: FirstScreen) -> list[str]:
    """What a firmer answer would cost."""
    if not screen.firmer.text:
        return []
    command = [code_block(screen.firmer.command, "sh")] if screen.firmer.command else []
    return ["## A firmer answer", prose(screen.firmer.text), *command]


def outcome_blocks(comparison: Comparison) -> list[str]:
    """The verdict, the other comparisons, and what to keep in mind."""
    blocks = [f"**{prose(comparison.verdict)}**", *map(prose, outcome(comparison))]
    for heading, items in caveats(comparison):
        blocks += [f"{text(heading)}:", _bullets(items)]
    return blocks


def table_block(table: Table) -> str:
    """A table without its heading."""

    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(map(text, cells)) + " |"

    left = {0, *table.text_columns}
    rule = "|" + "|".join(":--" if i in left else "--:" for i in range(len(table.header))) + "|"
    return "\n".join((line(table.header), rule, *map(line, table.rows)))


def text(raw: str) -> str:
    """``raw`` in one line, with everything escaped that would become more than text.

    That is: mark-up, table cells, entities, formulas, what begins a block, and addresses, of which
    some renderers make links by themselves.
    """
    line = printable(" ".join(raw.split()))
    line = re.sub(r"([\\`*\[\]<>|&~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", line)
    line = re.sub(r"(?i)(://|\bmailto:|\bwww\.|@)", _unlinked, line)
    line = re.sub(r"^([-+]|#+|-{2,}|={2,})(?=\s|$)", r"\\\1", line)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", line)


def prose(raw: str) -> str:
    """``raw`` as ``text``, but what stands between backticks, a command, is shown as code."""
    parts = " ".join(raw.split()).split("`")
    if len(parts) % 2 == 0 or not all(map(str.strip, parts[1::2])):
        return text(raw)
    shown = []
    for i, part in enumerate(parts):
        before, after = part[: part[:1] == " "], part[len(part) - (part[-1:] == " ") :]
        shown.append(f"`{printable(part)}`" if i % 2 else f"{before}{text(part)}{after}")
    return "".join(shown)


def _unlinked(found: re.Match[str]) -> str:
    """The beginning of an address, with its first punctuation escaped."""
    return re.sub(r"([:.@])", r"\\\1", found[0], count=1)


def _tables(data: ReportData) -> Iterator[Table]:
    yield from verdict_tables(data.comparison)
    yield from finding_tables(data.results)
    yield from horizon_tables(data.horizon, data.results.metric)
    yield from filter(None, map(coverage_table, data.predictions))


def _bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {prose(item)}" for item in items)
