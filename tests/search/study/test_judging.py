"""Which picks are trained in full how often: bounds kept, pairs whole, seeds where they help."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.statistics.paired import SeedNoise, narrowing
from tuneoff.search.study.judging import (
    Judging,
    Pick,
    allocate,
    baselines_of,
    reference_of,
)

ARMS = ("random", "bayes", "hand")
KEYS = "abcdef"

some_picks = st.dictionaries(
    st.tuples(st.sampled_from(ARMS), st.integers(0, 3)), st.sampled_from(KEYS), max_size=12
)
some_counts = st.dictionaries(st.sampled_from(KEYS), st.integers(0, 4))
some_seeds = st.integers(1, 4)
some_bounds = st.integers(0, 40)


def charged(
    trainings: Mapping[str, int], granted: Mapping[str, int], picks: Mapping[Pick, str]
) -> int:
    """What the trainings of picks cost the bound."""
    return sum(max(0, trainings.get(k, 0) - granted.get(k, 0)) for k in set(picks.values()))


def begun(plan: Judging, there: Mapping[str, int]) -> list[str]:
    """The trainings to add in the order in which they are added: all first ones, then second..."""
    rounds = [
        (nth, place, key)
        for place, (key, number) in enumerate(plan.trainings.items())
        for nth in range(there.get(key, 0), number)
    ]
    return [key for _, _, key in sorted(rounds)]


def variance(counts: Mapping[str, int], picks: Mapping[Pick, str], arms: tuple[str, ...]) -> float:
    """Of the pairs' mean differences, summed, for noise of variance 1 between seeds."""
    total = 0.0
    reference = reference_of(arms)
    for baseline in baselines_of(arms, reference):
        repeats = [r for a, r in picks if a == reference and (baseline, r) in picks]
        for key in set(picks.values()):
            net = sum(
                (picks[baseline, r] == key) - (picks[reference, r] == key) for r in repeats
            ) / len(repeats or "x")
            total += net**2 / counts[key] if net else 0.0
    return total


def test_the_reference_and_the_order_of_the_baselines() -> None:
    assert reference_of(("random", "bayes", "hand")) == "bayes"
    assert reference_of(("tpe", "hand")) == "tpe"
    assert baselines_of(("random", "bayes", "tpe", "hand"), "bayes") == ["hand", "random", "tpe"]


@pytest.mark.slow
@given(some_picks, some_counts, some_counts, some_seeds)
def test_without_a_bound_every_pick_has_the_seeds_or_as_many_as_repeats_share_it(
    picks: dict[Pick, str], there: dict[str, int], granted: dict[str, int], seeds: int
) -> None:
    plan = allocate(picks, ARMS, seeds, there, granted)
    assert plan.trainings.keys() == set(picks.values())
    assert plan.unjudged == ()
    for key, number in plan.trainings.items():
        net = [
            sum((picks[b, r] == key) - (picks["bayes", r] == key) for r in both(picks, b))
            for b in ("hand", "random")
        ]
        assert number == max(seeds, there.get(key, 0), granted.get(key, 0), *map(abs, net))


def both(picks: Mapping[Pick, str], baseline: str) -> list[int]:
    """Repeats in which the reference picks, and the baseline."""
    return [r for r in range(4) if ("bayes", r) in picks and (baseline, r) in picks]


def test_a_pick_that_one_arm_repeats_has_as_many_seeds_as_repeats() -> None:
    """What both arms pick in one repeat cancels in their difference."""
    picks = {("hand", r): "h" for r in range(6)} | {("bayes", r): f"b{r}" for r in range(6)}
    plan = allocate(picks, ARMS, 3, {}, {})
    assert plan.trainings == {"h": 6} | {f"b{r}": 3 for r in range(6)}
    cancelled = picks | {("bayes", 0): "h", ("bayes", 1): "h"}
    assert allocate(cancelled, ARMS, 3, {}, {}).trainings["h"] == 4
    assert allocate(picks, ARMS, 8, {}, {}).trainings["h"] == 8


