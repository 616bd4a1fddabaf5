"""The paired estimate: SciPy's tests where they apply, the covariance matrix where they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tuneoff.search.results.statistics.levels import Floats
from tuneoff.search.results.statistics.paired import (
    SeedNoise,
    narrowing,
    paired_estimate,
    seed_noise,
)

patient = settings(deadline=None)  # the machine may be busy with something else
KEYS = "abcd"
picks_of = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)), min_size=2, max_size=6)
trainings_of = st.fixed_dictionaries({key: st.integers(1, 4) for key in KEYS})


def covariance(
    picks: list[tuple[str, str]], trainings: dict[str, int], tau: float, sigma: float
) -> Floats:
    """Of the differences d_r, from the model: tau^2 I + sigma^2 X diag(1/n) X'."""
    x = np.array([[(theirs == k) - (ours == k) for k in KEYS] for ours, theirs in picks])
    noise = np.diag([sigma**2 / trainings[k] for k in KEYS])
    return np.asarray(tau**2 * np.eye(len(picks)) + x @ noise @ x.T)


class TestSeedNoise:
    def test_is_the_pooled_standard_deviation(self) -> None:
        noise = seed_noise([[1.0, 3.0], [5.0, 5.0, 8.0], [7.0]])
        assert noise.sd == pytest.approx(math.sqrt((2 + 6) / 3))
        assert noise.degrees == 3

    def test_agrees_with_analysis_of_variance(self) -> None:
        groups = np.random.default_rng(0).normal(size=(4, 5))
        f = scipy.stats.f_oneway(*groups).statistic
        sd = seed_noise(groups.tolist()).sd
        assert sd is not None
        between = 5 * np.var(groups.mean(axis=1), ddof=1)
        assert between / sd**2 == pytest.approx(f)

    def test_single_trainings_say_nothing(self) -> None:
        assert seed_noise([[1.0], [2.0]]) == SeedNoise(None, 0)


