"""Studies that go on until their arms are decided: options, the judge, and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from tuneoff.search.results.decision.outlook import Outlook, Range
    from tuneoff.search.spec.file import StudySpec
    from tuneoff.search.study.judgement import Judge
    from tuneoff.search.study.study import Study

F = TypeVar("F", bound=Callable[..., Any])


def until_options(command: F) -> F:
    """``--until-decided``, ``--max-repeats`` and ``--max-hours``."""
    for option in (
        click.option(
            "--max-hours",
            type=click.FloatRange(0, min_open=True),
            help="Add nothing more so many hours after the study was created.",
        ),
        click.option(
            "--max-repeats", type=click.IntRange(2), help="Never more repeats than these."
        ),
        click.option(
            "--until-decided",
            is_flag=True,
            help="After the study file's repeats, add more until every arm is decided.",
        ),
    ):
        command = option(command)
    return command


def settings_of(
    until_decided: bool, max_repeats: int | None, max_hours: float | None
) -> tuple[str, ...]:
    """What these options change of a study file, as ``--set`` has it."""
    changes = ['compare.until="decided"'] if until_decided else []
    changes += [] if max_repeats is None else [f"compare.max_repeats={max_repeats}"]
    changes += [] if max_hours is None else [f"compare.max_hours={max_hours!r}"]
    return tuple(changes)


def judge_of(study: Study) -> Judge | None:
    """Who says whether a study is to go on; None for one that ends with its repeats."""
    if study.spec.compare.until != "decided":
        return None
    from tuneoff.search.results.decision.judge import judge

    return judge


def end_of(study: Study) -> str | None:
    """Why a study that goes on until its arms are decided came to an end; None before."""
    from tuneoff.search.store.attributes import ENDED

    study = study.refreshed()
    end = ENDED.get(study.optuna_study(study.full))
    return end.reason if end is not None and end.repeats == study.repeats else None


def beforehand(study: Study) -> str | None:
    """What it will probably cost until the arms are decided, in a sentence.

    None for a study that ends with its repeats.
    """
    if study.spec.compare.until != "decided":
        return None
    from tuneoff.search.results.decision.judge import outlook_of
    from tuneoff.search.study.snapshot import Snapshot

    now = study.ledger.step(Snapshot.of, study)
    return forecast_sentence(study.spec, now.study.repeats, outlook_of(now))


def forecast_sentence(spec: StudySpec, repeats: int, found: Outlook | None) -> str:
    """What it will probably cost, or why that is not said.

    Args:
        repeats: how many are open.
        found: None with too few of them in for a forecast, or with all that may be.
    """
    from tuneoff.search.results.decision.rule import rule_of

    if found is not None:
        return outlook_sentence(spec, found)
    last = rule_of(spec).last
    if repeats >= last:
        return f"Until decided: at most {last} repeats, all of which are open; none is added."
    return at_most(spec)


def at_most(spec: StudySpec) -> str:
    """What it costs at most, where nothing is known yet."""
    from tuneoff.search.results.decision.judge import most_epochs
    from tuneoff.search.results.decision.rule import rule_of

    most = most_epochs(spec)
    epochs = "" if most is None else f", {most:,} epochs in all"
    return (
        f"Until decided: at most {rule_of(spec).last} repeats{epochs}{_hours_at_most(spec)}. How"
        " many it will probably take is said once two repeats can be compared."
    )


def outlook_sentence(spec: StudySpec, found: Outlook) -> str:
    """What it will probably cost, with the range that holds 80% of simulated courses."""
    from tuneoff.search.results.decision.rule import rule_of
    from tuneoff.search.results.remarks import left_out

    cost = f"{_range(found.epochs)} more epochs"
    if found.seconds is not None:
        cost += f", {_time(found.seconds)} of training, shared among the workers"
    said = f"{_range(found.repeats)} repeats in all, {cost}"
    spread = "; in brackets, what 80% of them come to" if "(" in said else ""
    return (
        f"Until decided: probably {said}{_hours_at_most(spec)}. {found.undecided:.0%} of simulated "
        f"courses reach {rule_of(spec).last} repeats undecided{spread}."
        f"{left_out(found.unfinished)}"
    )


def growth_sentence(study: Study) -> str:
    """That repeats were added, and what is still to be expected."""
    return f"{study.name}: not decided yet; {study.repeats} repeats are open. {beforehand(study)}"


def _hours_at_most(spec: StudySpec) -> str:
    hours = spec.compare.max_hours
    return "" if hours is None else f", and nothing is added {hours:g} h after it was created"


def _range(found: Range, digits: int = 0, unit: str = "") -> str:
    low, median, high = (f"{x:,.{digits}f}" for x in (found.low, found.median, found.high))
    return f"{median}{unit} ({low} to {high})" if low != high else f"{median}{unit}"


def _time(seconds: Range) -> str:
    if seconds.high < 60:
        return "less than a minute"
    if seconds.high < 5400:
        return _range(seconds.times(1 / 60), unit=" min")
    return _range(seconds.times(1 / 3600), 1, " h")
