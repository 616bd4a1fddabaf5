"""Keyword arguments that a study file gives to a class that it refers to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tuneoff import references

REFERENCE, OPTIONS = "reference", "options"
"""Of a table that stands for an instance with options of its own."""


def check_keywords(where: str, values: Mapping[str, Any]) -> None:
    """Make sure that these can be stored, and that what looks like a reference is one.

    Args:
        where: the key of the study file, as messages call it: "options".

    Raises:
        ValueError: a value has a type that JSON has not, is not finite, or is a malformed
            reference; the message names the key.
    """
    for name, value in values.items():
        if not name.isidentifier():
            raise ValueError(f"{where}: {name!r} is no keyword of a function; check its name")
        _check(f"{where}.{name}", value)


def is_made(value: Any) -> bool:
    """Whether a value is a table that stands for an instance: a reference, maybe with options."""
    return (
        isinstance(value, Mapping)
        and REFERENCE in value
        and value.keys() <= {REFERENCE, OPTIONS}
        and isinstance(value[REFERENCE], str)
    )


def _check(where: str, value: Any) -> None:
    if isinstance(value, str):
        if references.is_reference(value):
            references.check_class(value, where)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            _check(f"{where}.{name}", inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _check(where, inner)
    elif not isinstance(value, bool | int | float) or not math.isfinite(value):
        raise ValueError(
            f"{where} = {value!r} cannot be kept; give numbers, text, true, false, lists or tables"
        )
