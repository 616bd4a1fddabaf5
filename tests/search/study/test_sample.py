"""The stratified sample: who is in it, and for how many each stands."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.study.sample import LEVELS, Candidate, draw

candidates = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 1), st.booleans()), max_size=40
).map(
    lambda rows: [
        Candidate(f"key-{i}", arm, error, picked) for i, (arm, error, picked) in enumerate(rows)
    ]
)


def grid(arms: str = "abc", each: int = 9) -> list[Candidate]:
    """Arms with equally many candidates; the first, its best, is picked."""
    return [
        Candidate(f"{arm}{i}", arm, 0.1 + i / 100, picked=i == 0)
        for arm in arms
        for i in range(each)
    ]


@given(candidates, st.integers(4, 30), st.integers(0, 5))
def test_whatever_there_is_the_sample_holds_the_picks_and_stands_for_all(
    some: list[Candidate], size: int, seed: int
) -> None:
    drawn = draw(some, size, seed)
    keys = [one.candidate.key for one in drawn]
    assert len(set(keys)) == len(keys)
    picked = {one.key for one in some if one.picked}
    assert picked <= set(keys)
    by_chance = len(keys) - len(picked)
    free = len(some) - len(picked)
    assert by_chance == min(free, max(size - len(picked), math.ceil(size / 2)))
    assert sum(one.weight for one in drawn) == pytest.approx(len(some))
    assert all(one.weight >= 1 - 1e-9 for one in drawn)
    assert all(one.weight == 1 for one in drawn if one.candidate.picked)
    assert drawn == draw(list(reversed(some)), size, seed)  # the order given does not matter


def test_good_middle_and_bad_are_there_from_every_arm() -> None:
    drawn = draw(grid(), 12, 0)
    assert len(drawn) == 12
    assert {(one.candidate.arm, one.level) for one in drawn} == {
        (arm, level) for arm in "abc" for level in range(LEVELS)
    }
    for one in drawn:  # nine candidates of an arm: three in each level, by error
        assert one.level == int(one.candidate.key[1]) // 3


def test_with_fewer_draws_than_strata_every_level_gets_as_many() -> None:
    some = [Candidate(f"{a}{i}", a, i / 10, picked=False) for a in "abcdef" for i in range(3)]
    drawn = draw(some, 6, 0)
    levels = [one.level for one in drawn]
    assert [levels.count(level) for level in range(LEVELS)] == [2, 2, 2]
    assert [one.weight for one in drawn] == pytest.approx([3.0] * 6)


def test_weights_are_the_share_of_the_stratum_that_was_drawn() -> None:
    """Of one arm's twelve, the best is picked; of 3, 4 and 4 others one each is drawn."""
    drawn = draw(grid("a", 12), 4, 0)
    assert [one.weight for one in drawn] == pytest.approx([1, 3, 4, 4])


def test_another_seed_draws_another_sample() -> None:
    def keys(seed: int) -> set[str]:
        return {one.candidate.key for one in draw(grid(each=30), 12, seed)}

    assert len({frozenset(keys(seed)) for seed in range(5)}) > 1


def test_many_picks_leave_room_for_others() -> None:
    some = [Candidate(f"{i}", "a", i / 100, picked=i < 20) for i in range(40)]
    drawn = draw(some, 10, 0)
    assert sum(one.candidate.picked for one in drawn) == 20
    assert len(drawn) == 25


def test_nothing_gives_nothing() -> None:
    assert draw([], 20, 0) == []


def test_draws_are_shared_in_proportion_so_that_weights_are_alike() -> None:
    """An arm with thirty candidates and one with nine: three draws to one."""
    some = [Candidate(f"a{i}", "a", i / 100, picked=False) for i in range(30)]
    some += [Candidate(f"b{i}", "b", i / 100, picked=False) for i in range(9)]
    drawn = draw(some, 13, 0)
    assert sum(one.candidate.arm == "a" for one in drawn) in (9, 10)
    weights = [one.weight for one in drawn]
    assert max(weights) <= 1.5 * min(weights)
