"""What a study has come to, for people: HTML, Markdown, JSON, the terminal and the dashboard.

Everything is drawn from ``StudyResults``, ``Comparison`` and ``ArmPredictions``; nothing is
computed here that the JSON does not hold. An arm has the same colour and symbol in every figure.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import optuna
import optuna_dashboard
from plotly import graph_objects as go
from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable
from rich.text import Text

from tuneoff.search.errors import UserError
from tuneoff.search.report import html as report_html
from tuneoff.search.report.figures import (
    Panels,
    all_panels,
    anytime_panels,
    arm_colours,
    recommendation_panels,
)
from tuneoff.search.report.prediction_figures import prediction_panels
from tuneoff.search.results.predictions.records import ArmPredictions
from tuneoff.search.results.records import (
    ArmSummary,
    Comparison,
    Confirmed,
    Ensemble,
    PairwiseComparison,
    Recommendation,
    StudyResults,
    TrialCurve,
    plain,
)
from tuneoff.search.results.statistics import pairs_needed
from tuneoff.search.results.verdict import p_text

_NONE: Final = "–"
_PREDICTIONS: Final = (
    "A prediction counts as having held if the error after the full run lay within the interval"
    " that was given when the run stood at that epoch. It is made again from what had been"
    " trained by then, by the attempts' times, with the noise of a single run included. Left out"
    " are runs at which the model was not asked yet, and those that never came to their end; a"
    " run that diverged came to the error of guessing."
)
_NOTE_HEADING: Final = "## Comparison by tuneoff"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text cells; ``text_columns`` hold running text instead of numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: tuple[int, ...] = ()


def write_report(
    results: StudyResults,
    comparison: Comparison,
    out: Path,
    *,
    trials: Sequence[TrialCurve] = (),
    predictions: Sequence[ArmPredictions] = (),
) -> Path:
    """Write report.html, report.md and report.json into the folder ``out``.

    The HTML holds all that it needs, plotly.js included, and works offline. Each file is
    replaced in one step: a reader never sees half of one.

    Args:
        results: the study as far as it has come.
        comparison: ``compare(results)``.
        out: made if it is not there.
        trials: the trials of all arms; without them two figures are left out.
        predictions: what the models of curve-gp arms predicted.

    Returns:
        The path of report.html.

    Raises:
        UserError: ``out`` cannot be written to.
    """
    content = {
        "results": plain(results),
        "comparison": comparison.to_dict(),
        "trials": plain(trials),
        "predictions": plain(predictions),
    }
    page = out / "report.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        _replace(out / "report.json", _json(content))
        _replace(out / "report.md", markdown(results, comparison, predictions))
        _replace(page, _html(results, comparison, trials, predictions))
    except OSError as error:
        raise UserError(f"cannot write the report into {out}: {error.strerror}") from error
    return page


def markdown(
    results: StudyResults, comparison: Comparison, predictions: Sequence[ArmPredictions] = ()
) -> str:
    """The report without its figures."""
    blocks = [f"# {_markdown_text(_title(results))}", *_markdown_outcome(comparison)]
    tables = [*_tables(results, comparison), *filter(None, map(_coverage_table, predictions))]
    for heading, table in tables:
        blocks += [f"## {_markdown_text(heading)}", _markdown_table(table)]
    reading = _reading(results, comparison, predictions)
    blocks += ["## How to read this", _markdown_bullets(reading)]
    return "\n\n".join(blocks) + "\n"


def summary_table(results: StudyResults, comparison: Comparison) -> RichTable:
    """The outcome on a terminal: one row for each arm, the verdict below."""
    pairs = {pair.baseline: pair for pair in comparison.pairs}
    table = RichTable(
        title=Text(results.name),
        box=SIMPLE_HEAD,  # with the two lines below: what fits into 80 columns
        collapse_padding=True,
        pad_edge=False,
        caption=Text(comparison.verdict),
        caption_justify="left",
        caption_style="bold yellow" if comparison.thin else "bold green",
    )
    table.add_column("Arm")
    behind = f"Behind {comparison.reference}"
    for name in ("Trials", "Epochs", "Time", "Validation, %", "Test, %", behind, "p"):
        table.add_column(Text(name), justify="right")
    for arm in comparison.arms:
        pair = pairs.get(arm.arm)
        cells = (
            arm.arm,
            f"{sum(arm.states.values()):,}",
            f"{arm.spent:,}",
            _duration(arm.seconds),
            _mean_sd(arm.mean_validation, arm.sd_validation),
            _mean_sd(arm.mean_test, arm.sd_test),
            _points(pair.mean) if pair else _NONE,
            p_text(pair.p_holm).removeprefix("= ") if pair else _NONE,
        )
        table.add_row(*map(Text, cells))
    return table


def dashboard_figures(results: StudyResults, comparison: Comparison) -> dict[str, go.Figure]:
    """Figures small enough for the database, by an id that optuna-dashboard accepts.

    They carry their own titles and a white ground, because the dashboard shows them as they are.
    """
    panels = [anytime_panels(results, points=60), recommendation_panels(results, comparison)]
    figures = {}
    for panel in (panel for panel in panels if panel.figures):
        figure = panel.figures[0]
        figure.update_layout(
            title={"text": panel.title, "x": 0.02},
            margin={"t": 90},
            paper_bgcolor="white",
            plot_bgcolor="white",
            font={"color": "#1f2328"},
        )
        figures[f"tuneoff-{panel.name}"] = figure
    return figures


def publish(study: optuna.Study, results: StudyResults, comparison: Comparison) -> None:
    """Save verdict, tables and figures into ``study``, where optuna-dashboard shows them.

    Safe to call again: figures are overwritten, and of the study's note only what stands below
    our heading, so that a note somebody wrote above it stays.
    """
    theirs = optuna_dashboard.get_note(study).partition(_NOTE_HEADING)[0].strip()
    ours = "\n\n".join(
        (
            _NOTE_HEADING,
            *_markdown_outcome(comparison),
            _markdown_table(_arms_table(comparison)),
            "Notes above this section's heading are kept; the section itself is rewritten.",
        )
    )
    optuna_dashboard.save_note(study, f"{theirs}\n\n{ours}" if theirs else ours)
    for name, figure in dashboard_figures(results, comparison).items():
        optuna_dashboard.save_plotly_graph_object(study, figure, graph_object_id=name)


# Pages


def _title(results: StudyResults) -> str:
    return f"{results.name}: which arm finds better hyperparameters?"


def _html(
    results: StudyResults,
    comparison: Comparison,
    trials: Sequence[TrialCurve],
    predictions: Sequence[ArmPredictions],
) -> str:
    colours = arm_colours(results.arms)
    verdict = "verdict thin" if comparison.thin else "verdict"
    body = [report_html.paragraph(comparison.verdict, verdict)]
    lead = comparison.pairs[0] if comparison.pairs else None
    if lead and lead.cost and lead.cost not in comparison.verdict:
        body.append(report_html.paragraph(f"Cost: {lead.cost}."))
    for pair in comparison.pairs[1:]:
        body.append(report_html.paragraph(pair.sentence))
    for title, items in _caveats(comparison):
        body.append(report_html.caveats(title, items))
    panels = [panel for panel in all_panels(results, comparison, trials) if panel.figures]
    tables = _tables(results, comparison)
    # The two tables that carry the verdict, then the figures, then what was found.
    body += chain.from_iterable(_html_table(*table, colours) for table in tables[:2])
    body += chain.from_iterable(_html_panels(panel, colours) for panel in panels)
    body += _html_predictions(results, trials, predictions)
    body += chain.from_iterable(_html_table(*table, colours) for table in tables[2:])
    body.append(report_html.heading("How to read this"))
    body.append(report_html.bullets(_reading(results, comparison, predictions)))
    return report_html.page(_title(results), body, plotly=bool(panels or predictions))


def _html_table(heading: str, table: Table, colours: Mapping[str, str]) -> list[str]:
    html = report_html.table(
        table.header, table.rows, text_columns=table.text_columns, colours=colours
    )
    if len(table.rows) > 12:
        html = report_html.details(f"{len(table.rows)} rows", html)
    return [report_html.heading(heading), html]


def _html_panels(panels: Panels, colours: Mapping[str, str]) -> list[str]:
    key = [report_html.key(colours)] if len(panels.figures) > 1 else []
    figures = report_html.figures(panels.name, panels.figures, panels.caption)
    return [report_html.heading(panels.title), *key, figures]


def _html_predictions(
    results: StudyResults, trials: Sequence[TrialCurve], predictions: Sequence[ArmPredictions]
) -> Iterator[str]:
    for prediction, panels in prediction_panels(results, predictions, trials):
        for panel in (panel for panel in panels if panel.figures):
            yield report_html.heading(panel.title)
            yield report_html.figures(panel.name, panel.figures, panel.caption)
        if found := _coverage_table(prediction):
            _, table = found
            yield report_html.table(table.header, table.rows)


def _markdown_outcome(comparison: Comparison) -> list[str]:
    blocks = [f"**{_markdown_text(comparison.verdict)}**"]
    lead = comparison.pairs[0] if comparison.pairs else None
    if lead and lead.cost and lead.cost not in comparison.verdict:
        blocks.append(_markdown_text(f"Cost: {lead.cost}."))
    blocks += [_markdown_text(pair.sentence) for pair in comparison.pairs[1:]]
    for title, items in _caveats(comparison):
        blocks += [f"{_markdown_text(title)}:", _markdown_bullets(items)]
    return blocks


def _markdown_table(table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(_markdown_text(cell) for cell in cells) + " |"

    left = {0, *table.text_columns}
    rule = "|" + "|".join(":--" if i in left else "--:" for i in range(len(table.header))) + "|"
    return "\n".join((line(table.header), rule, *map(line, table.rows)))


def _markdown_bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {_markdown_text(item)}" for item in items)


def _markdown_text(text: str) -> str:
    """``text`` with everything escaped that would become mark-up, a table cell or a new line."""
    return re.sub(r"([\\`*\[\]<>|])", r"\\\1", " ".join(text.split()))


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _replace(path: Path, text: str) -> None:
    """Write to a neighbour, then rename: whoever reads ``path`` sees the old or the new file."""
    neighbour = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        neighbour.write_text(text, encoding="utf-8")
        neighbour.replace(path)
    finally:
        neighbour.unlink(missing_ok=True)


# Words


def _caveats(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """Title and items of each box of caveats; only those that have items."""
    several = len(comparison.pairs) > 1

    def collect(items: Iterable[tuple[PairwiseComparison, str]]) -> list[str]:
        named = (f"Against {d.baseline}: {text}." if several else f"{text}." for d, text in items)
        return [item[0].upper() + item[1:] for item in named]

    boxes = (
        ("Why the evidence is thin", [(d, text) for d in comparison.pairs for text in d.doubts]),
        ("To bear in mind", [(d, text) for d in comparison.pairs for text in d.notes]),
    )
    return [(title, collect(items)) for title, items in boxes if items]


def _reading(
    results: StudyResults, comparison: Comparison, predictions: Sequence[ArmPredictions]
) -> list[str]:
    baselines = max(1, len(comparison.pairs))
    needed = pairs_needed(baselines)
    budgets = {run.budget for run in results.runs}
    budget = f"the same budget of {budgets.pop():,} epochs" if len(budgets) == 1 else "a budget"
    return [
        f"Each arm has {budget} in each repeat. Every epoch of training counts: those of pruned,"
        " diverged and lost attempts too.",
        "All arms search the same space with the same training recipe and the same split of the"
        " data. Equal repeats of different arms share their seeds, so differences are taken"
        " within repeats.",
        f"A full search run is {results.trial_epochs} epochs. A run that diverges counts as"
        f" guessing, an error of {100 * results.chance_error:.1f}%.",
        "Arms choose by validation error alone. An arm's pick is then trained in full and"
        " measured once on the test split. The validation error of a pick is the lowest of many,"
        " and therefore too good; its test error is not.",
        "Differences are baseline minus reference: positive means that the reference is better. The"
        " 95% interval is a bootstrap over repeats. It covers the luck of searching and training,"
        " not the choice of images or of the data set, and runs narrow with few repeats.",
        "p is of Wilcoxon's exact two-sided signed-rank test over the repeats, adjusted by Holm's"
        f" method for {baselines} baseline{'' if baselines == 1 else 's'}. Below {needed} repeats"
        " it cannot fall under 0.05, whatever the difference. A claim is made only if it does, the"
        " interval excludes zero, and test errors are there for every repeat.",
        "Before the first full run of an arm, its anytime curve shows the best configuration at"
        " the deepest epoch reached so far. Speed is the epochs until the mean curves first reach"
        " the baseline's final error.",
        *([_PREDICTIONS] if any(prediction.coverage for prediction in predictions) else ()),
    ]


def _percent(error: float | None) -> str:
    return _NONE if error is None else f"{100 * error:.2f}"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}"


def _interval(pair: PairwiseComparison) -> str:
    if pair.low is None or pair.high is None:
        return _NONE
    return f"({_points(pair.low)} to {_points(pair.high)})"


def _mean_sd(mean: float | None, sd: float | None) -> str:
    return _percent(mean) if sd is None else f"{_percent(mean)} ± {_percent(sd)}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {_value(value)}" for name, value in params.items())


# Tables


def _tables(results: StudyResults, comparison: Comparison) -> list[tuple[str, Table]]:
    """Heading and table, the arms and the pairs first; empty ones are left out."""
    tables = [
        ("Arms", _arms_table(comparison)),
        (f"Against {comparison.reference}", _pairs_table(comparison)),
        ("What each arm recommends", _recommendations_table(results)),
        ("Confirmed configurations", _confirmed_table(results.confirmed)),
    ]
    if results.ensemble:
        tables.append(("Ensemble", _ensemble_table(results.ensemble)))
    return [(heading, table) for heading, table in tables if table.rows]


def _arms_table(comparison: Comparison) -> Table:
    def row(arm: ArmSummary) -> tuple[str, ...]:
        states = ", ".join(f"{count:,} {state}" for state, count in arm.states.items() if count)
        return (
            arm.arm,
            str(arm.repeats),
            states or _NONE,
            f"{arm.spent:,} / {arm.budget:,}" if arm.budget else f"{arm.spent:,}",
            _duration(arm.seconds),
            _percent(arm.best_validation),
            _mean_sd(arm.mean_validation, arm.sd_validation),
            _mean_sd(arm.mean_test, arm.sd_test),
        )

    return Table(
        header=(
            "Arm",
            "Repeats",
            "Trials",
            "Epochs spent / budget",
            "Device time",
            "Best validation error, %",
            "Picks' validation error, % (mean ± sd)",
            "Picks' test error, % (mean ± sd)",
        ),
        rows=tuple(map(row, comparison.arms)),
        text_columns=(2,),
    )


def _pairs_table(comparison: Comparison) -> Table:
    def row(pair: PairwiseComparison) -> tuple[str, ...]:
        speed = pair.speed
        return (
            pair.baseline,
            pair.measure,
            str(len(pair.repeats)),
            _points(pair.mean),
            _interval(pair),
            p_text(pair.p).removeprefix("= "),
            p_text(pair.p_holm).removeprefix("= "),
            f"{pair.wins} / {pair.ties} / {pair.losses}",
            f"{speed.baseline_epochs:,}" if speed else _NONE,
            f"{speed.reference_epochs:,}" if speed and speed.reference_epochs else "never",
            f"{speed.ratio:.2f}×" if speed and speed.ratio else _NONE,
        )

    reference = comparison.reference
    return Table(
        header=(
            "Baseline",
            "Measured on",
            "Repeats",
            "Behind by, points",
            "95% interval",
            "p",
            "p (Holm)",
            f"{reference} won / tied / lost",
            "Epochs to the baseline's final error",
            f"Epochs for {reference}",
            "Speed-up",
        ),
        rows=tuple(map(row, comparison.pairs)),
        text_columns=(1,),
    )


def _recommendations_table(results: StudyResults) -> Table:
    order = {arm: index for index, arm in enumerate(results.arms)}
    runs = sorted(results.runs, key=lambda run: (order.get(run.arm, len(order)), run.repeat))
    return Table(
        header=(
            "Arm",
            "Repeat",
            "Trial",
            "Hyperparameters",
            "Search validation error, %",
            "Full training: validation, %",
            "test, %",
        ),
        rows=tuple(
            (
                run.arm,
                str(run.repeat),
                str(run.recommendation.trial),
                *_recommendation_cells(run.recommendation),
            )
            for run in runs
            if run.recommendation
        ),
        text_columns=(3,),
    )


def _recommendation_cells(recommendation: Recommendation) -> tuple[str, ...]:
    errors = (
        recommendation.validation_error,
        recommendation.full_validation_error,
        recommendation.test_error,
    )
    return (_params(recommendation.params), *map(_percent, errors))


def _confirmed_table(confirmed: Sequence[Confirmed]) -> Table:
    return Table(
        header=("Found by", "Hyperparameters", "Seeds", "Validation error, %", "Test error, %"),
        rows=tuple(
            (
                one.source,
                _params(one.params),
                str(len(one.validation_errors)),
                _spread(one.validation_errors),
                _spread(one.test_errors),
            )
            for one in confirmed
        ),
        text_columns=(1,),
    )


def _coverage_table(prediction: ArmPredictions) -> tuple[str, Table] | None:
    """Heading and table; None if no prediction can be judged yet."""

    def share(held: int, runs: int) -> str:
        return f"{held} of {runs} ({100 * held / runs:.0f}%)"

    rows = tuple(
        (
            f"epoch {rung.epoch}",
            str(rung.runs),
            share(rung.of(0.5), rung.runs),
            share(rung.of(0.9), rung.runs),
        )
        for rung in prediction.coverage
    )
    header = ("Predicted after", "Runs", "50% interval held", "90% interval held")
    heading = f"How often {prediction.arm}'s predictions held"
    return (heading, Table(header, rows)) if rows else None


def _spread(errors: Sequence[float]) -> str:
    """Mean, and lowest to highest: with two or three seeds a deviation would say too much."""
    if not errors:
        return _NONE
    mean = _percent(sum(errors) / len(errors))
    return mean if len(errors) == 1 else f"{mean} ({_percent(min(errors))}–{_percent(max(errors))})"


def _ensemble_table(ensemble: Ensemble) -> Table:
    members = tuple(
        (m.model, f"{m.weight:.3f}", _percent(m.validation_error), _percent(m.test_error))
        for m in ensemble.members
    )
    combined = (f"combined ({ensemble.how})", "", "", _percent(ensemble.test_error))
    return Table(
        header=("Model", "Weight", "Validation error, %", "Test error, %"),
        rows=(*members, combined),
    )
