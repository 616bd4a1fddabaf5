"""In what the settings of several studies differ, and what they have in common."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tuneoff.search.results.numbers import NONE
from tuneoff.search.results.side_by_side.records import Member
from tuneoff.search.spec.file import StudySpec

_LONGEST: Final = 40
"""Letters of a value; a longer one is cut, as what differs is named and not explained."""

_TITLES: Final[Mapping[str, str]] = {
    "data.name": "Data",
    "data.image_size": "Image size",
    "trial.model": "Model",
    "trial.epochs": "Epochs of a run",
    "budget.epochs": "Budget, epochs",
    "budget.seconds": "Budget, s",
    "budget.hours": "Budget, h",
    "promote.epochs": "Epochs in full",
    "seed": "Seed",
}
"""The settings that have a column of their own, by key of the study file."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the studies' settings compare.

    Attributes:
        columns: titles of the settings with a column in which the studies differ.
        shared: the others with a column, by title.
        values: for each study, by title of a column.
        others: for each study, by key, the values of all other settings that differ.
    """

    columns: tuple[str, ...]
    shared: dict[str, str]
    values: tuple[dict[str, str], ...]
    others: tuple[dict[str, str], ...]


def compare_settings(members: Sequence[Member]) -> Settings:
    """Compare what the study files say, value by value.

    Names, paths and repeats do not count: the rows have names, and the repeats that are in.
    """
    leaves = [dict(_leaves(member.spec.identity())) for member in members]
    titled = {title: [_shown(one.get(key)) for one in leaves] for key, title in _TITLES.items()}
    titled["Data"] = [_data(member.spec) for member in members]
    columns = tuple(title for title, values in titled.items() if len(set(values)) > 1)
    rest = sorted({key for one in leaves for key in one} - _TITLES.keys() - {"name", "repeats"})
    differ = [key for key in rest if len({_exact(one.get(key)) for one in leaves}) > 1]
    return Settings(
        columns=columns,
        shared={
            title: values[0]
            for title, values in titled.items()
            if title not in columns and values[0] != NONE
        },
        values=tuple({title: titled[title][i] for title in columns} for i in range(len(members))),
        others=tuple({key: _shown(one.get(key)) for key in differ} for one in leaves),
    )


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _data(spec: StudySpec) -> str:
    """The name of the data; of a folder of the user's own, that folder's; the user's own code."""
    if spec.data is None:
        return _shown(spec.trial.own_training().code)
    own = spec.data.name == "folder" and spec.data.path is not None
    return _shown(Path(spec.data.path or "").name if own else spec.data.name)


_exact: Callable[[Any], str] = json.dumps


def _shown(value: Any) -> str:
    if value is None:
        return NONE
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
