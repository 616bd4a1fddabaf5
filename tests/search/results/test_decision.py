"""When a comparison is decided, at what level, and what it will probably cost until then."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.decision import judge as judging
from tuneoff.search.results.decision.judge import judge, most_epochs, outlook_of
from tuneoff.search.results.decision.look import look, outcome_of
from tuneoff.search.results.decision.outlook import Price, outlook
from tuneoff.search.results.decision.pairs import evidence_of
from tuneoff.search.results.decision.rule import Rule, rule_of, standing_rule
from tuneoff.search.results.records import (
    TEST,
    VALIDATION,
    ArmRun,
    Recommendation,
    StudyResults,
)
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.file import StudySpec

BUDGET, SEEDS, FULL = 6, 3, 4


def results(errors: dict[str, list[list[float]]], *, share: str = "") -> StudyResults:
    """A study of arms that pick a configuration of their own in each repeat.

    Args:
        errors: by arm, for each repeat the errors of its pick's full trainings.
        share: the arm that picks one configuration in every repeat, trained as its first pick.
    """
    runs = []
    for index, (arm, repeats) in enumerate(errors.items()):
        for repeat, found in enumerate(repeats):
            shared = arm == share
            lr = 0.001 * (1 + index) if shared else 1.0 + 100 * index + repeat
            tests = tuple(repeats[0] if shared else found)
            pick = Recommendation(0, {"lr": lr}, tests[0], tests, tests)
            runs.append(ArmRun(arm, repeat, BUDGET, BUDGET, 60.0, {"complete": 2}, (), pick))
    count = max(map(len, errors.values()))
    return StudyResults("s", tuple(errors), count, 3, 0.9, tuple(runs))


def begin(run: ArmRun, repeat: int, *, trained: bool = True) -> ArmRun:
    """The run in another repeat that goes on: its pick is not the last word."""
    assert run.recommendation is not None
    pick = replace(run.recommendation, finished=False)
    if not trained:
        pick = replace(pick, full_validation_errors=(), test_errors=())
    return replace(run, repeat=repeat, recommendation=pick)


def drawn(mean: float, sd: float, repeats: int, seed: int = 0) -> list[list[float]]:
    numbers = np.random.default_rng(seed)
    picks = mean + sd * numbers.standard_normal(repeats)
    return [list(pick + 0.005 * numbers.standard_normal(SEEDS)) for pick in picks]


def test_arms_that_always_pick_the_same_have_no_forecast() -> None:
    found = results({"bayes": drawn(0.2, 0.01, 4), "hand": drawn(0.2, 0.01, 4, seed=1)})
    rule, price = Rule(4, 10, 0.01), Price(0, 10, None)
    assert outlook(look(evidence_of(found), rule), 4, price) is not None
    ours = {run.repeat: run.recommendation for run in found.runs if run.arm == "bayes"}
    same = tuple(replace(run, recommendation=ours[run.repeat]) for run in found.runs)
    seen = look(evidence_of(replace(found, runs=same)), rule)
    assert seen.pairs[0].outcome == "undecided"
    assert outlook(seen, 4, price) is None


def spec(spec_values: Any, **compare: Any) -> StudySpec:
    arms = {name: {"sampler": "random"} for name in ("bayes", "hand")}
    values = spec_values(
        arms=arms,
        repeats=4,
        budget={"epochs": BUDGET},
        promote={"top": 1, "seeds": SEEDS, "epochs": FULL},
        compare={"until": "decided", "max_repeats": 10, **compare},
    )
    return StudySpec.parse(values, "test")


def moment(settings: StudySpec, found: StudyResults, monkeypatch: Any, age: float = 0.0) -> Any:
    """A snapshot of a study that has come to these results."""
    monkeypatch.setattr(judging, "read_results", lambda now: found)
    monkeypatch.setattr(judging, "unjudged_picks", lambda now: ())
    monkeypatch.setattr(judging, "is_spent", lambda now: False)
    return SimpleNamespace(study=SimpleNamespace(spec=settings, repeats=found.repeats), age=age)


class TestOutcome:
    @pytest.mark.parametrize(
        ("interval", "margin", "outcome"),
        [
            ((0.1, 0.3), None, "better"),
            ((-0.3, -0.1), None, "worse"),
            ((-0.1, 0.3), None, "undecided"),
            ((-0.1, 0.1), 0.2, "equivalent"),
            ((0.05, 0.1), 0.2, "equivalent"),  # better, by less than is of interest
            ((0.1, 0.3), 0.2, "better"),
            ((-0.3, 0.1), 0.2, "undecided"),
            ((0.0, 0.3), 0.2, "undecided"),
            (None, 0.2, "undecided"),
        ],
    )
    def test_is_what_the_interval_says(self, interval: Any, margin: Any, outcome: str) -> None:
        assert outcome_of(interval, margin) == outcome

    @given(
        st.floats(-1, 1), st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1, exclude_min=True))
    )
    def test_of_the_other_arm_is_the_opposite(self, mean: float, half: float, margin: Any) -> None:
        opposite = {"better": "worse", "worse": "better"}
        ours = outcome_of((mean - half, mean + half), margin)
        theirs = outcome_of((-mean - half, half - mean), margin)
        assert theirs == opposite.get(ours, ours)


class TestEvidence:
    def test_pairs_share_their_repeats_and_hand_comes_first(self) -> None:
        found = results(
            {
                "bayes": [[0.1], [0.2], [0.3]],
                "other": [[0.4], [0.5], [0.6]],
                "hand": [[0.7], [0.8]],
            }
        )
        pairs = evidence_of(found).pairs
        assert [(pair.reference, pair.baseline) for pair in pairs] == [
            ("bayes", "hand"),
            ("bayes", "other"),
        ]
        errors = [[(pair.errors[a], pair.errors[b]) for a, b in pair.picks] for pair in pairs]
        assert errors[0] == [((0.1,), (0.7,)), ((0.2,), (0.8,))]
        assert len(errors[1]) == 3

    def test_without_all_test_errors_full_training_on_validation_is_compared(self) -> None:
        found = results({"bayes": [[0.1, 0.2]], "hand": [[0.3, 0.4]]})
        first = found.runs[0]
        assert first.recommendation is not None
        pick = replace(first.recommendation, test_errors=(), full_validation_errors=(0.5, 0.6))
        found = replace(found, runs=(replace(first, recommendation=pick), *found.runs[1:]))
        assert sorted(map(tuple, evidence_of(found).pairs[0].errors.values())) == [
            (0.3, 0.4),
            (0.5, 0.6),
        ]
        pick = replace(pick, full_validation_errors=(), validation_error=0.7)
        found = replace(found, runs=(replace(first, recommendation=pick), *found.runs[1:]))
        assert sorted(map(tuple, evidence_of(found).pairs[0].errors.values())) == [(0.3,), (0.7,)]

    def test_repeats_that_are_not_finished_are_left_out(self) -> None:
        """Of what is known of the others, nothing is lost: measure, noise, number of pairs."""
        arms = {
            name: drawn(0.2 + 0.1 * index, 0.02, 4, seed=index)
            for index, name in enumerate(("bayes", "hand", "other"))
        }
        whole = results(arms)
        begun = replace(
            whole,
            repeats=6,
            runs=(
                *whole.runs,
                begin(whole.runs[0], 4),  # trained for the first repeat, and may still change
                begin(whole.runs[4], 4),
                begin(whole.runs[0], 5, trained=False),
                begin(whole.runs[4], 5, trained=False),
            ),
        )
        complete, found = evidence_of(whole), evidence_of(begun)
        assert [pair.unfinished for pair in complete.pairs] == [0, 0]
        assert [pair.unfinished for pair in found.pairs] == [2, 0]
        assert [pair.repeats for pair in found.pairs] == [(0, 1, 2, 3)] * 2
        assert {pair.measure for pair in found.pairs} == {TEST}
        assert found.noise == complete.noise
        assert found.pairs[0].errors == complete.pairs[0].errors

    def test_a_pair_of_which_one_pick_is_not_finished_is_left_out(self) -> None:
        found = results({"bayes": drawn(0.2, 0.02, 3), "hand": drawn(0.3, 0.02, 3)})
        runs = tuple(
            begin(run, run.repeat, trained=False) if (run.arm, run.repeat) == ("hand", 1) else run
            for run in found.runs
        )
        (pair,) = evidence_of(replace(found, runs=runs)).pairs
        assert (pair.repeats, pair.unfinished, pair.measure) == ((0, 2), 1, TEST)

    def test_where_a_pair_has_no_finished_repeat_all_are_compared_by_their_search(self) -> None:
        found = results({"bayes": [[0.1, 0.2]] * 3, "hand": [[0.3]] * 3, "other": [[0.4]] * 3})
        runs = tuple(
            begin(run, run.repeat, trained=False) if run.arm == "other" else run
            for run in found.runs
        )
        pairs = evidence_of(replace(found, runs=runs)).pairs
        assert [(pair.repeats, pair.unfinished) for pair in pairs] == [((0, 1, 2), 0)] * 2
        assert {pair.measure for pair in pairs} == {VALIDATION}

    def test_noise_is_pooled_over_the_picks_of_all_arms(self) -> None:
        found = results({"bayes": [[0.1, 0.3]], "hand": [[0.4, 0.4]], "other": [[0.5, 0.5]]})
        noise = evidence_of(found).noise
        assert noise.degrees == 3
        assert noise.sd == pytest.approx(math.sqrt(0.02 / 3))

    def test_a_study_without_two_arms_has_no_pairs(self) -> None:
        assert evidence_of(results({"bayes": [[0.1]]})).pairs == ()
        assert evidence_of(StudyResults("s", (), 0, 3, 0.9, ())).pairs == ()


class TestLook:
    def test_an_interval_is_wider_than_one_that_is_looked_at_once(self) -> None:
        evidence = evidence_of(results({"bayes": drawn(0.2, 0.02, 6), "hand": drawn(0.3, 0.02, 6)}))
        often = look(evidence, Rule(6, 20, None)).pairs[0]
        once = often.estimate.interval()
        assert often.interval is not None
        assert once is not None
        assert often.interval[0] < once[0] < once[1] < often.interval[1]
        assert often.outcome == "better"

    def test_pairs_share_the_error(self) -> None:
        few = evidence_of(results({"bayes": drawn(0.2, 0.02, 6), "hand": drawn(0.3, 0.02, 6)}))
        many = evidence_of(
            results(
                {
                    "bayes": drawn(0.2, 0.02, 6),
                    "hand": drawn(0.3, 0.02, 6),
                    "other": drawn(0.3, 0.02, 6, seed=1),
                }
            )
        )
        one, two = (look(evidence, Rule(6, 20, None)) for evidence in (few, many))
        assert one.plan.alpha == 0.05
        assert two.plan.alpha == 0.025

    def test_before_the_first_look_nothing_is_decided(self) -> None:
        evidence = evidence_of(results({"bayes": drawn(0.2, 0.01, 3), "hand": drawn(0.8, 0.01, 3)}))
        assert [pair.outcome for pair in look(evidence, Rule(6, 20, None)).pairs] == ["undecided"]

    def test_the_margin_is_the_noise_between_seeds_unless_given(self) -> None:
        evidence = evidence_of(results({"bayes": [[0.1, 0.3]] * 2, "hand": [[0.4, 0.6]] * 2}))
        assert look(evidence, Rule(2, 5, None)).margin == pytest.approx(math.sqrt(0.02))
        assert look(evidence, Rule(2, 5, 0.01)).margin == 0.01
        single = evidence_of(results({"bayes": [[0.1]] * 2, "hand": [[0.4]] * 2}))
        assert look(single, Rule(2, 5, None)).margin is None


class TestJudge:
    def test_decided(self, spec_values: Any, monkeypatch: Any) -> None:
        found = results({"bayes": drawn(0.2, 0.01, 4), "hand": drawn(0.5, 0.01, 4)})
        said = judge(moment(spec(spec_values), found, monkeypatch))
        assert said.ended == "decided after 4 repeats"

    def test_every_pair_must_be_decided(self, spec_values: Any, monkeypatch: Any) -> None:
        found = results(
            {
                "bayes": drawn(0.2, 0.03, 4),
                "hand": drawn(0.5, 0.01, 4),
                "other": drawn(0.2, 0.03, 4, seed=1),
            }
        )
        three = spec(spec_values).changed(["arms.other.sampler=random"])
        said = judge(moment(three, found, monkeypatch))
        assert (said.ended, said.most) == (None, 10)

    def test_bound_of_repeats(self, spec_values: Any, monkeypatch: Any) -> None:
        found = results({"bayes": drawn(0.2, 0.05, 10), "hand": drawn(0.2, 0.05, 10, seed=1)})
        said = judge(moment(spec(spec_values, smallest_effect=0.1), found, monkeypatch))
        assert said.ended == "bound reached: 10 repeats; bayes is undecided against hand"

    def test_bound_that_was_lowered_below_what_is_there(
        self, spec_values: Any, monkeypatch: Any
    ) -> None:
        found = results({"bayes": drawn(0.2, 0.05, 9), "hand": drawn(0.2, 0.05, 9, seed=1)})
        settings = spec(spec_values, max_repeats=5, smallest_effect=0.1)
        said = judge(moment(settings, found, monkeypatch))
        assert said.ended == "bound reached: 9 repeats; bayes is undecided against hand"

    def test_bound_of_hours(self, spec_values: Any, monkeypatch: Any) -> None:
        found = results({"bayes": drawn(0.2, 0.05, 4), "hand": drawn(0.2, 0.05, 4, seed=1)})
        settings = spec(spec_values, smallest_effect=0.1, max_hours=2.0)
        assert judge(moment(settings, found, monkeypatch, age=7199)).ended is None
        assert judge(moment(settings, found, monkeypatch, age=7200)).ended == (
            "bound reached: 2 hours, after 4 repeats; bayes is undecided against hand"
        )

    @pytest.mark.parametrize(
        ("name", "found"), [("unjudged_picks", (("hand", 3),)), ("is_spent", True)]
    )
    def test_bound_of_the_epochs_of_judging(
        self, spec_values: Any, monkeypatch: Any, name: str, found: Any
    ) -> None:
        errors = results({"bayes": drawn(0.2, 0.05, 4), "hand": drawn(0.2, 0.05, 4, seed=1)})
        now = moment(spec(spec_values, smallest_effect=0.1, epochs=40), errors, monkeypatch)
        monkeypatch.setattr(judging, name, lambda now: found)
        assert judge(now).ended == (
            "bound reached: [compare] epochs = 40 are spent, after 4 repeats; "
            "bayes is undecided against hand"
        )

    def test_one_arm(self, spec_values: Any, monkeypatch: Any) -> None:
        found = results({"bayes": drawn(0.2, 0.05, 4)})
        said = judge(moment(spec(spec_values), found, monkeypatch))
        assert said.ended == "ended: there are no two arms to compare"

    def test_one_repeat_is_followed_by_a_second(self, spec_values: Any, monkeypatch: Any) -> None:
        found = results({"bayes": drawn(0.2, 0.05, 1), "hand": drawn(0.4, 0.05, 1)})
        assert judge(moment(spec(spec_values), found, monkeypatch)).ended is None

    def test_seeds_go_to_a_configuration_that_every_repeat_shares(
        self, spec_values: Any, monkeypatch: Any
    ) -> None:
        """Hand tuning picks one configuration in all repeats: its noise does not average out."""
        numbers = np.random.default_rng(3)
        noisy = [list(0.3 + 0.05 * numbers.standard_normal(SEEDS)) for _ in range(5)]
        found = results({"bayes": noisy, "hand": [[0.3, 0.4, 0.35]] * 5}, share="hand")
        said = judge(moment(spec(spec_values, smallest_effect=0.1), found, monkeypatch))
        assert said.ended is None
        shared = found.runs[-1].recommendation
        assert shared is not None
        assert said.trainings.keys() == {shared.key}
        # Not for more than another repeat costs.
        repeat = 2 * (BUDGET + SEEDS * FULL * 6 / 10)
        added = said.trainings[shared.key] - SEEDS
        assert 1 <= added <= math.ceil(repeat / FULL)
        bounded = spec(spec_values, smallest_effect=0.1, epochs=1000)
        assert judge(moment(bounded, found, monkeypatch)).trainings == {}


class TestOutlook:
    def test_a_clear_difference_ends_at_the_next_look(self) -> None:
        evidence = evidence_of(results({"bayes": drawn(0.2, 0.01, 5), "hand": drawn(0.6, 0.01, 5)}))
        seen = look(evidence, Rule(6, 20, None))
        found = outlook(seen, 5, Price(repeat=30.0, due=4.0, seconds=2.0))
        assert found is not None
        assert (found.repeats.low, found.repeats.median, found.repeats.high) == (6, 6, 6)
        assert found.epochs.median == 34
        assert found.seconds is not None
        assert found.seconds.median == 68
        assert found.undecided == 0

    def test_none_ends_before_the_open_repeats_are_in(self) -> None:
        evidence = evidence_of(results({"bayes": drawn(0.2, 0.01, 5), "hand": drawn(0.6, 0.01, 5)}))
        found = outlook(look(evidence, Rule(6, 20, None)), 9, Price(30.0, 100.0, None))
        assert found is not None
        assert found.repeats.low == 9
        assert (found.epochs.low, found.seconds) == (100, None)

    def test_no_difference_and_a_narrow_margin_reach_the_bound(self) -> None:
        arms = {"bayes": drawn(0.2, 0.05, 6), "hand": drawn(0.2, 0.05, 6, seed=1)}
        found = outlook(
            look(evidence_of(results(arms)), Rule(6, 12, 0.0001)), 6, Price(1.0, 0.0, None)
        )
        assert found is not None
        assert found.repeats.high == 12
        assert found.undecided > 0.4

    def test_the_last_of_several_pairs_counts(self) -> None:
        clear = {"bayes": drawn(0.2, 0.03, 6), "hand": drawn(0.6, 0.03, 6, seed=1)}
        both = clear | {"other": drawn(0.21, 0.03, 6, seed=2)}
        one, two = (
            outlook(look(evidence_of(results(arms)), Rule(6, 20, 0.001)), 6, Price(1, 0, None))
            for arms in (clear, both)
        )
        assert one is not None
        assert two is not None
        assert one.repeats.median < two.repeats.median
        assert one.undecided < two.undecided

    def test_too_little_is_known(self, spec_values: Any, monkeypatch: Any) -> None:
        one = results({"bayes": [[0.1]], "hand": [[0.2]]})
        assert outlook_of(moment(spec(spec_values), one, monkeypatch)) is None
        nothing = StudyResults("s", ("bayes", "hand"), 4, 3, 0.9, ())
        assert outlook_of(moment(spec(spec_values), nothing, monkeypatch)) is None

    def test_what_is_not_finished_is_left_out_and_counted(
        self, spec_values: Any, monkeypatch: Any
    ) -> None:
        found = results({"bayes": drawn(0.2, 0.01, 4), "hand": drawn(0.5, 0.01, 4)})
        runs = (*found.runs, *(begin(found.runs[n], 4, trained=False) for n in (0, 4)))
        begun = replace(found, repeats=5, runs=runs)
        said = outlook_of(moment(spec(spec_values), begun, monkeypatch))
        assert said is not None
        assert (said.repeats.low, said.unfinished) == (5, 1)
        before = outlook_of(moment(spec(spec_values), found, monkeypatch))
        assert before is not None
        assert before.unfinished == 0

    def test_costs_are_those_so_far(self, spec_values: Any, monkeypatch: Any) -> None:
        found = results({"bayes": drawn(0.2, 0.01, 4), "hand": drawn(0.5, 0.01, 4)})
        said = outlook_of(moment(spec(spec_values), found, monkeypatch))
        assert said is not None
        assert said.epochs.low == 2 * (BUDGET + SEEDS * FULL)  # one more repeat
        assert said.seconds is not None
        assert said.seconds.low == said.epochs.low * 10  # 60 s for 6 epochs

    def test_a_list_of_configurations_costs_what_it_takes(
        self, spec_values: Any, monkeypatch: Any
    ) -> None:
        found = results({"bayes": drawn(0.2, 0.01, 4), "hand": drawn(0.5, 0.01, 4)})
        settings = spec(spec_values)
        one = ArmSpec(configs=({"lr": 0.1},))
        settings = settings.model_copy(update={"arms": {**settings.arms, "hand": one}})
        assert settings.trial.epochs < BUDGET
        said = outlook_of(moment(settings, found, monkeypatch))
        assert said is not None
        assert said.epochs.low == BUDGET + settings.trial.epochs + 2 * SEEDS * FULL

    def test_at_most(self, spec_values: Any) -> None:
        settings = spec(spec_values)
        assert most_epochs(settings) == 10 * 2 * (BUDGET + SEEDS * FULL)
        assert rule_of(settings) == Rule(4, 10, None)
        assert rule_of(spec(spec_values, max_repeats=2, smallest_effect=0.5)) == Rule(4, 4, 0.005)

    @pytest.mark.parametrize(
        ("until", "repeats", "rule"),
        [
            ("decided", 7, Rule(4, 10, None, limit=10)),
            ("decided", 12, Rule(4, 12, None, limit=10)),  # the bound was lowered
            ("repeats", 4, Rule(4, 4, None, limit=10)),
        ],
    )
    def test_the_bound_is_known_whether_or_not_the_study_goes_on(
        self, spec_values: Any, until: str, repeats: int, rule: Rule
    ) -> None:
        assert standing_rule(spec(spec_values, until=until), repeats) == rule
