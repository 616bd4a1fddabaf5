"""All studies of a database, each in a line: what `list` prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneoff.search.errors import SpecError, StudyError
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Totals
from tuneoff.search.store.attributes import ANSWER, ENSEMBLE
from tuneoff.search.store.database import Database
from tuneoff.search.store.optuna_tables import read_attribute, read_study_attributes
from tuneoff.search.study import table
from tuneoff.search.study.early_stop import StoredAttributes
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.study import Study


@dataclass(frozen=True)
class StudyLine:
    """A study at a glance.

    Attributes:
        state: in words.
        arms: their names, in the study file's order.
        answer: what the comparison came to when it was last made, in a few words; empty where none
            was made.
        is_early: the study has gone on since then.
        live: attempts that workers are at.
        spent, budget: epochs of the search, over all arms and repeats.
        later: epochs of what comes after the search, so far: full training, for example.
        budget_seconds: of training, over all arms and repeats, where the budget is in seconds; then
            ``budget`` is 0.
    """

    name: str
    state: str
    live: int = 0
    spent: int = 0
    budget: int = 0
    later: int = 0
    arms: tuple[str, ...] = ()
    answer: str = ""
    is_early: bool = False
    budget_seconds: float | None = None


def list_studies(database: Database) -> list[StudyLine]:
    """Every study, oldest first, at the cost of a few rows each, however many trials it has.

    One that cannot be read has its reason as its state.
    """
    names = table.names(database)
    with database.engine.connect() as connection:
        answers = read_attribute(connection, [f"{name}/full" for name in names], ANSWER.name)
    return [_line(database, name, answers.get(f"{name}/full", {})) for name in names]


def _line(database: Database, name: str, noted: Mapping[str, Any]) -> StudyLine:
    try:
        study = open_study(database, name, Path())  # none of its files are read
        answer = ANSWER.get(StoredAttributes(study.full.name, noted))
    except (SpecError, StudyError) as error:
        return StudyLine(name, str(error))
    totals = attempts.totals(database, [search.name for search in study.searches])
    of_arms = [totals.get(search.name, Totals(0, 0, 0)) for search in study.arms]
    live = sum(each.made - each.ended for each in totals.values())
    spent = sum(each.epochs for each in of_arms)
    return StudyLine(
        name=name,
        state=_state(study, live, begun=bool(totals)),
        live=live,
        spent=spent,
        budget=sum(search.budget or 0 for search in study.arms),
        later=sum(each.epochs for each in totals.values()) - spent,
        arms=tuple(study.spec.arms),
        answer="" if answer is None else answer.words,
        budget_seconds=study.spec.budget.time and study.spec.budget.time * len(study.arms),
        is_early=answer is not None and sum(each.ended for each in totals.values()) > answer.ended,
    )


def _state(study: Study, live: int, begun: bool) -> str:
    if study.is_draining():
        return f"stopping, {live} at work" if live else "stopped"
    if live:
        return f"{live} at work"
    if _has_ensemble(study):
        return "ensemble is made"
    return "nobody is at work" if begun else "not begun"


def _has_ensemble(study: Study) -> bool:
    with study.database.engine.connect() as connection:
        return ENSEMBLE.name in read_study_attributes(connection, study.ensemble.name)
