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
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.metric import ERROR
from tuneoff.search.errors import StudyError
from tuneoff.search.report.tables import expected_table
from tuneoff.search.results.anytime import anytime, incumbent, incumbent_trials, spending_grid
from tuneoff.search.results.compare import compare
from tuneoff.search.results.comparison import PairwiseComparison
from tuneoff.search.results.decision.rule import Rule
from tuneoff.search.results.plain import plain
from tuneoff.search.results.records import (
    FULL_VALIDATION,
    VALIDATION,
    ArmFacts,
    ArmRun,
    Recommendation,
    Step,
    StudyResults,
)

EPOCHS = 9
patient = settings(deadline=None)  # the machine may be busy with something else
errors = st.floats(0, 1).map(lambda e: round(e, 4))


def arm_run(
    arm: str, repeat: int, steps: tuple[Step, ...], *, test: float | None = None, budget: int = 90
) -> ArmRun:
    """A run that recommends the last value of its anytime curve, as the real one does."""
    curve = incumbent(ArmRun(arm, repeat, budget, 0, 0.0, {}, steps, None))
    tests = () if test is None else (test,)
    own = {"lr": f"{arm} {repeat}"}  # a configuration that no other run recommends
    found = Recommendation(0, own, curve[-1][1], test_errors=tests) if curve else None
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


def trained_as(run: ArmRun, tests: tuple[float, ...], **params: str) -> ArmRun:
    """The same run, with these test errors of its pick, and perhaps another pick."""
    assert run.recommendation is not None
    pick = replace(run.recommendation, test_errors=tests)
    return replace(run, recommendation=replace(pick, params=params) if params else pick)


def alike(same: int, *, of: int) -> StudyResults:
    """Two arms that recommend the same in the first so many repeats."""
    rng = np.random.default_rng(0)
    runs = []
    for repeat in range(of):
        for arm in ("bayes", "hand"):
            name = f"{repeat}" if repeat < same else f"{arm} {repeat}"
            tests = (0.2, 0.21) if repeat < same else tuple(rng.normal(0.2, 0.01, 2).tolist())
            runs.append(trained_as(arm_run(arm, repeat, full_steps([0.2])), tests, lr=name))
    return study(*runs)


