"""How top-k shares out a budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.top_k import TopKPlan


def plan(horizon: int, budget: int, **settings: int) -> TopKPlan:
    return TopKPlan.of(ArmSpec.model_validate({"sampler": "top-k", **settings}), horizon, budget)


@pytest.mark.parametrize(
    ("horizon", "budget", "settings", "wanted"),
    [
        # Half of 54 epochs pays for 27; the other half for five ends; the rest for two more.
        (6, 54, {}, TopKPlan(1, 29, 5)),
        (52, 520, {}, TopKPlan(3, 91, 5)),
        (6, 54, {"min_epochs": 2}, TopKPlan(2, 13, 7)),
        (6, 54, {"full": 3}, TopKPlan(1, 39, 3)),
        (6, 54, {"candidates": 10}, TopKPlan(1, 10, 8)),
        (6, 54, {"candidates": 10, "full": 3}, TopKPlan(1, 10, 3)),
        (6, 6, {}, TopKPlan(1, 1, 1)),
        (6, 7, {}, TopKPlan(1, 2, 1)),
        # So short that half of it pays for fewer than there can be full runs.
        (2, 20, {}, TopKPlan(1, 10, 10)),
        # Nothing is left to choose for.
        (1, 9, {}, TopKPlan(1, 9, 9)),
        (3, 10, {"min_epochs": 3}, TopKPlan(3, 3, 3)),
        (3, 10, {"min_epochs": 5, "full": 2}, TopKPlan(3, 2, 2)),
    ],
)
def test_the_budget_is_shared_out(
    horizon: int, budget: int, settings: dict[str, int], wanted: TopKPlan
) -> None:
    assert plan(horizon, budget, **settings) == wanted


@given(
    horizon=st.integers(1, 60), more=st.integers(0, 600), first=st.none() | st.integers(1, 70),
    candidates=st.none() | st.integers(1, 40), full=st.none() | st.integers(1, 40),
)  # fmt: skip
def test_a_plan_is_paid_for_or_refused(
    horizon: int, more: int, first: int | None, candidates: int | None, full: int | None
) -> None:
    settings = {"min_epochs": first, "candidates": candidates, "full": full}
    budget = horizon + more
    try:
        found = plan(horizon, budget, **{k: v for k, v in settings.items() if v is not None})
    except ValueError:
        assert candidates is not None or full is not None
        return
    assert 1 <= found.full <= found.candidates
    assert 1 <= found.first <= horizon
    cost = found.candidates * found.first + found.full * (horizon - found.first)
    assert cost <= budget
    if candidates is None and full is None:
        assert budget - cost < max(found.first, 1) or found.first == horizon
    if horizon > found.first:
        assert found.candidates == candidates or candidates is None
        assert found.full == full or full is None
