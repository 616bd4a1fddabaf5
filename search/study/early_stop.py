"""Which searches ended before their budgets were spent, as it is stored with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneoff.search.store.attributes import STOPPED, StoredStop


@dataclass(frozen=True)
class StoredAttributes:
    """The stored user attributes of an Optuna study."""

    study_name: str
    user_attrs: Mapping[str, Any]


def early_stops(
    stored: Mapping[str, Mapping[str, Any]], spent: Mapping[str, int]
) -> dict[str, StoredStop]:
    """By search: how it ended, without those that have gone on since.

    Args:
        stored: by search, its user attributes.
        spent: by search, the epochs that it has spent.
    """
    found = {}
    for name, attributes in stored.items():
        stop = STOPPED.get(StoredAttributes(name, attributes))
        if stop is not None and stop.spent == spent[name]:
            found[name] = stop
    return found
