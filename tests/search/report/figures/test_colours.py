"""Colours of arms: the same everywhere, seen on both grounds, told apart by everybody."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.report.figures.colours import (
    KNOWN,
    apart,
    arm_colours,
    arm_dashes,
    arm_symbols,
    channels,
    relative_luminance,
)

GROUNDS = ("#ffffff", "#f6f8fa", "#0f141a", "#181f27")  # of page.html: pages and panels
FIRST = tuple(KNOWN)[:8]
# Machado, Oliveira, Fernandes 2009, severity 1, for linear red, green and blue.
DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)
PROTANOPIA = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
names = st.lists(
    st.sampled_from(tuple(KNOWN)) | st.text(min_size=1, max_size=8), max_size=50, unique=True
)


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio, 1 to 21."""
    low, high = sorted(relative_luminance(channels(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def simulated(colour: str, matrix: tuple[tuple[float, ...], ...]) -> str:
    """How somebody with that colour blindness sees it."""

    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)

    def shown(value: float) -> int:
        value = min(1.0, max(0.0, value))
        value = 12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055
        return round(255 * value)

    seen = [linear(channel / 255) for channel in channels(colour)]
    mixed = [shown(sum(map(math.prod, zip(row, seen, strict=True)))) for row in matrix]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


@given(names)
def test_every_colour_is_seen_on_a_light_and_a_dark_page(arms: list[str]) -> None:
    for colour in arm_colours(arms).values():
        assert all(contrast(colour, ground) >= 3 for ground in GROUNDS), colour


@pytest.mark.parametrize("matrix", [None, DEUTERANOPIA, PROTANOPIA])
def test_the_first_are_told_apart_by_everybody(
    matrix: tuple[tuple[float, ...], ...] | None,
) -> None:
    seen = [KNOWN[arm] if matrix is None else simulated(KNOWN[arm], matrix) for arm in FIRST]
    for one, other in itertools.combinations(seen, 2):
        assert apart(one, other) >= 0.07, (one, other)


def test_the_first_have_a_symbol_each() -> None:
    assert len(set(arm_symbols(FIRST).values())) == len(FIRST)


@given(names)
def test_well_known_names_keep_their_colours(arms: list[str]) -> None:
    found = arm_colours(arms)
    assert list(found) == arms
    assert all(found[arm] == KNOWN[arm] for arm in arms if arm in KNOWN)
    assert len(set(found.values())) == len(arms)


@given(names, st.randoms())
def test_the_order_of_arms_says_nothing(arms: list[str], random: object) -> None:
    backwards = arms[::-1]
    for named in (arm_colours, arm_symbols, arm_dashes):
        assert named(arms) == {arm: named(backwards)[arm] for arm in arms}


@pytest.mark.slow
def test_another_name_has_the_same_colour_in_most_studies() -> None:
    alone = arm_colours(["mine"])["mine"]
    assert arm_colours(["bayes", "hand", "mine"])["mine"] == alone
    code = (
        "from tuneoff.search.report.figures.colours import arm_colours;"
        "print(arm_colours(['mine'])['mine'])"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == alone


def test_fifty_arms_have_fifty_colours() -> None:
    arms = [f"arm-{i}" for i in range(50)]
    assert len(set(arm_colours(arms).values())) == 50
