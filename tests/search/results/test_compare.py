"""Anytime curves and comparisons: laws that hold for any results, and hard cases."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.errors import StudyError
from tuneoff.search.results.anytime import anytime, incumbent, spending_grid
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, Recommendation, Step, StudyResults, plain
from tuneoff.search.results.statistics import pairs_needed

EPOCHS = 9
patient = settings(deadline=None)  # the machine may be busy with something else
errors = st.floats(0, 1).map(lambda e: round(e, 4))


def arm_run(
    arm: str, repeat: int, steps: tuple[Step, ...], *, test: float | None = None, budget: int = 90
) -> ArmRun:
    """A run that recommends the last value of its anytime curve, as the real one does."""
    curve = incumbent(ArmRun(arm, repeat, budget, 0, 0.0, {}, steps, None))
    found = Recommendation(0, {"lr": 0.1}, curve[-1][1], test_error=test) if curve else None
    spent = steps[-1].spent if steps else 0
    return ArmRun(arm, repeat, budget, spent, 10.0 * spent, {"complete": len(steps)}, steps, found)


def full_steps(values: list[float]) -> tuple[Step, ...]:
    return tuple(Step(EPOCHS * (i + 1), i, EPOCHS, e, True) for i, e in enumerate(values))


def study(*runs: ArmRun, chance: float = 0.9) -> StudyResults:
    arms = tuple(dict.fromkeys(run.arm for run in runs))
    repeats = max((run.repeat for run in runs), default=-1) + 1
    return StudyResults("s", arms, repeats, EPOCHS, chance, runs)


def two_arms(
    ours: list[float], theirs: list[float], *, tested: bool = True, baseline: str = "hand"
) -> StudyResults:
    runs = [
        arm_run(arm, repeat, full_steps([error]), test=error if tested else None)
        for arm, values in (("bayes", ours), (baseline, theirs))
        for repeat, error in enumerate(values)
    ]
    return study(*runs)


@st.composite
def steps(draw: st.DrawFn, min_size: int = 0) -> tuple[Step, ...]:
    spent, found = 0, []
    for trial in range(draw(st.integers(min_size, 6))):
        epoch = draw(st.sampled_from([1, 3, EPOCHS]))
        spent += epoch
        found.append(Step(spent, trial, epoch, draw(errors), epoch == EPOCHS))
    return tuple(found)


@st.composite
def studies(draw: st.DrawFn) -> StudyResults:
    arms = draw(st.lists(st.sampled_from(["bayes", "hand", "random"]), unique=True))
    repeats = draw(st.integers(1, 8))
    runs = []
    for arm, repeat in itertools.product(arms, range(repeats)):
        if draw(st.integers(0, 9)):  # now and then a repeat has not begun
            test = draw(st.none() | errors)
            runs.append(arm_run(arm, repeat, draw(steps()), test=test))
    return StudyResults("s", tuple(arms), repeats, EPOCHS, 0.9, tuple(runs))


class TestIncumbent:
    def test_is_empty_before_the_first_step(self) -> None:
        assert incumbent(arm_run("a", 0, ())) == ()

    def test_prefers_the_deepest_epoch_until_a_full_run_is_there(self) -> None:
        run = arm_run(
            "a",
            0,
            (
                Step(1, 0, 1, 0.50, False),
                Step(2, 1, 1, 0.40, False),  # same depth, better
                Step(3, 2, 1, 0.60, False),  # same depth, worse
                Step(4, 0, 3, 0.45, False),  # deeper counts more than better
                Step(5, 4, 1, 0.10, False),  # shallower does not count
                Step(11, 0, 9, 0.48, True),
                Step(20, 1, 9, 0.49, True),
                Step(23, 3, 3, 0.01, False),
            ),
        )
        assert [error for _, error in incumbent(run)] == [
            0.5,
            0.4,
            0.4,
            0.45,
            0.45,
            0.48,
            0.48,
            0.48,
        ]

    @patient
    @given(steps())
    def test_never_rises_once_a_run_is_full(self, found: tuple[Step, ...]) -> None:
        curve = incumbent(arm_run("a", 0, found))
        start = next((i for i, step in enumerate(found) if step.full), len(found))
        after = [error for _, error in curve[start:]]
        assert after == sorted(after, reverse=True)
        assert [spent for spent, _ in curve] == [step.spent for step in found]


class TestAnytime:
    def test_starts_where_every_repeat_has_a_value_and_holds_the_last(self) -> None:
        short = arm_run("a", 0, (Step(3, 0, 9, 0.4, True),))
        long = arm_run("a", 1, (Step(5, 0, 9, 0.6, True), Step(9, 1, 9, 0.2, True)))
        curve = anytime(study(short, long), "a", [1, 3, 5, 7, 9, 50])
        assert curve.spent == (5, 7, 9)
        assert curve.mean == pytest.approx((0.5, 0.5, 0.3))
        assert curve.repeats == 2

    def test_one_repeat_has_no_interval(self) -> None:
        curve = anytime(study(arm_run("a", 0, full_steps([0.5]))), "a", [9])
        assert (curve.low, curve.high) == ((), ())

    def test_an_arm_without_steps_is_empty(self) -> None:
        assert anytime(study(arm_run("a", 0, ())), "a", [9]).spent == ()

    @patient
    @given(st.lists(steps(min_size=1), min_size=2, max_size=6))
    def test_interval_holds_the_mean(self, found: list[tuple[Step, ...]]) -> None:
        results = study(*(arm_run("a", i, one) for i, one in enumerate(found)))
        curve = anytime(results, "a", spending_grid(results))
        for low, mean, high in zip(curve.low, curve.mean, curve.high, strict=True):
            assert low - 1e-9 <= mean <= high + 1e-9

    def test_grid_is_thinned_and_keeps_its_ends(self) -> None:
        results = study(arm_run("a", 0, full_steps([0.5] * 100)))
        grid = spending_grid(results, 10)
        assert len(grid) == 10
        assert (grid[0], grid[-1]) == (9, 900)


class TestCompare:
    def test_a_clear_win_is_claimed(self) -> None:
        ours = [0.20, 0.21, 0.19, 0.20, 0.22, 0.20]
        theirs = [0.21, 0.22, 0.21, 0.215, 0.225, 0.208]
        comparison = compare(two_arms(ours, theirs))
        pair = comparison.pairs[0]
        assert not comparison.thin
        assert (pair.wins, pair.ties, pair.losses) == (6, 0, 0)
        assert pair.mean == pytest.approx(0.068 / 6)
        assert pair.p == pair.p_holm == pytest.approx(0.03125)
        assert comparison.verdict.startswith(
            "bayes beats hand by 1.13 points of test error (95% interval "
        )
        assert "p = 0.031, better in 6 of 6 repeats" in comparison.verdict

    def test_a_clear_loss_is_said_with_the_signs_turned(self) -> None:
        comparison = compare(two_arms([0.3, 0.31, 0.32, 0.33, 0.34, 0.35], [0.2] * 6))
        assert comparison.verdict.startswith("bayes loses to hand by 12.50 points of test error")
        assert "worse in 6 of 6 repeats" in comparison.verdict
        assert "interval -" not in comparison.verdict

    def test_five_repeats_are_thin_however_clear(self) -> None:
        comparison = compare(two_arms([0.1] * 5, [0.2, 0.21, 0.22, 0.23, 0.24]))
        assert comparison.thin
        assert "5 paired repeats cannot bring p below 0.05 against 1 baseline, 6 could" in (
            comparison.verdict
        )

    def test_two_baselines_need_a_seventh_repeat(self) -> None:
        def runs(count: int) -> StudyResults:
            return study(
                *(
                    arm_run(arm, repeat, full_steps([error]), test=error + repeat / 1000)
                    for arm, error in (("bayes", 0.1), ("random", 0.3), ("hand", 0.2))
                    for repeat in range(count)
                )
            )

        assert compare(runs(6)).thin
        comparison = compare(runs(7))
        assert not comparison.thin
        assert [pair.baseline for pair in comparison.pairs] == ["hand", "random"]
        assert "after Holm's correction" in comparison.verdict

    def test_noise_says_how_many_repeats_it_would_take(self) -> None:
        ours = [0.20, 0.22, 0.21, 0.20, 0.23, 0.20]
        theirs = [0.21, 0.21, 0.22, 0.21, 0.22, 0.21]
        comparison = compare(two_arms(ours, theirs))
        assert comparison.thin
        assert "it cannot be told from luck" in comparison.verdict
        assert "would take" in comparison.verdict

    def test_without_test_errors_it_measures_validation_and_is_thin(self) -> None:
        comparison = compare(two_arms([0.1] * 8, [0.2] * 8, tested=False))
        assert comparison.pairs[0].measure == "validation error"
        assert comparison.thin
        assert "not every recommendation has a test error yet" in comparison.verdict

    def test_one_missing_test_error_falls_back_to_validation_for_all(self) -> None:
        results = two_arms([0.1] * 8, [0.2] * 8)
        found = results.runs[0].recommendation
        assert found is not None
        bare = replace(results.runs[0], recommendation=replace(found, test_error=None))
        comparison = compare(replace(results, runs=(bare, *results.runs[1:])))
        assert comparison.pairs[0].measure == "validation error"
        assert comparison.arms[0].test_errors == (None, *[0.1] * 7)

    def test_a_repeat_without_a_recommendation_leaves_the_pair_out_and_is_thin(self) -> None:
        results = two_arms([0.1] * 8, [0.2] * 8)
        comparison = compare(
            replace(results, runs=(*results.runs[:3], arm_run("bayes", 3, ()), *results.runs[4:]))
        )
        assert comparison.pairs[0].repeats == (0, 1, 2, 4, 5, 6, 7)
        assert "only 7 of 8 repeats" in comparison.verdict

    def test_equal_arms_are_level(self) -> None:
        comparison = compare(two_arms([0.1] * 6, [0.1] * 6))
        pair = comparison.pairs[0]
        assert (pair.mean, pair.low, pair.high, pair.p) == (0, 0, 0, 1)
        assert "bayes and hand are level on test error" in comparison.verdict
        assert "too small for any sensible number of repeats" in comparison.verdict

    def test_equal_differences_tie_in_spite_of_rounding(self) -> None:
        pair = compare(two_arms([0.30, 0.20], [0.31, 0.21])).pairs[0]
        assert len(set(pair.differences)) == 1

    def test_a_recommendation_at_chance_is_noted(self) -> None:
        pair = compare(two_arms([0.1] * 6, [0.9, 0.2, 0.2, 0.2, 0.2, 0.2])).pairs[0]
        assert any("no better than guessing in 1 repeat," in note for note in pair.notes)

    def test_unequal_spending_is_noted(self) -> None:
        runs = [arm_run("bayes", r, full_steps([0.3, 0.2]), test=0.2) for r in range(6)]
        runs += [arm_run("hand", r, full_steps([0.3]), test=0.3) for r in range(6)]
        assert "did not spend the same: 18 epochs" in compare(study(*runs)).pairs[0].notes[0]

    def test_speed_times_both_to_the_baselines_final_error(self) -> None:
        runs = [arm_run("bayes", r, full_steps([0.5, 0.2, 0.1])) for r in range(2)]
        runs += [arm_run("hand", r, full_steps([0.5, 0.4, 0.4, 0.2, 0.3])) for r in range(2)]
        speed = compare(study(*runs)).pairs[0].speed
        assert speed is not None
        assert (speed.baseline_epochs, speed.reference_epochs, speed.ratio) == (36, 18, 2.0)
        other_way = compare(study(*runs), "hand").pairs[0]
        assert other_way.speed is not None
        assert other_way.speed.reference_epochs is None
        assert other_way.cost == "hand never reached bayes's final validation error"

    def test_says_when_there_is_nothing_to_compare(self) -> None:
        empty = study(arm_run("bayes", 0, ()), arm_run("hand", 0, ()))
        assert compare(empty).verdict == "Nothing has been run yet."
        lonely = study(arm_run("bayes", 0, full_steps([0.5])))
        assert "only arm" in compare(lonely).verdict
        ahead = study(arm_run("bayes", 0, ()), arm_run("hand", 0, full_steps([0.5])))
        assert "bayes has no finished trial" in compare(ahead).verdict
        behind = study(arm_run("bayes", 0, full_steps([0.5])), arm_run("hand", 0, ()))
        assert "no other arm has a finished trial" in compare(behind).verdict
        assert compare(study()).verdict == "The study has no arms."

    def test_reference_is_bayes_or_the_first_or_as_told(self) -> None:
        both = study(arm_run("hand", 0, ()), arm_run("bayes", 0, ()))
        assert compare(both).reference == "bayes"
        assert compare(both, "hand").reference == "hand"
        assert compare(study(arm_run("b", 0, ()), arm_run("a", 0, ()))).reference == "b"
        with pytest.raises(StudyError, match="no arm 'tpe'; it has: hand, bayes"):
            compare(both, "tpe")

    @pytest.mark.slow
    @patient
    @given(studies(), st.randoms(use_true_random=False))
    def test_the_order_of_runs_changes_nothing(self, results: StudyResults, random: object) -> None:
        runs = list(results.runs)
        shuffle: Callable[[list[ArmRun]], None] = random.shuffle  # type: ignore[attr-defined]
        shuffle(runs)
        shuffled = replace(results, runs=tuple(runs))
        assert compare(shuffled) == compare(results)
        grid = spending_grid(results)
        for arm in results.arms:
            assert anytime(shuffled, arm, grid) == anytime(results, arm, grid)

    @pytest.mark.slow
    @patient
    @given(studies())
    def test_swapping_the_arms_turns_the_sign(self, results: StudyResults) -> None:
        if not {"bayes", "hand"} <= set(results.arms):
            return
        ours = {pair.baseline: pair for pair in compare(results, "bayes").pairs}
        theirs = {pair.baseline: pair for pair in compare(results, "hand").pairs}
        assert ("hand" in ours) == ("bayes" in theirs)
        if "hand" in ours:
            one, other = ours["hand"], theirs["bayes"]
            assert one.differences == tuple(-d for d in other.differences)
            assert one.mean == pytest.approx(-other.mean)
            assert one.p == pytest.approx(other.p)
            assert (one.wins, one.losses) == (other.losses, other.wins)

    @patient
    @given(studies())
    def test_any_results_give_an_honest_plain_answer(self, results: StudyResults) -> None:
        comparison = compare(results)
        json.dumps(comparison.to_dict(), allow_nan=False)
        assert comparison.verdict.endswith(".")
        for pair in comparison.pairs:
            assert pair.wins + pair.ties + pair.losses == len(pair.repeats)
            if not pair.thin:
                assert len(pair.repeats) >= pairs_needed(len(comparison.pairs)) >= 6
                assert pair.p_holm < 0.05
                assert pair.measure == "test error"
                assert pair.low is not None
                assert pair.high is not None
                assert pair.low > 0 or pair.high < 0


def test_plain_makes_json_of_everything() -> None:
    value = {
        "nan": math.nan,
        "numpy": np.float64(0.5),
        "params": MappingProxyType({1: (True, None)}),
        "step": Step(1, 2, 3, math.inf, True),
        "other": 1 + 2j,
    }
    assert plain(value) == {
        "nan": None,
        "numpy": 0.5,
        "params": {"1": [True, None]},
        "step": {
            "spent": 1,
            "trial": 2,
            "epoch": 3,
            "error": None,
            "full": True,
            "diverged": False,
        },
        "other": "(1+2j)",
    }
