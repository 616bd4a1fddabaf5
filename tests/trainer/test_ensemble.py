"""The paper's equations against numbers worked out by hand, and other combinations."""

from __future__ import annotations

import math
import sys
import types
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff import references
from tuneoff.trainer import ensemble
from tuneoff.trainer.contract import Judge, Scores
from tuneoff.trainer.recipe import Recipe
from tuneoff.trainer.registry import COMBINATIONS


def scores(probabilities: list[list[float]], labels: list[int]) -> Scores:
    safe = np.maximum(np.array(probabilities, dtype=np.float32), 1e-30)
    return Scores(np.log(safe), np.array(labels))


def test_equation_1_is_softmax_over_classes() -> None:
    member = Scores(np.array([[0.0, math.log(3.0)]], dtype=np.float32), np.array([1]))
    assert ensemble.stack([member])[0, 0] == pytest.approx([0.25, 0.75])


def test_equation_1_survives_huge_scores() -> None:
    member = Scores(np.array([[1e4, -1e4]], dtype=np.float32), np.array([0]))
    assert ensemble.stack([member])[0, 0].tolist() == [1.0, 0.0]


def test_equation_2_by_hand() -> None:
    o = np.array([[[0.25, 0.75]], [[0.6, 0.4]]])
    for_0 = math.exp(0.25) + math.exp(0.6)  # 1.284025 + 1.822119 = 3.106144
    for_1 = math.exp(0.75) + math.exp(0.4)  # 2.117000 + 1.491825 = 3.608825
    assert for_0 == pytest.approx(3.106144, abs=1e-6)
    assert for_1 == pytest.approx(3.608825, abs=1e-6)
    expected = [3.106144 / 6.714969, 3.608825 / 6.714969]
    assert ensemble.paper(o)[0] == pytest.approx(expected, abs=1e-6)


def test_paper_lets_one_sure_model_outweigh_two_mild_ones_where_the_mean_does_not() -> None:
    members = [[0.95, 0.05], [0.27, 0.73], [0.27, 0.73]]
    test = [scores([member], [0]) for member in members]
    paper, _ = ensemble.combine("paper", [], test)
    mean, _ = ensemble.combine("mean", [], test)
    assert paper.logits.argmax() == 0  # e^.95 + 2 e^.27 = 5.206 > e^.05 + 2 e^.73 = 5.201
    assert mean.logits.argmax() == 1  # 1.49 < 1.51


def test_mean() -> None:
    test = [scores([[0.2, 0.8]], [0]), scores([[0.6, 0.4]], [0])]
    combined, weights = ensemble.combine("mean", [], test)
    assert np.exp(combined.logits[0]) == pytest.approx([0.4, 0.6], abs=1e-6)
    assert weights == (0.5, 0.5)


def test_vote_counts_heads_and_breaks_ties_by_probability() -> None:
    majority = [scores([[0.51, 0.49]], [0]), scores([[0.51, 0.49]], [0]), scores([[0, 1]], [0])]
    tie = [scores([[0.6, 0.4]], [0]), scores([[0.1, 0.9]], [0])]
    assert ensemble.combine("vote", [], majority)[0].logits.argmax() == 0
    assert ensemble.combine("vote", [], tie)[0].logits.argmax() == 1


def test_weighted_by_validation_accuracy() -> None:
    good = scores([[0.9, 0.1], [0.1, 0.9], [0.8, 0.2]], [0, 1, 0])
    bad = scores([[0.1, 0.9], [0.1, 0.9], [0.2, 0.8]], [0, 1, 0])
    _, weights = ensemble.combine("weighted", [good, bad], [good, bad])
    assert weights == pytest.approx((0.75, 0.25))


def test_weighted_falls_back_to_equal_weights() -> None:
    wrong = scores([[0.1, 0.9]], [0])
    assert ensemble.combine("weighted", [wrong, wrong], [wrong, wrong])[1] == (0.5, 0.5)


def test_greedy_leaves_out_a_useless_member() -> None:
    good = scores([[0.9, 0.1], [0.1, 0.9]], [0, 1])
    bad = scores([[0.1, 0.9], [0.9, 0.1]], [0, 1])
    _, weights = ensemble.combine("greedy", [bad, good], [bad, good])
    assert weights == (0.0, 1.0)