class TestEstimate:
    def test_picks_of_one_repeat_each_give_the_paired_t_interval(self) -> None:
        rng = np.random.default_rng(1)
        ours, theirs = rng.normal(size=(7, 3)), rng.normal(0.5, size=(7, 3))
        errors = {f"a{r}": v.tolist() for r, v in enumerate(ours)}
        errors |= {f"b{r}": v.tolist() for r, v in enumerate(theirs)}
        estimate = paired_estimate([(f"a{r}", f"b{r}") for r in range(7)], errors)
        expected = scipy.stats.ttest_rel(theirs.mean(axis=1), ours.mean(axis=1))
        low, high = expected.confidence_interval(0.9)
        assert estimate.interval(0.9) == pytest.approx((low, high))
        assert estimate.p_value() == pytest.approx(expected.pvalue)
        assert estimate.degrees == pytest.approx(6)

    def test_the_same_two_picks_in_all_repeats_give_the_t_interval_of_two_samples(self) -> None:
        ours = np.random.default_rng(2).normal(size=5).tolist()
        theirs = [2.0 - x for x in ours]  # as noisy
        estimate = paired_estimate([("a", "b")] * 8, {"a": ours, "b": theirs})
        expected = scipy.stats.ttest_ind(theirs, ours)
        low, high = expected.confidence_interval()
        assert estimate.interval() == pytest.approx((low, high))
        assert estimate.degrees == pytest.approx(8)

    @pytest.mark.slow
    @patient
    @given(picks_of, trainings_of, st.floats(0, 3), st.floats(0.1, 3))
    def test_variance_is_unbiased_or_too_large(
        self, picks: list[tuple[str, str]], trainings: dict[str, int], tau: float, sigma: float
    ) -> None:
        """The estimate is S^2 / R + K sigma^2: K is read off one, the means come from the model."""
        matrix = covariance(picks, trainings, tau, sigma)
        count = len(picks)
        square = (np.trace(matrix) - matrix.sum() / count) / (count - 1)  # the mean of S^2
        rng = np.random.default_rng(0)
        errors = {k: rng.normal(0, 1e-3, size=n).tolist() for k, n in trainings.items()}
        some = paired_estimate(picks, errors, SeedNoise(sigma, 10))
        assume(some.standard_error is not None)  # else both arms always have the same pick
        assert some.standard_error is not None
        assert some.spread is not None
        if some.spread == 0:
            return
        missed = (some.standard_error**2 - some.spread**2 / count) / sigma**2
        expected = square / count + missed * sigma**2
        assert expected >= matrix.sum() / count**2 - 1e-9
        shared = np.sum(covariance(picks, trainings, 0, 1) * (1 - np.eye(count)))
        if shared >= 0:
            assert expected == pytest.approx(matrix.sum() / count**2)

    def test_a_shared_baseline_adds_its_own_noise(self) -> None:
        errors = {f"a{r}": [float(r), r + 1.0] for r in range(4)} | {"h": [3.6, 4.4]}
        estimate = paired_estimate([(f"a{r}", "h") for r in range(4)], errors)
        spread = np.var([r + 0.5 for r in range(4)], ddof=1)
        noise = (4 * 0.5 + 0.32) / 5
        assert estimate.standard_error == pytest.approx(math.sqrt(spread / 4 + noise / 2))
        own, shared = spread / 4, noise / 2
        assert estimate.shared_error == pytest.approx(math.sqrt(shared))
        assert estimate.degrees == pytest.approx((own + shared) ** 2 / (own**2 / 3 + shared**2 / 5))
        assert estimate.repeats_sd == pytest.approx(math.sqrt(spread - noise / 2))
        assert not estimate.bounded

    def test_a_shared_configuration_that_is_noisier_than_the_others_has_its_own_noise(self) -> None:
        errors = {f"a{r}": [float(r), r + 1.0] for r in range(4)} | {"h": [3.0, 5.0]}
        estimate = paired_estimate([(f"a{r}", "h") for r in range(4)], errors)
        assert estimate.shared_error == pytest.approx(math.sqrt(2 / 2))
        assert estimate.seeds.sd == pytest.approx(math.sqrt((4 * 0.5 + 2) / 5))

    def test_differences_may_be_as_small_as_numbers_get(self) -> None:
        picks = [("a", "b"), ("a", "c"), ("d", "b")]
        tiny = 1e-100
        errors = {"a": [0.0, tiny], "b": [2 * tiny], "c": [5 * tiny], "d": [tiny]}
        small = paired_estimate(picks, errors)
        large = paired_estimate(picks, {k: [e / tiny for e in v] for k, v in errors.items()})
        assert small.degrees == pytest.approx(large.degrees)

    def test_positive_means_that_the_arm_is_better(self) -> None:
        assert paired_estimate([("arm", "base")], {"arm": [0.1], "base": [0.3]}).mean > 0

    def test_one_repeat_has_no_interval(self) -> None:
        estimate = paired_estimate([("a", "b")], {"a": [1.0, 2.0], "b": [4.0]})
        assert estimate.mean == 2.5
        assert estimate.interval() is None
        assert estimate.p_value() is None
        assert estimate.standard_error is None

    def test_without_second_seeds_a_shared_pick_gets_the_widest_interval_that_is_possible(
        self,
    ) -> None:
        errors = {f"a{r}": [float(r)] for r in range(4)} | {"h": [3.0]}
        estimate = paired_estimate([(f"a{r}", "h") for r in range(4)], errors)
        spread = np.var(range(4), ddof=1)
        # All spread may be noise of seeds, and the baseline's single training has it, too.
        assert estimate.standard_error == pytest.approx(math.sqrt(spread * (1 + 1 / 4)))
        assert estimate.bounded

    def test_without_second_seeds_two_shared_picks_have_no_interval(self) -> None:
        estimate = paired_estimate([("a", "b")] * 6, {"a": [1.0], "b": [4.0]})
        assert estimate.interval() is None

    @pytest.mark.parametrize("repeats", [2, 8, 20])
    def test_arms_with_the_same_pick_in_all_repeats_have_no_interval(self, repeats: int) -> None:
        picks = [(f"c{r}", f"c{r}") for r in range(repeats)]
        estimate = paired_estimate(picks, {f"c{r}": [0.2, 0.4] for r in range(repeats)})
        assert estimate.mean == 0
        assert estimate.standard_error is None
        assert estimate.interval() is None
        assert estimate.p_value() is None
        assert estimate.equivalence_p(0.1) is None

    @pytest.mark.parametrize("seeds", [[0.3, 0.3], [0.1 + 0.2, 0.3]], ids=["equal", "rounding"])
    def test_equal_errors_of_all_seeds_make_no_difference_certain(self, seeds: list[float]) -> None:
        def estimate(repeats: int) -> tuple[float, float] | None:
            errors = {f"a{r}": seeds for r in range(repeats)}
            errors |= {f"b{r}": [0.5, 0.5] for r in range(repeats)}
            found = paired_estimate([(f"a{r}", f"b{r}") for r in range(repeats)], errors)
            assert found.seeds.sd == 0
            return found.interval()

        assert estimate(2) is None
        assert estimate(5) is None
        assert estimate(6) == pytest.approx((0.2, 0.2))

    def test_a_shared_pick_within_a_repeat_has_no_seed_noise(self) -> None:
        errors = {"a": [0.0], "b": [3.0], "c": [1.0]}
        estimate = paired_estimate([("a", "a"), ("b", "c")], errors, SeedNoise(9.0, 5))
        assert estimate.differences == (0, -2)
        assert estimate.standard_error == pytest.approx(1)

    def test_equal_differences_are_as_sure_as_the_seeds(self) -> None:
        picks = [(f"a{r}", f"b{r}") for r in range(3)]
        errors = {f"a{r}": [0.1, 0.3] for r in range(3)} | {f"b{r}": [0.4, 0.6] for r in range(3)}
        estimate = paired_estimate(picks, errors)
        assert estimate.degrees == 6
        assert estimate.standard_error == pytest.approx(math.sqrt(0.02 / 3))

    def test_equal_differences_without_second_seeds_count_from_the_sixth_repeat(self) -> None:
        def estimate(repeats: int) -> tuple[float, float] | None:
            errors = {f"a{r}": [0.1 * r] for r in range(repeats)}
            errors |= {f"b{r}": [0.1 * r + 0.2] for r in range(repeats)}
            return paired_estimate([(f"a{r}", f"b{r}") for r in range(repeats)], errors).interval()

        assert estimate(5) is None
        assert estimate(6) == pytest.approx((0.2, 0.2))

    def test_refuses_what_it_cannot_use(self) -> None:
        with pytest.raises(ValueError, match="no paired repeat"):
            paired_estimate([], {"a": [1.0]})
        with pytest.raises(ValueError, match="'b'"):
            paired_estimate([("a", "b")], {"a": [1.0], "b": []})

    @pytest.mark.slow
    @patient
    @given(picks_of, st.data())
    def test_swapping_the_arms_mirrors_the_interval(
        self, picks: list[tuple[str, str]], data: st.DataObject
    ) -> None:
        values = st.lists(st.floats(0, 1), min_size=1, max_size=3)
        errors = data.draw(st.fixed_dictionaries(dict.fromkeys(KEYS, values)))
        there = paired_estimate(picks, errors)
        back = paired_estimate([(theirs, ours) for ours, theirs in picks], errors)
        assert back.mean == pytest.approx(-there.mean, abs=1e-12)
        if there.standard_error is None:
            assert back.standard_error is None
        else:
            assert back.standard_error == pytest.approx(there.standard_error, abs=1e-9)