def unfinished(run: ArmRun) -> ArmRun:
    """The same run before its pick is trained in full."""
    assert run.recommendation is not None
    pick = replace(run.recommendation, test_errors=(), finished=False)
    return replace(run, recommendation=pick)


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
    def test_a_clear_win_is_said(self) -> None:
        ours = [0.20, 0.21, 0.19, 0.20, 0.22, 0.20]
        theirs = [0.21, 0.22, 0.21, 0.215, 0.225, 0.208]
        comparison = compare(two_arms(ours, theirs))
        pair = comparison.pairs[0]
        assert comparison.decided
        assert pair.quality == "better"
        assert (pair.wins, pair.ties, pair.losses) == (6, 0, 0)
        assert pair.mean == pytest.approx(0.068 / 6)
        assert pair.checks.wilcoxon == pair.checks.wilcoxon_holm == pytest.approx(0.03125)
        assert pair.checks.sign_flip == pytest.approx(0.03125)
        expected = scipy.stats.ttest_1samp(pair.differences, 0).confidence_interval(0.95)
        assert (pair.low, pair.high) == pytest.approx(tuple(expected), rel=1e-6)
        assert comparison.verdict.startswith(
            "bayes finds better settings than hand: the test error is 1.13 points lower (+0."
        )

    def test_a_clear_loss_has_the_opposite_sign_everywhere(self) -> None:
        comparison = compare(two_arms([0.3, 0.31, 0.32, 0.33, 0.34, 0.35], [0.2] * 6))
        pair = comparison.pairs[0]
        assert pair.quality == "worse"
        assert pair.high is not None
        assert pair.high < 0
        assert "the test error is 12.50 points higher (-" in comparison.verdict

    def test_several_baselines_share_the_error(self) -> None:
        def runs(*arms: tuple[str, float]) -> StudyResults:
            noise = np.random.default_rng(0).normal(0, 0.01, (len(arms), 6))
            return study(
                *(
                    arm_run(arm, r, full_steps([error]), test=error + noise[i, r])
                    for i, (arm, error) in enumerate(arms)
                    for r in range(6)
                )
            )

        one = compare(runs(("bayes", 0.1), ("hand", 0.2))).pairs
        two = compare(runs(("bayes", 0.1), ("hand", 0.2), ("random", 0.3))).pairs
        assert [pair.baseline for pair in two] == ["hand", "random"]
        assert [pair.confidence for pair in (*one, *two)] == pytest.approx([0.95, 0.975, 0.975])
        assert width(two[0]) > width(one[0])

    @pytest.mark.parametrize(
        ("margin", "quality", "source"),
        [(0.02, "equivalent", "declared"), (0.0001, "undecided", "declared")],
    )
    def test_a_declared_margin(self, margin: float, quality: str, source: str) -> None:
        results = two_arms([0.20, 0.21, 0.19, 0.2, 0.2, 0.21], [0.205, 0.205, 0.2, 0.2, 0.19, 0.2])
        pair = compare(replace(results, rule=Rule(6, 6, margin))).pairs[0]
        assert (pair.quality, pair.margin, pair.margin_from) == (quality, margin, source)

    def test_without_a_declared_margin_it_is_the_noise_between_seeds(self) -> None:
        seeds = (0.1, 0.3)
        runs = [arm_run(arm, r, full_steps([0.2])) for arm in ("bayes", "hand") for r in range(6)]
        trained = [
            replace(run, recommendation=replace(run.recommendation, test_errors=seeds))
            for run in runs
            if run.recommendation is not None
        ]
        pair = compare(study(*trained)).pairs[0]
        assert pair.margin == pytest.approx(math.sqrt(0.02))
        assert pair.margin_from == "noise between seeds"
        assert pair.trainings == (2, 2)
        single = compare(two_arms([0.2] * 6, [0.2, 0.21] * 3)).pairs[0]
        assert (single.margin, single.margin_from) == (None, "none")
        assert any("smallest_effect" in text for text in single.advice)

    def test_seeds_with_equal_errors_are_no_margin_and_make_nothing_certain(self) -> None:
        runs = [
            trained_as(arm_run(arm, r, full_steps([0.2])), seeds)
            for arm, seeds in (("bayes", (0.2, 0.2, 0.2)), ("hand", (0.3, 0.1 + 0.2, 0.3)))
            for r in range(2)
        ]
        pair = compare(study(*runs)).pairs[0]
        assert (pair.quality, pair.low, pair.margin) == ("undecided", None, None)
        assert pair.margin_from == "none"
        assert any("other seeds gave equal errors" in text for text in pair.advice)

    def test_errors_of_search_runs_are_no_noise_of_seeds(self) -> None:
        runs = [arm_run(arm, r, full_steps([0.2 + 0.01 * r])) for arm in "ab" for r in range(6)]
        same = [
            replace(run, recommendation=replace(run.recommendation, params={"lr": run.arm}))
            for run in runs
            if run.recommendation is not None
        ]
        pair = compare(study(*same)).pairs[0]
        assert pair.measure == VALIDATION
        assert (pair.seeds_sd, pair.margin, pair.margin_from) == (None, None, "none")

    def test_arms_that_always_recommend_the_same_are_undecided(self) -> None:
        pair = compare(replace(alike(8, of=8), rule=Rule(8, 8, 0.01))).pairs[0]
        assert (pair.quality, pair.low, pair.same) == ("undecided", None, 8)
        assert "recommend the same settings in all 8 repeats" in pair.sentence
        assert any("differ in up to 31% of all repeats" in note for note in pair.notes)
        assert any("different settings" in text for text in pair.advice)

    def test_repeats_in_which_both_recommend_the_same_are_counted(self) -> None:
        pair = compare(alike(5, of=8)).pairs[0]
        assert pair.same == 5
        assert any("the same settings in 5 of 8 repeats" in note for note in pair.notes)
        apart = compare(alike(0, of=8)).pairs[0]
        assert not any("the same settings" in note for note in apart.notes)

    def test_an_early_look_has_a_wider_interval(self) -> None:
        results = two_arms([0.1, 0.11, 0.12, 0.1], [0.2, 0.22, 0.21, 0.23])
        whole = compare(results).pairs[0]
        early = compare(replace(results, repeats=8)).pairs[0]
        assert (whole.looks, early.looks) == (1, 7)
        assert early.early
        assert width(early) > width(whole)
        assert any("early look: 4 of 8 repeats" in note for note in early.notes)

    def test_repeats_that_are_not_finished_are_left_out_and_counted(self) -> None:
        results = two_arms([0.1, 0.11, 0.12, 0.1], [0.2, 0.22, 0.21, 0.23])
        finished = compare(replace(results, repeats=6)).pairs[0]
        runs = two_arms([0.1, 0.11, 0.12, 0.1, 0.7, 0.7], [0.2, 0.22, 0.21, 0.23, 0.1, 0.1]).runs
        begun = tuple(unfinished(run) if run.repeat > 3 else run for run in runs)
        pair = compare(replace(results, repeats=6, runs=begun)).pairs[0]
        assert (pair.mean, pair.low, pair.high) == (finished.mean, finished.low, finished.high)
        assert (pair.measure, pair.unfinished, finished.unfinished) == (finished.measure, 2, 0)
        assert (
            "This is an early look: 4 of 6 repeats are finished. 2 repeats are left out, as not"
            " finished yet." in pair.notes[0]
        )
        assert not any("still to be trained in full" in note for note in pair.notes)

    def test_until_decided_the_interval_holds_at_every_look(self) -> None:
        results = two_arms([0.1, 0.11, 0.12, 0.1], [0.2, 0.22, 0.21, 0.23])
        often = compare(replace(results, rule=Rule(3, 20, None))).pairs[0]
        assert (often.looks, often.last) == (18, 20)
        assert width(often) > width(compare(results).pairs[0])

    def test_noise_says_how_many_repeats_it_would_take(self) -> None:
        ours = [0.20, 0.22, 0.21, 0.20, 0.23, 0.20]
        theirs = [0.21, 0.21, 0.22, 0.20, 0.22, 0.21]
        pair = compare(two_arms(ours, theirs)).pairs[0]
        assert pair.quality == "undecided"
        assert pair.more_repeats is not None
        assert f"About {pair.more_repeats:,} more repeats" in pair.advice[0]

    def test_one_repeat_says_what_is_known(self) -> None:
        comparison = compare(two_arms([0.1], [0.2]))
        pair = comparison.pairs[0]
        assert (pair.quality, pair.low, pair.high) == ("undecided", None, None)
        assert comparison.verdict.startswith(
            "Undecided so far: in the only repeat, the test error of bayes is 10.00 points lower"
        )

    def test_an_interval_keeps_to_what_errors_can_differ_by(self) -> None:
        comparison = compare(two_arms([0.1, 0.8], [0.2, 0.1]))
        pair = comparison.pairs[0]
        assert (pair.low, pair.high) == (-1, 1)
        assert "in the mean of 2 repeats" in comparison.verdict
        assert "which may be luck" in comparison.verdict

    def test_without_test_errors_it_measures_validation(self) -> None:
        results = two_arms([0.1] * 8, [0.2, 0.21] * 4, tested=False)
        comparison = compare(replace(results, full_epochs=EPOCHS))
        assert comparison.pairs[0].measure == VALIDATION
        assert "favour whoever tried more settings" in comparison.verdict
        assert any("still to be trained in full" in note for note in comparison.pairs[0].notes)

    def test_where_nothing_is_to_be_trained_in_full_nothing_of_the_kind_is_promised(self) -> None:
        (pair,) = compare(two_arms([0.1] * 8, [0.2, 0.21] * 4, tested=False)).pairs
        assert not any("still to be trained in full" in note for note in pair.notes)
        assert any("has no [promote]" in note for note in pair.notes)

    def test_one_missing_test_error_falls_back_to_validation_for_all(self) -> None:
        results = two_arms([0.1] * 8, [0.2, 0.21] * 4)
        found = results.runs[0].recommendation
        assert found is not None
        bare = replace(results.runs[0], recommendation=replace(found, test_errors=()))
        comparison = compare(replace(results, runs=(bare, *results.runs[1:])))
        assert comparison.pairs[0].measure == VALIDATION
        assert comparison.arms[0].test_errors == (None, *[0.1] * 7)

    def test_full_validation_errors_are_taken_where_the_data_have_no_test_split(self) -> None:
        results = two_arms([0.2] * 8, [0.3, 0.31] * 4, tested=False)
        runs = [
            replace(
                run, recommendation=replace(run.recommendation, full_validation_errors=(error,))
            )
            for run, error in zip(results.runs, np.linspace(0.2, 0.3, 16), strict=True)
            if run.recommendation is not None
        ]
        (pair,) = compare(replace(results, runs=tuple(runs))).pairs
        assert pair.measure == FULL_VALIDATION
        assert any("by which they also chose" in note for note in pair.notes)

    def test_a_repeat_without_a_recommendation_leaves_the_pair_out(self) -> None:
        results = two_arms([0.1] * 8, [0.2, 0.21] * 4)
        comparison = compare(
            replace(results, runs=(*results.runs[:3], arm_run("bayes", 3, ()), *results.runs[4:]))
        )
        assert comparison.pairs[0].repeats == (0, 1, 2, 4, 5, 6, 7)
        assert any("7 of 8 repeats" in note for note in comparison.pairs[0].notes)

    def test_equal_arms_have_no_minus_zero(self) -> None:
        pair = compare(two_arms([0.1, 0.3, 0.2] * 3, [0.3, 0.1, 0.2 - 1e-9] * 3)).pairs[0]
        assert pair.mean < 0
        assert ERROR.difference(pair.mean) == "+0.00"
        assert "-0.00" not in pair.sentence

    def test_equal_differences_tie_in_spite_of_rounding(self) -> None:
        pair = compare(two_arms([0.30, 0.20], [0.30, 0.20])).pairs[0]
        assert (pair.wins, pair.ties, pair.losses) == (0, 2, 0)

    def test_a_recommendation_at_chance_is_noted(self) -> None:
        pair = compare(two_arms([0.1] * 6, [0.9, 0.2, 0.2, 0.2, 0.2, 0.2])).pairs[0]
        assert any("as bad as guessing in 1 repeat," in note for note in pair.notes)

    def test_unequal_spending_is_noted(self) -> None:
        runs = [arm_run("bayes", r, full_steps([0.3, 0.2]), test=0.2) for r in range(6)]
        runs += [arm_run("hand", r, full_steps([0.3]), test=0.3) for r in range(6)]
        notes = compare(study(*runs)).pairs[0].notes
        assert any("different budgets: 18 epochs a repeat for bayes, 9 for" in n for n in notes)

    def test_remarks_of_the_arms_are_said(self) -> None:
        facts = {"bayes": ArmFacts("Bayesian optimisation", remarks=("begins with hand's",))}
        pair = compare(replace(two_arms([0.1] * 3, [0.2] * 3), facts=facts)).pairs[0]
        assert "Bayesian optimisation begins with hand's." in pair.notes
        assert "the test error of Bayesian optimisation is 10.00 points lower" in pair.sentence

    def test_cost_is_a_share_of_what_the_baseline_spent(self) -> None:
        runs = [arm_run("bayes", r, full_steps([0.5, 0.2, 0.1])) for r in range(2)]
        runs += [arm_run("hand", r, full_steps([0.5, 0.4, 0.4, 0.2, 0.3])) for r in range(2)]
        cost = compare(study(*runs)).pairs[0].cost
        assert cost is not None
        assert (cost.epochs, cost.baseline_epochs) == (18, 45)
        assert (cost.share, cost.low, cost.high) == pytest.approx((0.4, 0.4, 0.4))
        assert cost.price == "cheaper"
        other = compare(study(*runs), "hand").pairs[0]
        assert other.cost is not None
        assert (other.cost.never, other.cost.price) == (True, "never")
        assert "never as good on validation as bayes" in other.sentence

    def test_what_the_recommendations_lost_on_the_way(self) -> None:
        """Chosen at 0.2 and 0.3, trained anew to 0.25 and 0.35; the best was left for another."""
        runs = [
            replace(
                run,
                recommendation=replace(run.recommendation, full_validation_errors=(error + 0.05,)),
                incumbent_tests=(0.4, 0.25, 0.3),
            )
            for r, error in enumerate((0.2, 0.3))
            if (run := arm_run("bayes", r, full_steps([error]))).recommendation is not None
        ]
        results = replace(study(*runs), full_epochs=EPOCHS)
        (arm,) = compare(results).arms
        assert arm.gap is not None
        assert arm.gap.mean == pytest.approx(0.05)
        assert arm.overtuning == pytest.approx(0.05)
        (longer,) = compare(replace(results, full_epochs=EPOCHS + 1)).arms
        assert longer.gap is None

    def test_incumbents_are_the_trials_that_were_best_in_turn(self) -> None:
        run = arm_run("bayes", 0, full_steps([0.5, 0.6, 0.3, 0.4, 0.1]))
        assert incumbent_trials(run) == (0, 2, 4)

    def test_only_independent_trials_have_an_expected_best(self) -> None:
        results = two_arms([0.2] * 2, [0.3, 0.1])
        facts = {"bayes": ArmFacts("Bayesian optimisation"), "hand": ArmFacts("x", True)}
        table = expected_table(replace(results, facts=facts))
        (row,) = table.rows
        assert row[:4] == ("hand", "2", "20.00 ± 10.00", "15.00 ± 8.66")

    def test_a_cost_that_one_repeat_never_reached_ends_in_never(self) -> None:
        ours = [[0.5, 0.2], [0.5, 0.2], [0.5, 0.45]]
        runs = [arm_run("bayes", r, full_steps(values)) for r, values in enumerate(ours)]
        runs += [arm_run("hand", r, full_steps([0.5, 0.3])) for r in range(3)]
        cost = compare(study(*runs)).pairs[0].cost
        assert cost is not None
        assert cost.share == 1.0
        assert cost.high == math.inf
        assert plain(cost)["high"] is None
        assert cost.price == "unclear"

    def diverged(self, results: StudyResults, *arms: str) -> StudyResults:
        """The same with every run of these arms diverged."""

        def changed(run: ArmRun) -> ArmRun:
            if run.arm not in arms or run.recommendation is None:
                return run
            found = replace(run.recommendation, validation_error=0.9, test_errors=())
            return replace(run, states={"diverged": 3}, recommendation=found)

        return replace(results, runs=tuple(map(changed, results.runs)))

    def test_every_run_diverged(self) -> None:
        comparison = compare(self.diverged(two_arms([0.2] * 2, [0.3] * 2), "bayes", "hand"))
        assert comparison.verdict.startswith("Nothing to compare: every run diverged (12 runs);")
        assert comparison.pairs == ()
        assert not comparison.decided

    def test_every_trial_failed(self) -> None:
        results = two_arms([0.2] * 2, [0.3] * 2)
        for spent in (12, 0):  # in a later epoch, or in the first
            runs = [
                replace(run, states={"failed": 2}, spent=spent, recommendation=None)
                for run in results.runs
            ]
            comparison = compare(replace(results, runs=tuple(runs)))
            assert "every trial failed (8 trials); `tuneoff" in comparison.verdict

    def test_every_run_of_one_arm_diverged(self) -> None:
        comparison = compare(self.diverged(two_arms([0.2] * 8, [0.3] * 8), "hand"))
        assert comparison.verdict.endswith(
            "Every run of hand (24 runs) diverged, which counts as guessing."
        )
        assert len(comparison.pairs) == 1

    def test_says_when_there_is_nothing_to_compare(self) -> None:
        empty = study(arm_run("bayes", 0, ()), arm_run("hand", 0, ()))
        assert compare(empty).verdict == "Nothing has been run yet."
        lonely = study(arm_run("bayes", 0, full_steps([0.5])))
        assert "only arm" in compare(lonely).verdict
        ahead = study(arm_run("bayes", 0, ()), arm_run("hand", 0, full_steps([0.5])))
        assert "bayes has no finished trial" in compare(ahead).verdict
        behind = study(arm_run("bayes", 0, full_steps([0.5])), arm_run("hand", 0, ()))
        assert "bayes is the only arm with a finished trial" in compare(behind).verdict
        assert compare(study()).verdict == "The study has no arms."
        apart = study(
            arm_run("bayes", 0, full_steps([0.5])),
            arm_run("bayes", 1, ()),
            arm_run("hand", 0, ()),
            arm_run("hand", 1, full_steps([0.5])),
        )
        assert compare(apart).verdict == (
            "Nothing to compare yet: bayes and another arm have no repeat in common with finished"
            " trials of both."
        )

    def test_a_bound_that_judges_no_pair_is_named_with_what_is_enough(self) -> None:
        results = replace(two_arms([0.2] * 2, [0.3] * 2, tested=False), full_epochs=1500)
        runs = [
            replace(run, recommendation=replace(run.recommendation, judged=False))
            for run in results.runs
            if run.recommendation is not None
        ]
        assert compare(replace(results, runs=tuple(runs))).verdict == (
            "Nothing to compare: epochs in [compare] is too small to train both recommendations of"
            " any pair in full. To train one pair's once takes 3,000 epochs: give at least these,"
            " or no bound."
        )

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
            opposite = {"better": "worse", "worse": "better"}
            assert one.quality == opposite.get(other.quality, other.quality)
            assert one.checks.wilcoxon == pytest.approx(other.checks.wilcoxon)
            assert (one.wins, one.losses) == (other.losses, other.wins)

    @pytest.mark.slow
    @patient
    @given(studies())
    def test_any_results_give_an_honest_plain_answer(self, results: StudyResults) -> None:
        comparison = compare(results)
        json.dumps(comparison.to_dict(), allow_nan=False)
        assert comparison.verdict.endswith(".")
        for pair in comparison.pairs:
            assert pair.wins + pair.ties + pair.losses == len(pair.repeats)
            assert "-0.00" not in pair.sentence
            if pair.decided:
                assert pair.low is not None
                assert pair.high is not None
                margin = pair.margin or 0.0
                inside = -margin <= pair.low <= pair.high <= margin
                assert inside == (pair.quality == "equivalent")
                assert inside or pair.low > 0 or pair.high < 0


def width(pair: PairwiseComparison) -> float:
    assert pair.low is not None
    assert pair.high is not None
    return pair.high - pair.low


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
            "seconds": 0.0,
        },
        "other": "(1+2j)",
    }


def test_the_bootstrap_interval_stands_beside_the_decision() -> None:
    gaps = (0.01, 0.02, 0.03, 0.02, 0.01, 0.04)
    runs = [
        arm_run(arm, repeat, full_steps([error]))
        for repeat, gap in enumerate(gaps)
        for arm, error in (("bayes", 0.3), ("hand", 0.3 + gap))
    ]
    pair = compare(study(*runs)).pairs[0]
    assert pair.checks.bootstrap is not None
    assert pair.low is not None
    # No distribution is assumed, and six values have no tails: narrower than Student's.
    assert pair.low < pair.checks.bootstrap[0] < pair.mean < pair.checks.bootstrap[1]