@pytest.mark.slow
@given(some_picks, some_counts, some_counts, some_seeds, some_bounds)
def test_a_bound_is_never_exceeded_and_nothing_is_taken_away(
    picks: dict[Pick, str],
    there: dict[str, int],
    granted: dict[str, int],
    seeds: int,
    bound: int,
) -> None:
    plan = allocate(picks, ARMS, seeds, there, granted, bound)
    before = charged(there, granted, picks)
    assert charged(plan.trainings, granted, picks) <= max(bound, before)
    assert plan.left == bound - charged(plan.trainings, granted, picks)
    most = Counter(picks.values())
    for key in set(picks.values()):
        had = max(there.get(key, 0), granted.get(key, 0))
        assert had <= plan.trainings.get(key, 0) <= max(had, seeds * most[key])


@pytest.mark.slow
@given(some_picks, some_counts, some_counts, some_seeds, some_bounds, st.randoms())
def test_any_worker_that_comes_at_any_time_finds_the_same_plan(
    picks: dict[Pick, str],
    there: dict[str, int],
    granted: dict[str, int],
    seeds: int,
    bound: int,
    chance: random.Random,
) -> None:
    """Also one that reads the picks in another order, or after another was cut off."""
    plan = allocate(picks, ARMS, seeds, there, granted, bound)
    shuffled = list(picks.items())
    chance.shuffle(shuffled)
    added = begun(plan, {k: max(there.get(k, 0), granted.get(k, 0)) for k in KEYS})
    done = Counter(added[: chance.randint(0, len(added))])
    now = {k: max(there.get(k, 0), granted.get(k, 0) if done[k] else 0) + done[k] for k in KEYS}
    assert allocate(dict(shuffled), ARMS, seeds, now, granted, bound) == plan
    whole = allocate(picks, ARMS, seeds, plan.trainings, granted, bound)
    assert whole == plan


@pytest.mark.slow
@given(some_picks, some_seeds, some_bounds)
def test_every_pick_is_trained_once_before_any_is_trained_again(
    picks: dict[Pick, str], seeds: int, bound: int
) -> None:
    plan = allocate(picks, ARMS, seeds, {}, {}, bound)
    assert plan.trainings.keys() == {k for p, k in picks.items() if p not in plan.unjudged}
    if plan.unjudged:
        assert set(plan.trainings.values()) <= {1}


def distinct(arms: tuple[str, ...], repeats: int) -> dict[Pick, str]:
    return {(arm, repeat): f"{arm}{repeat}" for arm in arms for repeat in range(repeats)}


