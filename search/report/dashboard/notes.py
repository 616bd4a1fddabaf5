"""Notes and figures as optuna-dashboard stores them, written whole in one transaction.

Its own functions take a transaction for every 2,045 characters, so that a browser may see half of a
figure, and count a note's version up, so that whoever edits it cannot save. Here the version stays:
what a person writes above our heading is saved as it would be, and kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import sqlalchemy as sa

from tuneoff.search.store import optuna_tables as tables
from tuneoff.search.store.study_writing import (
    delete_system_attributes,
    read_system_attributes,
    write_attributes,
)

HEADING: Final = "## Written by tuneoff"
"""Above it a note is a person's, below it ours."""
OLD_HEADING: Final = "## Comparison by tuneoff"
"""The same in the notes of earlier versions."""
KEPT: Final = "What you write above this heading is kept; what stands below it is rewritten."
_OURS: Final = "tuneoff-"  # begins the ids of our figures
FIGURES: Final = f"dashboard:plot_data:{_OURS}"
ORDER: Final = ("why", "anytime", "recommendations", "learning", "ledger")
"""Our figures as the report has them; several of one name are numbered: ``ledger-1``."""

_VERSION: Final = "dashboard:note_ver"
_TEXT: Final = "dashboard:note_str:"
_PART: Final = 2045  # characters in one attribute


def write_note(connection: sa.Connection, study_id: int, ours: str) -> None:
    """Put our section into a study's note, in place of an older one.

    Args:
        connection: within ``writing``.
        ours: what stands below our heading, as Markdown.
    """
    stored = read_system_attributes(connection, study_id, "dashboard:note_")
    body = "".join(stored.get(f"{_TEXT}{i}", "") for i in range(len(stored)))
    theirs = body.partition(HEADING)[0].partition(OLD_HEADING)[0].strip()
    ours = f"{HEADING}\n\n{ours}\n\n*{KEPT}*"
    whole = f"{theirs}\n\n{ours}" if theirs else ours
    if whole != body:
        values: dict[str, Any] = {_VERSION: stored.get(_VERSION, 1)}
        _write(connection, study_id, _TEXT, whole, values)


def write_figures(connection: sa.Connection, study_id: int, figures: Mapping[str, str]) -> None:
    """Store figures in place of all of ours that are there.

    Args:
        connection: within ``writing``.
        figures: by name, of letters, digits and hyphens, as plotly's JSON.
    """
    stored = read_system_attributes(connection, study_id, FIGURES)
    names = {key.rpartition(":")[0].removeprefix(FIGURES) for key in stored}
    gone = [key for key in stored if key.rpartition(":")[0].removeprefix(FIGURES) not in figures]
    if names - set(figures):
        delete_system_attributes(connection, study_id, gone)
    for name, text in figures.items():
        _write(connection, study_id, f"{FIGURES}{name}:", text, {})


def figure_place(figure_id: str) -> tuple[int, int, str]:
    """Where a figure comes: ours as in ``ORDER``, then others by their ids."""
    name, _, number = figure_id.removeprefix(_OURS).partition("-")
    if not figure_id.startswith(_OURS) or name not in ORDER:
        return len(ORDER), 0, figure_id
    return ORDER.index(name), int(number) if number.isdecimal() else 0, figure_id


def _write(
    connection: sa.Connection, study_id: int, prefix: str, text: str, values: dict[str, Any]
) -> None:
    parts = range(0, max(1, len(text)), _PART)
    values |= {f"{prefix}{i}": text[at : at + _PART] for i, at in enumerate(parts)}
    write_attributes(connection, tables.study_system_attributes, study_id, values)
    stored = read_system_attributes(connection, study_id, prefix)
    if gone := [key for key in stored if key not in values]:
        delete_system_attributes(connection, study_id, gone)


def notes_of(connection: sa.Connection, names: list[str]) -> dict[str, tuple[int, str]]:
    """The ids of these Optuna studies and the first part of the note of each, by name."""
    s, a = tables.studies.c, tables.study_system_attributes.c
    query = (
        sa.select(s.study_name, s.study_id, a.value_json)
        .select_from(
            tables.studies.outerjoin(
                tables.study_system_attributes,
                sa.and_(a.study_id == s.study_id, a.key == f"{_TEXT}0"),
            )
        )
        .where(s.study_name.in_(names))
    )
    return {
        name: (study_id, json.loads(text) if text else "")
        for name, study_id, text in connection.execute(query)
    }
