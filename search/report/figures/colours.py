"""An arm's colour, symbol and dash follow from its name, the same in every study and figure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from colorsys import hls_to_rgb
from functools import lru_cache
from typing import Final

KNOWN: Final[Mapping[str, str]] = {
    "bayes": "#0072b2",
    "hand": "#d55e00",
    "random": "#00965a",
    "tpe": "#a500ff",
    "gp": "#ff3c78",
    "grid": "#7090ae",
    "top-k": "#a06efa",
    "one-at-a-time": "#c31e96",
    "hyperband": "#8c7a1e",
    "quasi-random": "#1e8c96",
    "cmaes": "#966450",
}
"""Arms by the names that most studies use.

Blue and vermilion are Okabe and Ito's. Each has a contrast of at least 3 to the page's ground,
light and dark; the first eight can be told apart with red-green blindness too.
"""

_SYMBOLS: Final = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "cross",
    "x",
    "star",
    "triangle-down",
    "pentagon",
    "hexagon",
    "bowtie",
)
_DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
_HUES: Final = 36
_LUMINANCES: Final = (0.165, 0.265)  # between them a colour has a contrast of 3 to both grounds
_APART: Final = 0.06  # in OKLab; two colours of figures are taken for one below
_STEP: Final = 29  # has no factor in common with the number of other colours, 72


@lru_cache(maxsize=64)
def _colours(arms: tuple[str, ...]) -> Mapping[str, str]:
    known = {arm: KNOWN[arm] for arm in arms if arm in KNOWN}
    used = list(known.values())
    others = {}
    for arm in sorted({*arms} - {*known}):  # the same whatever the order
        found = _free(arm, used)
        used.append(found)
        others[arm] = found
    return known | others


def arm_colours(arms: Iterable[str]) -> dict[str, str]:
    """A colour for each arm, as "#rrggbb".

    A well-known name has its own. Any other has one that its name is hashed to, or, if another arm
    of this study has one like it, the next that is free.
    """
    every = tuple(arms)
    colours = _colours(every)
    return {arm: colours[arm] for arm in every}


def arm_symbols(arms: Sequence[str]) -> dict[str, str]:
    """A plotly symbol for each arm; no two of a study have the same while there are enough."""
    return _named(arms, _SYMBOLS)


def arm_dashes(arms: Sequence[str]) -> dict[str, str]:
    """A plotly dash for each arm; no two of a study have the same while there are enough."""
    return _named(arms, _DASHES)


def _free(arm: str, used: Sequence[str]) -> str:
    every = _others()
    start = _hashed(arm) % len(every)
    order = [every[(start + _STEP * i) % len(every)] for i in range(len(every))]
    distances = [min((apart(one, other) for other in used), default=1.0) for one in order]
    for colour, distance in zip(order, distances, strict=True):
        if distance >= _APART:
            return colour
    return order[distances.index(max(distances))]


@lru_cache(maxsize=1)
def _others() -> tuple[str, ...]:
    return tuple(
        _with_luminance(hue / _HUES, luminance) for luminance in _LUMINANCES for hue in range(_HUES)
    )


def _with_luminance(hue: float, luminance: float) -> str:
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        red, green, blue = (255 * c for c in hls_to_rgb(hue, middle, 0.7))
        if relative_luminance((red, green, blue)) < luminance:
            low = middle
        else:
            high = middle
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def relative_luminance(colour: Sequence[float]) -> float:
    """Of red, green and blue, 0 to 255, as WCAG 2 defines it, 0 to 1."""
    red, green, blue = map(_linear, colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def apart(one: str, other: str) -> float:
    """How different two colours "#rrggbb" look: distance in OKLab (Ottosson 2020), 0 to about 1."""
    return math.dist(_oklab(one), _oklab(other))


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb", 0 to 255."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def _linear(channel: float) -> float:
    share = channel / 255
    return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)


@lru_cache(maxsize=512)
def _oklab(colour: str) -> tuple[float, float, float]:
    r, g, b = map(_linear, channels(colour))
    long = math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    medium = math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    short = math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def _named(arms: Sequence[str], marks: Sequence[str]) -> dict[str, str]:
    """One of ``marks`` for each arm: by the place of a well-known name, else by the name's hash."""
    places = {name: place for place, name in enumerate(KNOWN)}
    found = {arm: marks[places[arm] % len(marks)] for arm in arms if arm in places}
    for arm in sorted({*arms} - {*found}):
        found[arm] = next(_unused(arm, marks, set(found.values())))
    return {arm: found[arm] for arm in arms}


def _unused(arm: str, marks: Sequence[str], used: set[str]) -> Iterator[str]:
    start = _hashed(arm) % len(marks)
    order = [*marks[start:], *marks[:start]]
    yield from (mark for mark in order if mark not in used)
    yield order[0]


def _hashed(name: str) -> int:
    """The same in every process, unlike ``hash``."""
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:4], "big")
