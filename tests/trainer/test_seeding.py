"""Named streams are equal for equal names, different otherwise, and the same for ever."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.trainer import seeding
from tuneoff.trainer.contract import RunSeed

seeds = st.builds(RunSeed, st.integers(0, 2**40), st.integers(0, 10**6), st.integers(0, 100))


def test_words_stay_the_same_across_versions() -> None:
    assert seeding.words(2, "a", 1).tolist() == [4867368785623261978, 5633227388416697582]
    assert seeding.order(RunSeed(1, 2, 3), 1, 6).tolist() == [3, 5, 4, 0, 2, 1]
    assert seeding.torch_seed(RunSeed(), "init") == 3620453926642485863


@settings(deadline=None)
@given(seeds, st.integers(1, 50), st.integers(0, 60))
def test_order_is_a_permutation_and_repeats(seed: RunSeed, epoch: int, count: int) -> None:
    order = seeding.order(seed, epoch, count)
    assert sorted(order.tolist()) == list(range(count))
    assert np.array_equal(order, seeding.order(seed, epoch, count))


@settings(deadline=None)
@given(seeds, seeds)
def test_runs_differ(a: RunSeed, b: RunSeed) -> None:
    equal = seeding.torch_seed(a, "init") == seeding.torch_seed(b, "init")
    assert equal == (a == b)


def test_names_that_run_together_differ() -> None:
    assert seeding.words(1, "a", 12) != seeding.words(1, "a1", 2)
    assert seeding.words(1, "1") != seeding.words(1, 1)
    assert seeding.words(1, "a", "b") != seeding.words(1, 'a", "b')


def test_streams_epochs_and_replicas_are_independent() -> None:
    orders = [
        seeding.order(RunSeed(0, 0, replica), epoch, 200) for replica in (0, 1) for epoch in (1, 2)
    ]
    for i, a in enumerate(orders):
        for b in orders[:i]:
            assert np.mean(a == b) < 0.1


def test_half_of_the_images_are_flipped() -> None:
    flips = seeding.flips(RunSeed(), 1, 10_000)
    assert abs(flips.mean() - 0.5) < 0.02
    assert not np.array_equal(flips, seeding.flips(RunSeed(), 2, 10_000))
