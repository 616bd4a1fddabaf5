"""The names of schedules, views, combinations and precisions: what documents say of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tuneoff.registry import Registry
from tuneoff.trainer.registry import COMBINATIONS, PRECISIONS, SCHEDULES, VIEWS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("registry", [SCHEDULES, VIEWS, COMBINATIONS], ids=lambda r: r.kind)
def test_every_name_stands_for_a_function_and_says_what_it_does(registry: Registry[Any]) -> None:
    for name in registry:
        assert callable(registry.load(name))
        assert registry.about(name)


def names_after(text: str, option: str) -> list[str]:
    """The names in the brackets that follow an option, as `option` (`a`, `b`) or (a, b)."""
    (listed,) = re.findall(rf"`{option}` \(([^)]*)\)", text)
    return [name.strip("` ") for name in listed.split(",")]


def test_the_readme_lists_exactly_these() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert names_after(text, "schedule") == list(SCHEDULES)
    assert names_after(text, "test_view") == list(VIEWS)


def test_the_study_files_readme_lists_exactly_these() -> None:
    text = (ROOT / "studies" / "README.md").read_text(encoding="utf-8")
    assert names_after(text, "schedule") == list(SCHEDULES)
    assert names_after(text, "precision") == list(PRECISIONS)
    (listed,) = re.findall(r"`combine`: ((?:`[a-z]+`(?:, )?)+)", text)
    assert re.findall(r"`([a-z]+)`", listed) == list(COMBINATIONS)
