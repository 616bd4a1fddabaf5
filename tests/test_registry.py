"""Registries of names: what they hold, what they refuse, and when they import."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest

from tuneoff.registry import Entry, Registry


@dataclass(frozen=True)
class Fruit(Entry):
    seeds: int


FRUIT = Registry(
    "fruit",
    {
        "pear": Fruit("colorsys:rgb_to_hsv", "a pear", 5),
        "plum": Fruit("no_such_module:thing", "a plum", 1),
    },
)


def test_names_keep_their_order() -> None:
    assert FRUIT.names == tuple(FRUIT) == ("pear", "plum")
    assert "pear" in FRUIT
    assert "apple" not in FRUIT


def test_entries_may_say_more() -> None:
    assert FRUIT.entry("pear").seeds == 5
    assert FRUIT.about("plum") == "a plum"


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"unknown fruit 'fig'; choose one of: pear, plum"):
        FRUIT.check("fig")
    with pytest.raises(ValueError, match="did you mean 'plum'"):
        FRUIT.entry("plumb")


def test_modules_are_imported_when_a_name_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    FRUIT.check("pear")
    assert "colorsys" not in sys.modules
    assert FRUIT.load("pear").__name__ == "rgb_to_hsv"
