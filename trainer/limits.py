"""Checks of single values of a recipe, each of which fails with one line about the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

LARGEST: Mapping[str, float] = {
    "lr": 1e6,
    "weight_decay": 1e6,
    "l2_sp": 1e6,
    "layer_decay": 1e9,
    "head_lr_factor": 1e6,
    "clip": 1e9,
    "mixup": 1000,
    "cutmix": 1000,
    "image_size": 4096,
    "start_size": 4096,
    "crop_padding": 4096,
    "images": 10**9,
    "epochs": 10**6,
    "batch_size": 10**6,
    "accumulation": 10**6,
    "patience": 10**6,
    "step_epochs": 10**6,
}
"""The largest value of each number that has no other bound: far more than any training needs, so
that more is a slip of the keyboard."""


def one_of(name: str, value: str, known: Sequence[str]) -> None:
    """ValueError for a word that is not known."""
    if value not in known:
        raise ValueError(f"{name} = {value!r} is unknown; choose one of: {', '.join(known)}")


def at_least(name: str, value: float, low: float) -> None:
    """ValueError for a number that is too small, infinite, or more than ``LARGEST`` of its name,
    up to a dot in it."""
    if not low <= value < float("inf"):
        raise ValueError(f"{name} = {shown(value)} must be a number of at least {low}")
    high = LARGEST.get(name.partition(".")[0])
    if high is not None and value > high:
        raise ValueError(f"{name} = {shown(value)} must be at most {high:,.0f}")


def numbers(of: Any) -> None:
    """ValueError for a dataclass with another value where one of its fields is a number."""
    for field in fields(of):
        value = getattr(of, field.name)
        kind, _, optional = str(field.type).partition(" | ")
        if kind not in ("int", "float") or (optional and value is None):
            continue
        if isinstance(value, bool) or not isinstance(value, Integral if kind == "int" else Real):
            whole = "whole " if kind == "int" else ""
            raise ValueError(f"{field.name} = {value!r} must be a {whole}number")


def plain(name: str, value: Any) -> None:
    """ValueError for a value that TOML and JSON cannot both have."""
    if isinstance(value, list | tuple):
        for each in value:
            plain(name, each)
    elif not isinstance(value, bool | int | float | str):
        raise ValueError(f"{name} = {value!r} must be a number, a word, true, false or a list")


def shown(value: float) -> str:
    """A number for a message, which has not room for hundreds of digits."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"{Decimal(value):.1e}"
    return repr(value)
