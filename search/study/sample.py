"""A stratified sample of configurations, with the weights that make it stand for all of them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

LEVELS = 3
"""Strata of each arm: the better, the middle and the worse third of its configurations."""
_STREAM = 0x686F72697A6F6E  # of random numbers that nothing else draws from the study's seed


@dataclass(frozen=True)
class Candidate:
    """A configuration that may be drawn.

    Attributes:
        key: of its parameters; different for each candidate.
        arm: that found it first.
        error: of its search runs, 0 to 1.
        picked: an arm recommends it in some repeat.
    """

    key: str
    arm: str
    error: float
    picked: bool


@dataclass(frozen=True)
class Drawn:
    """A configuration that was drawn.

    Attributes:
        level: its third of its arm's configurations, 0 the better.
        weight: for how many configurations it stands, itself included; 1 if it was not drawn by
            chance but taken because an arm recommends it.
    """

    candidate: Candidate
    level: int
    weight: float


def draw(candidates: Sequence[Candidate], size: int, seed: int) -> list[Drawn]:
    """A sample: every candidate that is picked, and others by chance, from every stratum.

    The strata are the arms' ``LEVELS``. Draws are shared among them in proportion to the candidates
    that they have besides the picked ones, so that weights are as equal as may be. With n of the N
    candidates of a stratum drawn, each stands for N / n (Horvitz and Thompson 1952). What a stratum
    of which none was drawn would stand for goes to those of its level, or to all where there are
    none; the weights add up to the number of candidates.

    Args:
        candidates: in any order.
        size: of the whole sample. At least half as many are drawn by chance, however many are
            picked.
        seed: equal candidates and seeds give equal samples.

    Returns:
        By arm, level and error.
    """
    levels = _levels(candidates)
    strata: dict[tuple[str, int], list[Candidate]] = defaultdict(list)
    for one in sorted(candidates, key=lambda c: c.key):
        if not one.picked:
            strata[one.arm, levels[one.key]].append(one)
    picked = [one for one in candidates if one.picked]
    wanted = max(size - len(picked), math.ceil(size / 2))
    counts = _allocated({name: len(some) for name, some in strata.items()}, wanted)
    generator = np.random.default_rng([seed, _STREAM])
    weights = _weights({name: len(some) for name, some in strata.items()}, counts)
    drawn = [Drawn(one, levels[one.key], 1.0) for one in picked]
    for name in sorted(strata):
        order = generator.permutation(len(strata[name]))[: counts[name]]
        drawn += [Drawn(strata[name][i], name[1], weights[name]) for i in order]
    return sorted(
        drawn, key=lambda d: (d.candidate.arm, d.level, d.candidate.error, d.candidate.key)
    )


def _levels(candidates: Sequence[Candidate]) -> dict[str, int]:
    """The level of each candidate among those of its arm, by key."""
    arms: dict[str, list[Candidate]] = defaultdict(list)
    for one in candidates:
        arms[one.arm].append(one)
    return {
        one.key: LEVELS * rank // len(some)
        for some in arms.values()
        for rank, one in enumerate(sorted(some, key=lambda c: (c.error, c.key)))
    }


def _allocated(sizes: Mapping[tuple[str, int], int], wanted: int) -> Counter[tuple[str, int]]:
    """How many to draw of each stratum, in proportion to their sizes (D'Hondt's method).

    One after another, each from the stratum with the most candidates for each draw that it would
    have then. Of equals, one of the level with the fewest draws goes first, so that levels are
    alike even where there are fewer draws than strata.
    """
    counts: Counter[tuple[str, int]] = Counter()
    of_level: Counter[int] = Counter()
    for _ in range(min(wanted, sum(sizes.values()))):
        open_ones = [name for name in sizes if counts[name] < sizes[name]]
        name = min(
            open_ones, key=lambda n: (-sizes[n] / (counts[n] + 1), of_level[n[1]], n[1], n[0])
        )
        counts[name] += 1
        of_level[name[1]] += 1
    return counts


def _weights(
    sizes: Mapping[tuple[str, int], int], counts: Mapping[tuple[str, int], int]
) -> dict[tuple[str, int], float]:
    """For how many candidates each one that was drawn stands, by stratum."""
    everywhere, of_level, drawn_of_level = sum(sizes.values()), Counter[int](), Counter[int]()
    for name, size in sizes.items():
        of_level[name[1]] += size
        drawn_of_level[name[1]] += size if counts[name] else 0
    reached = sum(of_level[level] for level, size in drawn_of_level.items() if size)
    return {
        name: size
        / counts[name]
        * of_level[name[1]]
        / drawn_of_level[name[1]]
        * everywhere
        / reached
        for name, size in sizes.items()
        if counts[name]
    }
