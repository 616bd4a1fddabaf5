"""Several studies side by side: what is pooled, what is not, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tuneoff.search.errors import StudyError
from tuneoff.search.results.side_by_side.build import side_by_side
from tuneoff.search.results.side_by_side.records import Member
from tuneoff.search.results.statistics.pooling import pool

Make = Callable[..., Member]

NOISE = (0.001, -0.001, 0.002, -0.002, 0.0, 0.001, -0.001, 0.0)


def errors(mean: float) -> list[float]:
    """Of eight repeats."""
    return [mean + noise for noise in NOISE]


def flat(mean: float) -> list[float]:
    return [mean] * len(NOISE)


def three(make_member: Make, *better_by: float) -> list[Member]:
    """Studies of other data, in which bayes is better by so much."""
    return [
        make_member(
            f"s{i}", flat(0.2), errors(0.2 + d), data={"name": "folder", "path": f"data{i}"}
        )
        for i, d in enumerate(better_by)
    ]


class TestPooled:
    @pytest.mark.slow
    def test_row_is_the_pool_of_the_studies(self, make_member: Make) -> None:
        members = three(make_member, 0.03, 0.02, 0.04)
        found = side_by_side(members)
        pairs = [member.comparison.pairs[0] for member in members]
        expected = pool([p.mean for p in pairs], [p.standard_error or 0 for p in pairs])
        (row,) = found.pooled
        assert (row.mean, row.tau, row.standard_error) == (
            expected.mean, expected.tau, expected.standard_error,
        )  # fmt: skip
        assert (row.low, row.high) == expected.interval()
        weights = [one.entries[0].weight for one in found.rows]
        assert weights == list(expected.weights)

    @pytest.mark.slow
    def test_better(self, make_member: Make) -> None:
        found = side_by_side(three(make_member, 0.03, 0.03, 0.03, 0.03))
        assert found.pooled[0].quality == "better"
        assert found.answer == (
            "Over 4 studies, bayes finds better settings than hand: the test error is 3.00 points"
            " lower on average (+2.93 to +3.07)."
        )
        assert found.by_study == "Study by study: better in all 4."

    @pytest.mark.slow
    def test_worse_and_undecided_and_as_good(self, make_member: Make) -> None:
        worse = side_by_side(three(make_member, -0.03, -0.03, -0.03))
        assert "finds worse settings than hand" in worse.answer
        assert "3.00 points higher" in worse.answer
        mixed = side_by_side(three(make_member, -0.05, 0.05, 0.0))
        assert mixed.pooled[0].quality == "undecided"
        assert "it is undecided whether" in mixed.answer
        assert "better in s1; as good in s2; worse in s0." in mixed.by_study
        alike = side_by_side(three(make_member, 0.0, 0.0, 0.0, 0.0))
        assert alike.pooled[0].quality == "equivalent"
        assert "settings as good as hand does" in alike.answer
        assert "0.5 points" in alike.answer

    def test_margins_that_differ_cannot_say_as_good(self, make_member: Make) -> None:
        members = [
            make_member(f"s{i}", flat(0.2), errors(0.2), compare={"smallest_effect": 0.5 + i})
            for i in range(4)
        ]
        (row,) = side_by_side(members).pooled
        assert row.margin is None
        assert row.quality == "undecided"

    def test_two_studies_say_what_cannot_be_said(self, make_member: Make) -> None:
        (row,) = side_by_side(three(make_member, 0.03, 0.031)).pooled
        assert row.predicted_low is None
        assert row.spread.startswith("Two studies hardly show how much studies differ")

    @pytest.mark.slow
    def test_few_studies_are_called_few(self, make_member: Make) -> None:
        (row,) = side_by_side(three(make_member, 0.03, 0.01, 0.02)).pooled
        assert "With 3 studies, both are rough" in row.spread
        assert row.predicted_low is not None
        assert row.low is not None
        assert row.predicted_low < row.low


class TestLeftOut:
    def test_a_study_without_the_arm(self, make_member: Make) -> None:
        members = three(make_member, 0.03, 0.02)
        members.append(make_member("other", flat(0.2), errors(0.2), arms=("bayes", "grid")))
        found = side_by_side(members)
        assert found.reference == "bayes"
        assert found.baselines == ("hand", "grid")
        assert found.rows[2].entries[0].missing == "It has no arm hand."
        assert found.rows[0].entries[1].missing == "It has no arm grid."
        assert found.pooled[0].studies == ("s0", "s1")
        assert found.pooled[1].mean is None
        assert "only 1 of 3 studies, other, has" in found.pooled[1].sentence

    def test_a_study_that_has_not_begun(self, make_member: Make) -> None:
        members = [*three(make_member, 0.03), make_member("new", [], [])]
        found = side_by_side(members)
        assert found.rows[1].entries[0].missing == "Nothing has been run yet."
        assert "without an answer in new" in found.by_study
        assert "cannot be pooled: only 1 of 2 studies, s0," in found.answer

    def test_a_study_without_noise(self, make_member: Make) -> None:
        members = [
            *three(make_member, 0.03, 0.02),
            make_member("equal", flat(0.25), flat(0.5)),
            make_member("one", [0.2], [0.3]),
        ]
        found = side_by_side(members)
        assert found.pooled[0].studies == ("s0", "s1")
        assert found.rows[2].entries[0].left_out == "all its differences are equal"
        assert found.rows[3].entries[0].left_out == "nothing is known of its noise"
        assert any(note.startswith("equal is not in the pooled difference") for note in found.notes)


class TestSettings:
    def test_columns_are_what_differs(self, make_member: Make) -> None:
        members = [
            make_member(
                "a",
                flat(0.2),
                errors(0.2),
                data={"name": "folder", "path": "some/x"},
                trial={"epochs": 3},
            ),
            make_member("b", flat(0.2), errors(0.2), data={"name": "digits"}, trial={"epochs": 9}),
        ]
        found = side_by_side(members)
        assert found.columns == ("Data", "Epochs of a run")
        assert [row.settings["Data"] for row in found.rows] == ["x", "digits"]
        assert found.shared["Budget, epochs"] == "9"
        assert "trial.epochs" not in found.rows[0].others

    def test_other_settings_are_listed(self, make_member: Make) -> None:
        members = [
            make_member("a", flat(0.2), errors(0.2)),
            make_member("b", flat(0.2), errors(0.2), space={"lr": {"low": 1e-3, "high": 1.0}}),
        ]
        found = side_by_side(members)
        assert found.rows[0].others["space.lr.low"] == "0.0001"
        assert found.rows[1].others["space.lr.low"] == "0.001"
        assert "The studies do not search the same space." in found.notes

    def test_arms_that_are_not_alike_are_named(self, make_member: Make) -> None:
        arms = {"bayes": {"sampler": "gp"}, "hand": {"configs": [{"lr": 0.1}]}}
        members = [
            make_member("a", flat(0.2), errors(0.2)),
            make_member("b", flat(0.2), errors(0.2), sections={"arms": arms}),
        ]
        notes = side_by_side(members).notes
        assert any("The arm bayes is not the same in all studies" in note for note in notes)

    def test_the_same_images_are_no_independent_evidence(self, make_member: Make) -> None:
        members = [make_member(name, flat(0.2), errors(0.2)) for name in "ab"]
        assert any(
            "a and b are measured on the same images" in n for n in side_by_side(members).notes
        )
        apart = side_by_side(three(make_member, 0.0, 0.0))
        assert not any("same images" in note for note in apart.notes)


@pytest.mark.slow
def test_reference_by_name(make_member: Make) -> None:
    members = three(make_member, 0.03, 0.03, 0.03)
    found = side_by_side(members, "hand")
    assert found.baselines == ("bayes",)
    assert found.pooled[0].mean == pytest.approx(-0.03)
    with pytest.raises(StudyError, match="no study has an arm 'tpe'; there are: bayes, hand"):
        side_by_side(members, "tpe")
