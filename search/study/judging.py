"""How many full trainings each pick gets, so that the arms can be judged: a pure allocation.

A pick is what an arm recommends in one repeat. Equal picks are one configuration, which is trained
once for all of them.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tuneoff.search.spec.file import StudySpec

REFERENCE: Final = "bayes"
"""The arm that the others are compared with, if there is such an arm; else it is the first."""
HAND: Final = "hand"
"""The baseline that the verdict is about, if there is such an arm."""

Pick = tuple[str, int]
"""Arm and repeat."""


@dataclass(frozen=True)
class Judging:
    """What full training of the picks is to be.

    Attributes:
        trainings: by the key of each picked configuration, those that it is to have in all,
            whatever they are wanted for; in the order in which they are begun.
        unjudged: the picks of which no pair is judged, because the bound is too small; some may
            have been trained all the same, for the sake of promotion.
        left: trainings that the bound has left after these; below 0 if it was lowered below what
            is there; None: no bound.
    """

    trainings: Mapping[str, int]
    unjudged: tuple[Pick, ...] = ()
    left: int | None = None


def reference_of(arms: Sequence[str]) -> str:
    """The arm that the others are compared with; there must be one arm at least."""
    return REFERENCE if REFERENCE in arms else arms[0]


def baselines_of(arms: Sequence[str], reference: str) -> list[str]:
    """The other arms, ``HAND`` first, then as they stand in the study file."""
    return sorted((arm for arm in arms if arm != reference), key=lambda arm: arm != HAND)


def allocate(
    picks: Mapping[Pick, str],
    arms: Sequence[str],
    seeds: int,
    there: Mapping[str, int],
    granted: Mapping[str, int],
    bound: int | None = None,
) -> Judging:
    """How many full trainings each pick is to have.

    Without a bound each has ``seeds``, or, if more, as many as it is picked more often by one arm
    of a pair than by the other: more repeats do not average out the noise of a configuration that
    they share, and where it is noisier than others, an interval that rests on few of its seeds is
    too narrow (benchmarks/RESULTS.md, "how often the verdict is wrong"). With a bound, every pick
    is trained once before any is trained again: both picks of a pair at a time, the reference and
    ``HAND`` in every repeat before the other pairs. Where the bound does not reach so far, the
    pairs that it reaches are whole, and which ones they are does not depend on how good their picks
    look. What is left then goes, training by training, to where it takes most off the variance of
    the pairs' mean differences: with R repeats and independent noise between seeds of the same size
    everywhere, one more training of a configuration that is trained n times takes off ``sigma^2 w^2
    / (n (n + 1))``, with w = (times it is the baseline's pick - times it is the reference's) / R,
    summed over the pairs. These are the marginal gains of a separable convex function, so that the
    greedy order is the best one for every bound (Fox 1966, Operations Research 14(2), "Discrete
    optimization via marginal analysis"), does not depend on what the noise is, and ends the same
    wherever it is cut off and begun again. A configuration gets at most ``seeds`` trainings for
    each time that it is picked: as many as if each of its picks had been trained alone.

    Args:
        picks: the key of what an arm picks in a repeat; without those that do not pick yet.
        arms: in the study file's order; one at least.
        there: full trainings that are stored already, by key, however they ended.
        granted: trainings that promotion pays for anyway, by key; they do not count in ``bound``.
        bound: the most full trainings of picks, stored ones included; None: no bound.
    """
    order = list(dict.fromkeys(picks[pick] for pick in _in_order(picks, arms)))
    counts = {key: max(there.get(key, 0), granted.get(key, 0)) for key in order}
    if bound is None:
        shared = {key: max(map(abs, times)) for key, times in _net_times(picks, arms).items()}
        return Judging({k: max(count, seeds, shared.get(k, 0)) for k, count in counts.items()})
    left = bound - sum(counts[key] - granted.get(key, 0) for key in order)
    judged: set[Pick] = set()
    for group in _groups(picks, arms):
        untrained = dict.fromkeys(picks[pick] for pick in group if not counts[picks[pick]])
        if untrained and len(untrained) > left:
            # Later pairs may be cheaper, or trained already: those whose picks are equal to others,
            # or look best. To judge those and not this one would be to choose.
            break
        counts |= dict.fromkeys(untrained, 1)
        left -= len(untrained)
        judged.update(group)
    unjudged = tuple(pick for pick in _in_order(picks, arms) if pick not in judged)
    if not unjudged:
        left = _spread(counts, left, _weights(picks, arms), _most(picks, seeds))
    return Judging({key: count for key, count in counts.items() if count}, unjudged, left)


def _groups(picks: Mapping[Pick, str], arms: Sequence[str]) -> list[tuple[Pick, ...]]:
    """The picks that are first trained together: pairs, then those without a partner."""
    reference = reference_of(arms)
    repeats = sorted({repeat for _, repeat in picks})
    pairs: list[tuple[Pick, ...]] = [
        ((reference, repeat), (baseline, repeat))
        for baseline in baselines_of(arms, reference)
        for repeat in repeats
        if (reference, repeat) in picks and (baseline, repeat) in picks
    ]
    paired = {pick for pair in pairs for pick in pair}
    return pairs + [(pick,) for pick in sorted(picks.keys() - paired, key=lambda p: (p[1], p[0]))]


def _in_order(picks: Mapping[Pick, str], arms: Sequence[str]) -> list[Pick]:
    return list(dict.fromkeys(pick for group in _groups(picks, arms) for pick in group))


def _net_times(picks: Mapping[Pick, str], arms: Sequence[str]) -> dict[str, list[int]]:
    """How many times more often each configuration is the baseline's pick, for each pair."""
    found: dict[str, list[int]] = defaultdict(list)
    for baseline, repeats in _paired(picks, arms).items():
        net: Counter[str] = Counter()
        net.update(picks[baseline, repeat] for repeat in repeats)
        net.subtract(picks[reference_of(arms), repeat] for repeat in repeats)
        for key, times in net.items():
            found[key].append(times)
    return dict(found)


def _paired(picks: Mapping[Pick, str], arms: Sequence[str]) -> dict[str, list[int]]:
    """By baseline, the repeats in which both it and the reference pick."""
    reference = reference_of(arms)
    return {
        baseline: [r for arm, r in picks if arm == reference and (baseline, r) in picks]
        for baseline in baselines_of(arms, reference)
    }


def _weights(picks: Mapping[Pick, str], arms: Sequence[str]) -> dict[str, float]:
    """Of each configuration, the sum of w^2 over the pairs."""
    weights: dict[str, float] = defaultdict(float)
    for baseline, repeats in _paired(picks, arms).items():
        times = _net_times(picks, (reference_of(arms), baseline))
        for key, (net,) in times.items():
            weights[key] += (net / len(repeats)) ** 2
    return dict(weights)


def _most(picks: Mapping[Pick, str], seeds: int) -> dict[str, int]:
    return {key: seeds * times for key, times in Counter(picks.values()).items()}


def _spread(
    counts: dict[str, int], left: int, weights: Mapping[str, float], most: Mapping[str, int]
) -> int:
    """Add so many trainings to ``counts``, each where it takes most off; the first of equals.

    Returns:
        Those that are left, because no pick may have more.
    """
    place = {key: index for index, key in enumerate(counts)}

    def entry(key: str) -> tuple[float, int, str]:
        gain = weights.get(key, 0.0) / (counts[key] * (counts[key] + 1))
        return -gain, place[key], key

    def able(keys: Iterable[str]) -> list[tuple[float, int, str]]:
        return [entry(key) for key in keys if weights.get(key, 0.0) > 0 and counts[key] < most[key]]

    heap = able(counts)
    heapq.heapify(heap)
    while left > 0 and heap:
        _, _, key = heapq.heappop(heap)
        counts[key] += 1
        left -= 1
        for again in able([key]):
            heapq.heappush(heap, again)
    return left


def full_trainings(spec: StudySpec, picks: Mapping[Pick, str], promising: Iterable[str]) -> int:
    """About how many full trainings a study with such picks comes to.

    Args:
        picks: the key of what each arm picks in each repeat.
        promising: keys of good configurations, best first; the [promote] ``top`` are taken to be
            the first of them.
    """
    promote, compare = spec.promote, spec.compare
    if promote is None:
        return 0
    top = dict.fromkeys([*dict.fromkeys(promising)][: promote.top], promote.seeds)
    bound = None if compare.epochs is None else compare.epochs // promote.epochs
    plan = allocate(picks, tuple(spec.arms), promote.seeds, {}, top, bound)
    return sum({**top, **plan.trainings}.values())