class TestNarrowing:
    @patient
    @given(picks_of, trainings_of)
    def test_is_the_change_of_the_model_variance(
        self, picks: list[tuple[str, str]], trainings: dict[str, int]
    ) -> None:
        rng = np.random.default_rng(3)
        errors = {k: rng.normal(size=n).tolist() for k, n in trainings.items()}
        gains = narrowing(picks, errors, SeedNoise(2.0, 9))
        estimate = paired_estimate(picks, errors, SeedNoise(2.0, 9))
        assert gains is not None
        tau = estimate.repeats_sd or 0.0

        def variance(numbers: dict[str, int]) -> float:
            return float(covariance(picks, numbers, tau, 2.0).sum() / len(picks) ** 2)

        assert gains.variance == pytest.approx(variance(trainings))
        for key, gain in gains.by_seed.items():
            assert isinstance(key, str)
            more = trainings | {key: trainings[key] + 1}
            assert gain == pytest.approx(variance(trainings) - variance(more), abs=1e-12)

    def test_of_one_more_repeat(self) -> None:
        picks = [("a", "h"), ("b", "h")]
        errors = {"a": [1.0], "b": [4.0], "h": [2.0]}
        gains = narrowing(picks, errors, SeedNoise(1.0, 5), new_seeds=2)
        estimate = paired_estimate(picks, errors, SeedNoise(1.0, 5))
        assert gains is not None
        assert estimate.repeats_sd is not None
        before = estimate.repeats_sd**2 / 2 + (1 + 1 + 4) / 4
        after = estimate.repeats_sd**2 / 3 + (1 + 1 + 4 + 2 / 2) / 9
        assert gains.repeat == pytest.approx(before - after)

    def test_the_pick_of_most_repeats_comes_first(self) -> None:
        errors = {f"a{r}": [float(r)] for r in range(4)} | {"h": [3.0]}
        gains = narrowing([(f"a{r}", "h") for r in range(4)], errors)
        assert gains is not None
        assert max(gains.by_seed, key=lambda key: gains.by_seed[key]) == "h"

    def test_nothing_is_known_of_single_trainings(self) -> None:
        assert narrowing([("a", "b")], {"a": [1.0], "b": [2.0]}) is None
        assert narrowing([("a", "b")] * 3, {"a": [1.0], "b": [2.0]}) is None
