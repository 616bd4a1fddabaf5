"""What is said of horizons: from records made by hand, and from a study that ran."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from tuneoff.metric import ERROR
from tuneoff.search.results.horizon.findings import (
    arm_changes,
    arms_at_horizons,
    curve_ranks,
    find,
    horizon_pairs,
    parameter_drifts,
)
from tuneoff.search.results.horizon.read import read_horizon
from tuneoff.search.results.horizon.records import (
    ArmChange,
    BestValue,
    HorizonPair,
    HorizonRuns,
    Interval,
    ParameterDrift,
    Sampled,
)
from tuneoff.search.results.horizon.sentences import drift, favour, ranking
from tuneoff.search.results.records import TEST, VALIDATION, TrialCurve
from tuneoff.search.results.trials import trial_curves
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import work


def sampled(
    name: str,
    errors: Mapping[int, Sequence[float]],
    lr: float = 0.1,
    weight: float = 1.0,
    tested: bool = False,
) -> Sampled:
    values = {epochs: tuple(some) for epochs, some in errors.items()}
    test = {epochs: tuple(e + 0.01 for e in some) for epochs, some in values.items()}
    return Sampled(name, {"lr": lr}, "a", 0, weight, 0.5, values, test if tested else {})


def runs_of(sample: Sequence[Sampled], **changes: Any) -> HorizonRuns:
    values: dict[str, Any] = {
        "horizons": (3, 30),
        "population": 40,
        "sample": tuple(sample),
        "arms": ("bayes", "hand"),
        "baseline": "hand",
        "picks": {"bayes": {0: "0", 1: "1"}, "hand": {0: "2", 1: "3"}},
        "log_parameters": ("lr",),
        "missing": 0,
    }
    return HorizonRuns(**{**values, **changes})


def ladder(shorts: Sequence[float], longs: Sequence[float], **more: Any) -> HorizonRuns:
    """Configuration i has the i-th rate of 0.01, 0.02, 0.04... and these errors."""
    rows = zip(shorts, longs, strict=True)
    return runs_of(
        [
            sampled(str(i), {3: [short], 30: [long]}, lr=0.01 * 2**i, **more)
            for i, (short, long) in enumerate(rows)
        ]
    )


UP = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]


def test_equal_orders_correlate_fully_and_cost_nothing() -> None:
    (pair,) = horizon_pairs(ladder(UP, [e / 2 for e in UP]))
    assert (pair.short, pair.long, pair.configurations) == (3, 30, 8)
    assert pair.spearman == pytest.approx(1)
    assert pair.kendall == pytest.approx(1)
    assert (pair.top, pair.shared, pair.regret) == (2, 2, 0)
    assert (pair.regret_interval.low, pair.regret_interval.high) == (0, 0)


def test_opposite_orders_correlate_negatively_and_cost_all() -> None:
    (pair,) = horizon_pairs(ladder(UP, UP[::-1]))
    assert pair.spearman == pytest.approx(-1)
    assert pair.shared == 0
    assert pair.regret == pytest.approx(0.7)


def test_weights_count() -> None:
    """Six configurations agree and two do not; the two stand for many or for few."""
    longs = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.05, 0.01]

    def rho(weight: float) -> float:
        some = list(ladder(UP, longs).sample)
        some[6:] = [sampled(str(i), {3: [UP[i]], 30: [longs[i]]}, weight=weight) for i in (6, 7)]
        found = horizon_pairs(runs_of(some))[0].spearman
        assert found is not None
        return found

    assert rho(0.001) == pytest.approx(1, abs=0.01)
    assert rho(100) == pytest.approx(-1, abs=0.02)
    assert -1 < rho(1) < 1


def test_the_regret_is_measured_on_the_test_split_where_all_have_one() -> None:
    assert horizon_pairs(ladder(UP, UP, tested=True))[0].measure == TEST
    assert horizon_pairs(ladder(UP, UP))[0].measure == VALIDATION
    mixed = [*ladder(UP, UP, tested=True).sample, sampled("x", {3: [0.9], 30: [0.9]})]
    assert horizon_pairs(runs_of(mixed))[0].measure == VALIDATION


def test_seeds_are_averaged_before_they_are_ranked() -> None:
    one = runs_of([sampled(str(i), {3: [e - 0.3, e + 0.3], 30: [e]}) for i, e in enumerate(UP)])
    assert horizon_pairs(one)[0].spearman == pytest.approx(1)


def test_only_configurations_with_both_horizons_count_and_few_say_nothing() -> None:
    some = list(ladder(UP, UP).sample)
    some[0] = sampled("0", {3: [0.1]})
    assert horizon_pairs(runs_of(some))[0].configurations == 7
    assert horizon_pairs(ladder(UP[:3], UP[:3])) == ()
    assert find(ladder(UP[:3], UP[:3]), []).sentences == ()


def test_equal_errors_have_no_correlation() -> None:
    (pair,) = horizon_pairs(ladder([0.5] * 8, UP))
    assert pair.spearman is None
    assert pair.kendall is None
    assert pair.spearman_interval is None
    assert "cannot be compared" in find(ladder([0.5] * 8, UP), []).sentences[0]


def test_every_pair_of_horizons_the_widest_first() -> None:
    rows = [sampled(str(i), {3: [e], 10: [e], 30: [e]}) for i, e in enumerate(UP)]
    pairs = horizon_pairs(runs_of(rows, horizons=(3, 10, 30)))
    assert [(pair.short, pair.long) for pair in pairs] == [(3, 30), (10, 30), (3, 10)]


def test_a_best_rate_that_grows_with_the_horizon_is_found() -> None:
    """Eight rates in powers of two; short runs like the lowest, long ones the highest."""
    (found,) = parameter_drifts(ladder(UP, UP[::-1]))
    assert found.parameter == "lr"
    assert [value.best for value in found.values] == pytest.approx([0.01, 1.28])
    assert found.values[0].mean == pytest.approx(0.01 * math.sqrt(2))
    assert found.ratio == pytest.approx(64)
    assert found.ratio_interval.low > 1
    sentence = find(ladder(UP, UP[::-1]), []).sentences[-1]
    assert sentence.startswith("Short runs choose too small a value of lr")
    (none,) = parameter_drifts(ladder(UP, UP))
    assert none.ratio == 1
    assert find(ladder(UP, UP), []).sentences[-1].startswith("No shift of lr is shown")


def test_arms_are_compared_by_what_they_recommend() -> None:
    runs = runs_of(
        [
            sampled("0", {3: [0.30], 30: [0.10]}),
            sampled("1", {3: [0.32], 30: [0.14]}),
            sampled("2", {3: [0.30], 30: [0.20]}),
            sampled("3", {3: [0.34], 30: [0.22]}),
        ]
    )
    rows = {(one.arm, one.epochs): one for one in arms_at_horizons(runs)}
    assert rows["bayes", 3].error == pytest.approx(0.31)
    assert rows["hand", 30].error == pytest.approx(0.21)
    assert rows["bayes", 3].difference == pytest.approx(0.01)  # 0, and 0.02
    assert rows["bayes", 30].difference == pytest.approx(0.09)  # 0.10, and 0.08
    assert rows["hand", 3].difference is None
    assert rows["bayes", 30].interval is not None
    (change,) = arm_changes(runs)
    assert (change.arm, change.baseline) == ("bayes", "hand")
    assert change.change == pytest.approx(0.08)


def test_without_a_hand_tuned_arm_nothing_is_compared() -> None:
    runs = runs_of(ladder(UP, UP).sample, baseline=None)
    assert all(one.difference is None for one in arms_at_horizons(runs))
    assert arm_changes(runs) == ()


@pytest.mark.parametrize(
    ("longs", "start"),
    [
        (UP, "Runs of 3 epochs rank configurations almost as runs of 30 do (rank correlation 1.00"),
        ([0.2, 0.1, 0.6, 0.3, 0.7, 0.4, 0.5, 0.8], "It is not shown that runs of 3 epochs rank"),
        ([0.1, 0.4, 0.2, 0.5, 0.3, 0.7, 0.8, 0.55], "Runs of 3 epochs rank configurations almost"),
        (UP[::-1], "Runs of 3 epochs rank configurations otherwise than runs of 30 do"),
    ],
)
def test_the_first_sentence(longs: list[float], start: str) -> None:
    first = find(ladder(UP, longs), []).sentences[0]
    assert first.startswith(start)
    assert "choosing by them" in first
    assert not re.search(r"-0\.0+\b", first)


def test_runs_that_are_to_come_are_said() -> None:
    runs = runs_of(ladder(UP, UP).sample, missing=3)
    assert "3 runs still to come" in find(runs, []).sentences[0]


def pair(**values: Any) -> HorizonPair:
    base: dict[str, Any] = {
        "short": 3, "long": 30, "configurations": 20, "spearman": 0.81,
        "spearman_interval": Interval(0.6, 0.92), "kendall": 0.6,
        "kendall_interval": Interval(0.4, 0.8), "top": 5, "shared": 3, "regret": 0.004,
        "regret_interval": Interval(0.0, 0.011), "measure": TEST,
    }  # fmt: skip
    return HorizonPair(**{**base, **values})


def test_what_can_be_said_of_a_pair() -> None:
    """Every form of the sentence, to be read."""
    runs = runs_of([])
    assert ranking(pair(), runs) == (
        "Runs of 3 epochs rank configurations almost as runs of 30 do (rank correlation 0.81, 0.60"
        " to 0.92); choosing by them costs 0.40 points of test error after 30 (0.00 to 1.10). Of"
        " their best 5, 3 are among the best 5 after 30 (by chance 1.2). That is of 20"
        " configurations."
    )
    partly = ranking(pair(spearman=0.6, short=1), runs)
    assert partly.startswith("Runs of 1 epoch rank configurations partly as runs of 30 do (rank")
    unlike = ranking(pair(spearman=-0.004, spearman_interval=Interval(-0.5, -0.001)), runs)
    assert unlike.startswith(
        "Runs of 3 epochs rank configurations otherwise than runs of 30 do (rank correlation 0.00,"
        " -0.50 to 0.00)"
    )
    unsure = ranking(pair(spearman=0.3, spearman_interval=Interval(-0.2, 0.7)), runs)
    assert unsure.startswith(
        "It is not shown that runs of 3 epochs rank configurations as runs of 30 do"
    )
    none = "no cost of choosing by them is seen ({} points of test error after 30, 0.00 to 1.10)"
    assert none.format("0.00") in ranking(pair(regret=-0.00001), runs)
    assert none.format("-0.70") in ranking(pair(regret=-0.007), runs)


@pytest.mark.parametrize(
    ("change", "interval", "said"),
    [
        (0.02, (0.01, 0.03), "Longer runs favour bayes: its lead over hand changes by +2.00 points"
         " between 3 and 30 epochs (95% interval +1.00 to +3.00)."),
        (-0.02, (-0.03, -0.01), "Longer runs favour hand over bayes: its lead over hand changes by"
         " -2.00 points between 3 and 30 epochs (95% interval -3.00 to -1.00)."),
        (0.0, (-0.01, 0.01), "Whether longer runs favour bayes is not decided: its lead over hand"
         " changes by +0.00 points between 3 and 30 epochs (95% interval -1.00 to +1.00)."),
        (0.01, None, "It cannot be said yet whether longer runs favour bayes: its lead over hand"
         " changes by +1.00 points between 3 and 30 epochs."),
    ],
)  # fmt: skip
def test_what_can_be_said_of_an_arm(
    change: float, interval: tuple[float, float] | None, said: str
) -> None:
    around = None if interval is None else Interval(*interval)
    assert favour(ArmChange("bayes", "hand", change, around), 3, 30, ERROR) == said


def test_what_can_be_said_of_a_parameter() -> None:
    def one(ratio: float, low: float, high: float) -> str:
        around = Interval(0.05, 0.2)
        values = (BestValue(3, 0.1, 0.1, around), BestValue(30, 0.2, 0.1 * ratio, around))
        return drift(ParameterDrift("lr", values, ratio, Interval(low, high)))

    assert one(2, 1.2, 3) == (
        "Short runs choose too small a value of lr: the best quarter lies at 0.1 after 3 epochs and"
        " at 0.2 after 30 (ratio 2, 1.2 to 3)."
    )
    assert one(0.5, 0.3, 0.9).startswith("Short runs choose too large a value of lr:")
    assert "(ratio 19, 1.1 to 350)" in one(19, 1.1, 350)
    assert one(1, 0.3, 2).startswith("No shift of lr is shown:")


# From the curves of the search's own runs


def curve(number: int, state: str, errors: Sequence[float]) -> TrialCurve:
    by_epoch = dict(enumerate(errors, start=1))
    return TrialCurve("a", 0, number, state, {"lr": 0.1}, by_epoch)


def test_curves_that_cross_rank_otherwise_at_first() -> None:
    trials = [curve(i, "complete", [0.9 - e, e + 0.01 * (i % 2), e]) for i, e in enumerate(UP)]
    first, second = curve_ranks(trials)
    assert first.spearman == pytest.approx(-1)
    assert second.spearman == pytest.approx(1)
    assert (first.epoch, second.epoch, first.runs, first.stopped) == (1, 2, 8, 0)


def test_only_runs_that_came_to_their_end_have_one_and_the_others_are_counted() -> None:
    trials = [curve(i, "complete", [e, e]) for i, e in enumerate(UP)]
    trials += [
        curve(8, "pruned", [0.1]),
        curve(9, "paused", [0.1]),
        curve(10, "waiting", []),
        curve(11, "complete", [math.nan, 0.1]),
    ]
    (only,) = curve_ranks(trials)
    assert (only.runs, only.stopped) == (8, 2)
    assert curve_ranks([]) == ()
    assert curve_ranks(trials[:3]) == ()


# A study that ran


@pytest.mark.slow
def test_a_study_that_ran_is_read_as_it_was_trained(
    make_study: Any, sqlite_database: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    configs = [{"lr": lr} for lr in (0.001, 0.01, 0.1)]
    study = make_study(
        sqlite_database,
        arms={"bayes": {"sampler": "random"}, "by-hand": {"configs": configs}},
        repeats=2,
        horizon={"epochs": [2, 4], "configurations": 8, "seeds": 2},
    )
    trainer = make_trainer()
    before = read_horizon(Snapshot.of(study))
    assert before is not None
    assert before.sample == ()
    assert find(before, []).sentences == ()
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    now = Snapshot.of(study)
    runs = read_horizon(now)
    assert runs is not None
    assert (runs.horizons, runs.baseline, runs.missing) == ((2, 4), "by-hand", 0)
    assert runs.log_parameters == ("lr",)
    assert set(runs.picks) == {"bayes", "by-hand"}
    trials = study.trials(study.horizon)
    for one in runs.sample:
        for epochs in runs.horizons:
            mine = [
                t.value
                for t in trials
                if dict(t.params) == dict(one.params) and max(t.intermediate_values) == epochs
            ]
            assert one.errors[epochs] == tuple(mine)
            assert len(mine) == len(one.test_errors[epochs]) == 2
    findings = find(runs, trial_curves(now))
    assert findings.measure == TEST
    assert findings.sentences
    assert {(one.arm, one.epochs) for one in findings.arms} == {
        (arm, epochs) for arm in ("bayes", "by-hand") for epochs in (2, 4)
    }


def test_a_study_without_the_section_has_only_its_curves(
    make_study: Any, sqlite_database: Any
) -> None:
    now = Snapshot.of(make_study(sqlite_database))
    assert read_horizon(now) is None
    findings = find(None, [curve(i, "complete", [e, e]) for i, e in enumerate(UP)])
    assert findings.runs is None
    assert findings.curves[0].spearman == pytest.approx(1)
    assert np.isfinite(findings.curves[0].interval.low)
