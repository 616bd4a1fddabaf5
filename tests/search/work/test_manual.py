"""Configurations entered by hand: read from options, refused when the budget is promised."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState

from tuneoff.search.errors import UserError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import ENTERED, NOTE
from tuneoff.search.study.trial_ref import add_trial
from tuneoff.search.work import manual
from tuneoff.search.work.manual import enqueue_by_hand, parse_params
from tuneoff.search.work.worker import work

SPACE = {
    "momentum": {"low": 0.5, "high": 0.99},
    "batch_size": {"low": 8, "high": 64},
    "schedule": ["step", "cosine"],
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
}
GOOD = {
    "lr": 0.03, "momentum": 0.9, "batch_size": 16, "schedule": "step", "weight_decay": 1e-4,
}  # fmt: skip
REST = ["--momentum", "0.9", "--batch-size=16", "--schedule", "step", "--weight_decay=1e-4"]
HAND = {"hand": {"configs": [{"lr": 0.1}]}, "random": {"sampler": "random"}}


@pytest.fixture
def space(spec_values: Any) -> SearchSpace:
    return SearchSpace.of(StudySpec.parse(spec_values(space=SPACE), "test"))


def test_options_are_read_in_either_form(space: SearchSpace) -> None:
    assert parse_params(space, ["--lr", "0.03", *REST]) == GOOD
    assert parse_params(space, ["--lr=0.03", *REST]) == GOOD
    assert parse_params(space, [*REST, "--lr", "3e-2"]) == GOOD


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lr"], "--lr has no value"),
        (["0.03"], "0.03 has no value"),
        (["lr", "0.03"], "lr: this study does not search it; it searches: --lr, --momentum"),
        (["--rate", "0.03"], "--rate: this study does not search it"),
        (["--lr", "fast"], "--lr fast: is not a number"),
        (["--lr", "7", *REST], "lr = 7.0 lies outside the space"),
        (["--lr", "-1", *REST], "lr = -1.0 lies outside the space"),
        (["--lr", "nan", *REST], "lr = nan lies outside the space"),
        (["--lr", "inf", *REST], "lr = inf lies outside the space"),
        (["--lr", "0.03", *REST, "--batch_size", "16.5"], "--batch_size 16.5: is not a number"),
        (["--lr", "0.03", *REST, "--schedule", "none"], "choose one of: step, cosine"),
        (REST, "lr is missing"),
        ([], "lr is missing"),
    ],
)
def test_a_bad_option_gets_one_line(space: SearchSpace, words: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_params(space, words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_configuration_waits_in_every_repeat(database: Any, make_study: Any) -> None:
    study = make_study(database, arms=HAND, repeats=2)
    labels = enqueue_by_hand(study, {"lr": 0.03}, None, None, "a hunch")
    assert labels == [f"{study.name}/hand/0#0", f"{study.name}/hand/1#0"]
    assert enqueue_by_hand(study, {"lr": 0.04}, "hand", 1, None) == [f"{study.name}/hand/1#1"]
    for search in (g for g in study.arms if g.arm == "hand"):
        first = study.trials(search)[0]
        assert (first.state, first.params) == (TrialState.WAITING, {"lr": 0.03})
        assert NOTE.of(first) == "a hunch"
        assert ENTERED.of(first).endswith("+00:00")


@pytest.mark.slow
def test_a_promised_budget_refuses_and_adds_nothing(database: Any, make_study: Any) -> None:
    study = make_study(database, arms=HAND, repeats=2)
    for lr in (0.01, 0.02, 0.03):
        enqueue_by_hand(study, {"lr": lr}, None, 1, None)
    with pytest.raises(
        UserError, match=r"hand/1: a trial takes 3 epochs, and of the budget 0 are left"
    ):
        enqueue_by_hand(study, {"lr": 0.04}, None, None, None)
    assert [len(study.trials(g)) for g in study.arms if g.arm == "hand"] == [0, 3]


@pytest.mark.slow
def test_what_is_entered_is_run_and_paid_for(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study = make_study(database, arms={"hand": HAND["hand"]})
    enqueue_by_hand(study, {"lr": 0.03}, None, None, None)
    trainer = make_trainer()
    assert work(study, study.arms, trainer, me, never).attempts == 2
    assert [t.params["lr"] for t in study.trials(study.arms[0])] == [0.03, 0.1]
    enqueue_by_hand(study, {"lr": 0.02}, None, None, None)
    with pytest.raises(UserError, match="of the budget 0 are left"):
        enqueue_by_hand(study, {"lr": 0.02}, None, None, None)
    assert work(study, study.arms, trainer, me, never).attempts == 1
    check_ledger(study, trainer)


@pytest.mark.slow
def test_many_who_enter_at_once_share_what_is_left(
    database: Any, make_study: Any, reopen: Any
) -> None:
    study = make_study(database, arms=HAND, budget={"epochs": 8})  # room for two
    everybody = threading.Barrier(8)

    def enter(mine: Any) -> str:
        everybody.wait(20)
        try:
            return "".join(enqueue_by_hand(mine, {"lr": 0.03}, None, None, None))
        except UserError as error:
            return str(error)
        finally:
            mine.database.optuna.remove_session()

    studies = [replace(study, database=reopen(database)) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(enter, studies))
    name = f"{study.name}/hand/0"
    assert answers[:2] == [f"{name}#0", f"{name}#1"]
    assert all("and of the budget 2 are left" in answer for answer in answers[2:])
    assert len(study.trials(study.arms[0])) == 2


@pytest.mark.slow
def test_who_comes_too_late_for_one_repeat_is_told_where_it_was_added(
    sqlite_database: Any, make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(sqlite_database, arms=HAND, repeats=2, budget={"epochs": 3})
    hand = [search for search in study.arms if search.arm == "hand"]
    real = add_trial

    def add(study: Any, search: Any, state: Any, job: Any) -> Any:
        if search is hand[0]:  # meanwhile somebody else takes what is left of the other repeat
            real(study, hand[1], state, job)
        return real(study, search, state, job)

    monkeypatch.setattr(manual, "add_trial", add)
    with pytest.raises(UserError, match=r"hand/1: .*; it was added to the others: .*hand/0#0$"):
        enqueue_by_hand(study, {"lr": 0.03}, None, None, None)
    assert [len(study.trials(search)) for search in hand] == [1, 1]


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("false", False), ("0.0001", 1e-4), ("1e-4", 1e-4)],
)
def test_a_choice_is_written_as_in_the_file(spec_values: Any, text: str, value: Any) -> None:
    choices = [True, False] if isinstance(value, bool) else [1e-4, 1e-3]
    name = "nesterov" if isinstance(value, bool) else "weight_decay"
    space = SearchSpace.of(StudySpec.parse(spec_values(space={name: choices}), "test"))
    found = parse_params(space, ["--lr", "0.1", f"--{name}", text])[name]
    assert (found, type(found)) == (value, type(value))
    with pytest.raises(UserError, match=r"choose one of: (true, false|0.0001, 0.001)$"):
        parse_params(space, ["--lr", "0.1", f"--{name}", "perhaps"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arms", "arm", "repeat", "message"),
    [
        (HAND, "random", None, "has no such hand-tuned arm; choose one of: hand"),
        (HAND, "nobody", None, "--arm nobody: study small"),
        (HAND, None, 5, "--repeat 5: there is no such repeat; choose from 0 to 0"),
        (HAND, None, -1, "--repeat -1: there is no such repeat"),
        ({"random": {"sampler": "random"}}, None, None, "has 0 hand-tuned arms"),
        ({"a": HAND["hand"], "b": HAND["hand"]}, None, None, "has 2 hand-tuned arms; choose"),
    ],
)
def test_a_bad_arm_or_repeat_gets_one_line(
    sqlite_database: Any, make_study: Any, arms: Any, arm: Any, repeat: Any, message: str
) -> None:
    study = make_study(sqlite_database, arms=arms)
    with pytest.raises(UserError) as caught:
        enqueue_by_hand(study, {"lr": 0.03}, arm, repeat, None)
    assert message in str(caught.value)
