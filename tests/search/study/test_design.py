"""The design of a table of learning curves: hand-tuned configurations, then a filled space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.arm_section import without_note
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.study.design import ARM, table_spec
from tuneoff.search.study.keys import key_of

HAND = {
    "first": {"configs": [{"lr": 0.1, "note": "as ever"}, {"lr": 0.2}]},
    "second": {"configs": [{"lr": 0.2}, {"lr": 0.3}]},
    "bayes": {"sampler": "random"},
}


def test_hand_tuned_configurations_come_first_and_once(
    spec_values: Callable[..., dict[str, Any]],
) -> None:
    spec = StudySpec.parse(spec_values(arms=HAND, promote={"epochs": 9}), "test")
    made = table_spec(spec, 20, 3)
    configs = made.arms[ARM].configs
    assert configs is not None
    assert len({key_of(without_note(config)) for config in configs}) == len(configs) == 23
    assert made.table is not None
    assert dict(made.table.hand) == {"first": (0, 1), "second": (1, 2)}
    assert configs[1] == {"lr": 0.2, "note": "hand-tuned: first, second"}
    assert made.name == f"{spec.name}-table"
    assert made.repeats == 3
    assert made.budget.epochs == 23 * spec.trial.epochs
    assert made.promote is None
    assert made.trial == spec.trial
    assert made.data == spec.data


def test_equal_files_give_equal_designs_and_other_seeds_others(
    spec_values: Callable[..., dict[str, Any]],
) -> None:
    specs = [StudySpec.parse(spec_values(seed=seed), "test") for seed in (1, 1, 2)]
    first, same, other = (table_spec(spec, 4, 1).arms[ARM].configs for spec in specs)
    assert first == same != other


@pytest.mark.slow
def test_a_space_of_few_configurations_is_taken_whole(
    spec_values: Callable[..., dict[str, Any]],
) -> None:
    values = spec_values(arms={"random": {"sampler": "random"}})
    values["space"] = {"batch_size": [8, 16], "flip": [True, False]}
    made = table_spec(StudySpec.parse(values, "test"), 20, 2)
    assert made.table is not None
    assert made.table.filling == len(made.arms[ARM].configs or ()) == 4


@pytest.mark.parametrize(
    ("changes", "said"), [({"name": "n" * 60}, "too long"), ({"table": True}, "a table itself")]
)
def test_what_can_have_no_table(
    spec_values: Callable[..., dict[str, Any]], changes: dict[str, Any], said: str
) -> None:
    table = changes.pop("table", False)
    spec = StudySpec.parse(spec_values(**changes), "test")
    with pytest.raises(SpecError, match=said):
        table_spec(table_spec(spec, 1, 1) if table else spec, 1, 1)
