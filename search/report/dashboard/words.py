"""What the notes in optuna-dashboard say: how the comparison stands, and what each search is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.report.comparison_tables import arms_table
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures.base import Panels
from tuneoff.search.report.first_screen import FirstScreen, first_screen
from tuneoff.search.report.horizon import horizon_outcome
from tuneoff.search.report.markdown import code_block, outcome_blocks, prose, table_block, text
from tuneoff.search.report.tables import Table
from tuneoff.search.results.numbers import NONE, duration
from tuneoff.search.results.records import ArmRun, StudyResults
from tuneoff.search.results.status import ArmStatus, Status
from tuneoff.search.study.study import Search, Study

LINKS: Final = 400
"""A note names no more searches than these."""

_READING: Final = (
    "Each trial here is a search run of one arm: its attributes say of which `arm` and `repeat`,"
    " what came of it (`outcome`), and who trained it; its artifact is its log. A run that diverged"
    " is complete with the error of guessing, so that the plots of parameters show where training"
    " fails. Full trainings are left out, as their errors cannot be compared with those of short"
    " runs. This is a copy: what you change in it changes no search, and if you delete it, it is"
    " made again."
)


def comparison_note(
    data: ReportData,
    status: Status,
    study: Study,
    ids: Mapping[str, int],
    panels: Iterable[Panels] = (),
) -> str:
    """The note of the whole comparison, as Markdown: while it runs, first of all how far it is.

    Args:
        ids: of the Optuna studies of the searches, by name.
        panels: the figures that are stored beside it, to be read in a sentence each.
    """
    screen, over = first_screen(data), is_over(data.results, status, study)
    blocks = [f"### {text(screen.question)}"]
    blocks += [] if over else ["#### Where it stands", *_live(status, data.results.metric)]
    blocks += ["#### What came of it" if over else "#### So far", *_answer(screen)]
    blocks += ["#### Settings to use", *_settings(screen), *_firmer(screen)]
    findings = [f"- {text(p.title)}: {prose(p.finding)}" for p in panels if p.finding]
    if findings:
        blocks += ["#### What the figures show", "\n".join(findings)]
    blocks += ["#### The exact answer", *outcome_blocks(data.comparison)]
    blocks += map(prose, horizon_outcome(data.horizon))
    blocks += [_table(arms_table(data.comparison)), "#### How to read this study"]
    metric = data.results.metric
    blocks.append(metric.in_words(_READING))
    if metric.maximised:
        blocks.append(
            f"The dashboard's own plots and tables, and what it calls best, are of `"
            f"{metric.stored_name}`, as which values are stored so that lower is better everywhere;"
            f" this note and its figures have the {text(metric.bare)} itself."
        )
    blocks += _behind(study, ids)
    return "\n\n".join(blocks)


def _answer(screen: FirstScreen) -> Iterator[str]:
    yield f"**{text(screen.answer.text)}**"
    if more := " ".join(filter(None, (screen.errors, screen.answer.cost))):
        yield text(more)
    if screen.others:
        yield "\n".join(f"- {text(other.text)}" for other in screen.others)


def _settings(screen: FirstScreen) -> Iterator[str]:
    settings = screen.settings
    if settings is None:
        yield prose(screen.no_settings)
        return
    yield _table(Table(heading="", header=("Parameter", "Value"), rows=settings.rows))
    yield prose(f"{settings.expectation} {settings.source} To train a model with them:")
    # In two lines: a long one would make the page wider than the window.
    export, _, train = settings.command.rpartition(" && ")
    yield code_block(f"{export} &&\n{train}")


def _firmer(screen: FirstScreen) -> Iterator[str]:
    if not screen.firmer.text:
        return
    yield "#### A firmer answer"
    yield prose(screen.firmer.text)
    if screen.firmer.command:
        yield code_block(screen.firmer.command)
        yield "STUDY.toml is the file that the study was made from."


def search_note(search: Search, study: Study, mirror_id: int) -> str:
    """The note of one of the searches behind the comparison, as Markdown."""
    whole = _link(study.name, mirror_id)
    name = f"**{text(search.arm)}**"
    match search.kind:
        case "arm":
            what = (
                f"### Arm {name}, repeat {search.repeat}\n\nOne of the searches behind the"
                f" comparison {whole}: {_budget(search)}."
            )
        case "full":
            what = (
                "### Full trainings\n\nWhat the arms of the comparison"
                f" {whole} recommend, trained in full, each with several seeds. These errors decide"
                " the comparison; they cannot be compared with those of search runs."
            )
        case "ensemble":
            what = (
                "### The ensemble\n\nThe members of the ensemble that the comparison"
                f" {whole} ends with."
            )
        case "horizon":
            what = (
                "### Longer runs\n\nA sample of configurations of the comparison"
                f" {whole}, trained again for longer, to see whether short runs rank them as long"
                " ones do."
            )
    return f"{what} Open {whole} to see all arms side by side, and who won."


def _budget(search: Search) -> str:
    if search.seconds is not None:
        return f"{duration(search.seconds)} of search runs"
    return f"{search.budget or 0:,} epochs of search runs"


def is_over(results: StudyResults, status: Status, study: Study) -> bool:
    """True if nobody is at work and nothing is left to do."""
    unfinished = {"running", "waiting", "paused", "interrupted"}
    if status.busy or any(unfinished & arm.states.keys() for arm in status.arms):
        return False
    if status.ended is not None:
        return True
    # What comes after the search is over once no more of it is expected.
    queues = [arm for arm in status.arms if arm.name not in study.spec.arms]
    return not any(arm.about for arm in queues) and all(_has_ended(r, study) for r in results.runs)


def _has_ended(run: ArmRun, study: Study) -> bool:
    if run.early_stop is not None or run.budget - run.spent < study.spec.trial.epochs:
        return True  # too little for one more run is never spent
    configs = study.spec.arms[run.arm].configs
    return configs is not None and sum(run.states.values()) >= len(configs)


def _live(status: Status, metric: Metric) -> Iterator[str]:
    if status.busy:
        work = f"{counted(len(status.busy), 'worker')} at work"
        if status.seconds_left is not None:
            work += f", about {duration(status.seconds_left)} left"
        if status.draining:
            work += "; `tuneoff stop` has them leave after their trials"
    else:
        work = "It was stopped by `tuneoff stop`" if status.draining else "Nobody is at work"
        work += "; `tuneoff run STUDY.toml` goes on"
    yield prose(f"{work}.")
    at_work = [busy.trial.partition("#")[0].split("/")[-2:] for busy in status.busy]
    yield _table(
        Table(
            heading="",
            header=("Arm", "Epochs", f"Best {metric.bare}{metric.in_unit}", "Runs", "At work"),
            rows=tuple(
                (
                    arm.name,
                    f"{arm.spent:,} of {'about ' if arm.about else ''}{arm.budget:,}",
                    metric.cell(arm.best),
                    _states(arm),
                    str(sum(arm.name in place for place in at_work)),
                )
                for arm in status.arms
            ),
            text_columns=(3,),
        )
    )


def _table(table: Table) -> str:
    """A table whose columns stand apart: the dashboard puts no space between them."""
    header, rule, *rows = table_block(table).splitlines()
    header, *rows = (row.replace(" |", "\N{EM SPACE}|") for row in (header, *rows))
    return "\n".join((header, rule, *rows))


def _states(arm: ArmStatus) -> str:
    found = sorted((state, number) for state, number in arm.states.items() if number)
    return ", ".join(f"{number:,} {state}" for state, number in found) or NONE


def _behind(study: Study, ids: Mapping[str, int]) -> Iterator[str]:
    """Where to find the searches."""
    yield "#### The searches behind it"
    if len(study.searches) > LINKS:
        yield text(
            f"{len(study.searches):,} Optuna studies, named {study.name}/ARM/REPEAT; full trainings"
            f" are in {study.full.name}."
        )
        return
    lines = []
    for arm in study.spec.arms:
        parts = [s for s in study.arms if s.arm == arm and s.name in ids]
        lines.append(f"- {text(arm)}: repeats " + " ".join(
            _link(str(search.repeat), ids[search.name]) for search in parts
        ))  # fmt: skip
    names = {"full": "full trainings", "ensemble": "the ensemble", "horizon": "longer runs"}
    lines += [f"- {_link(names[q.kind], ids[q.name])}" for q in study.queues if q.name in ids]
    yield "\n".join(lines)


def _link(name: str, study_id: int) -> str:
    return f"[{text(name)}](/dashboard/studies/{study_id})"