def test_greedy_takes_members_that_complement_each_other() -> None:
    a = scores([[0.9, 0.1, 0.0], [0.1, 0.4, 0.5], [0.1, 0.3, 0.6]], [0, 1, 2])
    b = scores([[0.4, 0.0, 0.6], [0.0, 0.9, 0.1], [0.3, 0.1, 0.6]], [0, 1, 2])
    combined, weights = ensemble.combine("greedy", [a, b], [a, b])
    assert min(weights) > 0
    assert combined.error == 0


# The first is right most often; the second is never wrong by much, and orders images well.
RIGHT = scores([[0.6, 0.4]] * 3 + [[0.999, 0.001]], [0, 0, 0, 1])
ORDERED = scores([[0.49, 0.51]] * 3 + [[0.1, 0.9]], [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("recipe", "worst", "expected"),
    [
        (None, 1.0, (0.75, 0.25)),
        (Recipe(metric="log-loss"), math.log(2), (0.0, 1.0)),
        (Recipe(metric="auroc"), -0.5, (0.0, 1.0)),
        (Recipe(metric="auroc", metric_as="1 - value"), 1.0, (0.0, 1.0)),
        (Recipe(metric="macro-error"), 1.0, (0.5, 0.5)),
    ],
)
def test_members_are_weighted_by_the_metric(
    recipe: Recipe | None, worst: float, expected: tuple[float, float]
) -> None:
    both, judge = [RIGHT, ORDERED], Judge(recipe, worst)
    assert ensemble.combine("weighted", both, both, judge)[1] == pytest.approx(expected)


@pytest.mark.slow
def test_greedy_takes_the_best_by_the_metric_whatever_its_direction() -> None:
    both = [RIGHT, ORDERED]
    assert min(ensemble.combine("greedy", both, both)[1]) > 0  # no image is wrong then
    for metric in ("auroc", "log-loss"):
        _, weights = ensemble.combine("greedy", both, both, Judge(Recipe(metric=metric)))
        assert weights == (0.0, 1.0)


def test_a_metric_of_a_users_own_chooses_members(monkeypatch: pytest.MonkeyPatch) -> None:
    def share_of_the_rare(labels: Any, probabilities: Any) -> float:
        return float(probabilities[labels == 1, 1].mean())

    share_of_the_rare.__module__ = "its_metric"
    module = types.ModuleType("its_metric")
    vars(module)["share"] = share_of_the_rare
    monkeypatch.setitem(sys.modules, "its_metric", module)
    monkeypatch.setattr(references, "_allowed", {"its_metric"})
    both = [RIGHT, ORDERED]
    judge = Judge(Recipe(metric="its_metric:share", metric_as="-value"), 0.0)
    weights = ensemble.combine("weighted", both, both, judge)[1]
    assert weights == pytest.approx((0.001 / 0.901, 0.9 / 0.901))
    assert ensemble.combine("greedy", both, both, judge)[1] == (0.0, 1.0)


def test_unequal_images_are_refused() -> None:
    a, b = scores([[0.5, 0.5]], [0]), scores([[0.5, 0.5]], [1])
    with pytest.raises(ValueError, match="members 0 and 1 do not score the same images"):
        ensemble.combine("mean", [], [a, b])
    with pytest.raises(ValueError, match="do not score the same images"):
        ensemble.combine("greedy", [a, b], [a, a])
    with pytest.raises(ValueError, match="at least one"):
        ensemble.combine("mean", [], [])
    with pytest.raises(ValueError, match="validation are of 1 members and those on test of 2"):
        ensemble.combine("weighted", [a], [a, a])
    with pytest.raises(ValueError, match="unknown combination 'median'; did you mean"):
        ensemble.combine("median", [], [a])


@settings(deadline=None)
@given(
    st.sampled_from(COMBINATIONS.names),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(2, 5),
    st.integers(0, 2**32 - 1),
)
def test_outputs_are_distributions(
    how: str, members: int, images: int, classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    test = [
        Scores((20 * rng.normal(size=(images, classes))).astype(np.float32), labels)
        for _ in range(members)
    ]
    combined, weights = ensemble.combine(how, test, test)
    assert np.exp(combined.logits.astype(np.float64)).sum(1) == pytest.approx(np.ones(images))
    assert np.isfinite(combined.logits).all()
    assert sum(weights) == pytest.approx(1)
    assert len(weights) == members
    if members == 1:
        assert combined.error == test[0].error