@pytest.mark.parametrize("bound", range(13))
def test_a_bound_too_small_judges_whole_pairs_the_hand_tuned_first(bound: int) -> None:
    plan = allocate(distinct(ARMS, 3), ARMS, 5, {}, {}, bound)
    # Six trainings for bayes and hand in three repeats, then one more for each of random's.
    pairs, others = min(bound // 2, 3), max(0, min(bound - 6, 3))
    judged = {(arm, r) for arm in ("bayes", "hand") for r in range(pairs)}
    judged |= {("random", r) for r in range(others)}
    assert set(plan.unjudged) == set(distinct(ARMS, 3)) - judged
    assert sum(plan.trainings.values()) == (bound if bound > 5 else bound // 2 * 2)


def test_a_pair_that_would_be_cheaper_does_not_jump_the_queue() -> None:
    """Else the repeats that are judged would be those in which the arms agree."""
    picks = {("bayes", 0): "a", ("hand", 0): "b", ("bayes", 1): "c", ("hand", 1): "c"}
    plan = allocate(picks, ARMS, 3, {}, {}, bound=1)
    assert plan.trainings == {}
    assert plan.unjudged == (("bayes", 0), ("hand", 0), ("bayes", 1), ("hand", 1))


def test_picks_that_are_trained_for_another_reason_do_not_jump_the_queue_either() -> None:
    """The best by their search runs are trained anyway: to judge these alone would be to choose."""
    picks = {("bayes", 0): "a", ("hand", 0): "b", ("bayes", 1): "c", ("hand", 1): "d"}
    plan = allocate(picks, ARMS, 3, {}, {"c": 3, "d": 3}, bound=1)
    assert plan.trainings == {"c": 3, "d": 3}
    assert len(plan.unjudged) == 4
    assert allocate(picks, ARMS, 3, dict.fromkeys("abcd", 1), {}, bound=0).unjudged == ()


def test_what_promotion_pays_for_costs_nothing() -> None:
    picks = {("bayes", 0): "a", ("hand", 0): "b"}
    assert allocate(picks, ARMS, 3, {}, {"a": 3}, bound=1).trainings == {"a": 3, "b": 1}
    assert allocate(picks, ARMS, 3, {"a": 3}, {"a": 3}, bound=1).trainings == {"a": 3, "b": 1}


def test_a_pick_of_many_repeats_gets_most_of_the_seeds() -> None:
    """One configuration that hand tuning picks in every repeat is half of the mean difference."""
    picks = {("bayes", r): f"b{r}" for r in range(8)} | {("hand", r): "h" for r in range(8)}
    plan = allocate(picks, ARMS, 3, {}, {}, bound=16)
    assert plan.trainings == {"h": 8, **{f"b{r}": 1 for r in range(8)}}
    most = allocate(picks, ARMS, 3, {}, {}, bound=10**6)
    assert most.trainings == {"h": 24, **{f"b{r}": 3 for r in range(8)}}


def test_what_both_arms_pick_together_needs_no_second_seed() -> None:
    picks = {(arm, 0): "same" for arm in ("bayes", "hand")} | {
        (arm, 1): arm for arm in ("bayes", "hand")
    }
    plan = allocate(picks, ARMS, 9, {}, {}, bound=7)
    assert plan.trainings == {"same": 1, "bayes": 3, "hand": 3}


def test_an_arm_alone_is_trained_but_not_again() -> None:
    plan = allocate({("bayes", 0): "a", ("bayes", 1): "b"}, ("bayes",), 3, {}, {}, bound=9)
    assert plan.trainings == {"a": 1, "b": 1}
    assert allocate({}, ARMS, 3, {}, {}, bound=9) == Judging({}, (), 9)


def ways(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Every way to write ``total`` as so many numbers of at least 1."""
    for cuts in itertools.combinations(range(1, total), parts - 1):
        yield tuple(b - a for a, b in itertools.pairwise((0, *cuts, total)))


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(ARMS), st.integers(0, 2)),
        st.sampled_from("abcd"),
        min_size=1,
    ),
    st.integers(4, 9),
)
def test_no_other_allocation_of_as_many_trainings_narrows_the_verdict_more(
    picks: dict[Pick, str], bound: int
) -> None:
    keys = sorted(set(picks.values()))
    plan = allocate(picks, ARMS, 100, {}, {}, bound)
    found = variance(plan.trainings, picks, ARMS)
    best = min(
        variance(dict(zip(keys, numbers, strict=True)), picks, ARMS)
        for numbers in ways(bound, len(keys))
    )
    assert found <= best + 1e-12


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(ARMS), st.integers(0, 3)),
        st.sampled_from(KEYS),
        min_size=2,
    ),
    st.integers(0, 2**32),
)
def test_the_statistics_agree_where_one_more_training_narrows_most(
    picks: dict[Pick, str], seed: int
) -> None:
    """As ``statistics.paired.narrowing`` has it, which knows errors, and not numbers alone."""
    rng = np.random.default_rng(seed)
    keys = set(picks.values())
    errors = {key: rng.random(rng.integers(2, 5)).tolist() for key in keys}
    there = {key: len(found) for key, found in errors.items()}
    plan = allocate(picks, ARMS, 100, there, {}, sum(there.values()) + 1)
    gains = dict.fromkeys(keys, 0.0)
    for baseline in baselines_of(ARMS, reference_of(ARMS)):
        repeats = [r for a, r in picks if a == "bayes" and (baseline, r) in picks]
        if repeats:
            found = narrowing(
                [(picks["bayes", r], picks[baseline, r]) for r in repeats],
                errors,
                SeedNoise(0.04, 9),
            )
            assert found is not None
            for key in keys & found.by_seed.keys():
                gains[key] += found.by_seed[key]
    added = [key for key, number in plan.trainings.items() if number > there[key]]
    if not any(gains.values()):
        assert added == []
    else:
        (best,) = added
        assert gains[best] == pytest.approx(max(gains.values()))
