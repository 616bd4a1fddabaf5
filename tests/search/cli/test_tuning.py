"""A person tunes by hand: lines in, own curves out, nothing of the other arms before the end."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.cli.tuning import _Session
from tuneoff.search.errors import UserError
from tuneoff.search.results.read import read_results
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import ENTERED, NOTE
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.signals import Stop
from tuneoff.search.work.tuning import Try, Tuning, parse_try, run_try
from tuneoff.search.work.worker import work

ARMS = {"hand": {"configs": []}, "zz-machine": {"sampler": "random"}}
SPACE = {"lr": {"low": 1e-4, "high": 1.0, "log": True}}


@pytest.fixture
def study(database: Any, make_study: Any) -> Any:
    return make_study(database, arms=ARMS, repeats=2, budget={"epochs": 9}, space=SPACE)


@pytest.fixture
def session(
    study: Any, reopen: Any, make_trainer: Any, me: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """Holds a session that reads these lines."""

    def hold(*lines: str, stop: Any = None) -> None:
        tuning, asked = Tuning.of(study, None), stop or Stop()
        helper = open_study(reopen(study.database), study.name, study.work)

        def run(number: int) -> Try:
            show = lambda one: print("epoch", max(one.errors, default=0))  # noqa: E731
            return run_try(tuning, number, helper, make_trainer(), me, asked, show, pause)

        def pause(seconds: float) -> None:
            time.sleep(seconds / 30)

        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        _Session(tuning, run, asked).hold()

    return hold


@pytest.mark.slow
def test_tries_are_trained_shown_and_kept_in_every_repeat(
    study: Any, session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    session("lr=0.1 note: as in the paper", "list", "best", "quit")
    said = capsys.readouterr().out
    assert "#0: lr = 0.1" in said
    assert "epoch 3" in said
    assert "It is your best so far. 6 epochs left." in said
    assert "as in the paper" in said
    for search in study.arms:
        mine = study.trials(search)
        assert len(mine) == (search.arm == "hand")
        for trial in mine:
            assert trial.params == {"lr": 0.1}
            assert NOTE.get(trial) == "as in the paper"
            assert ENTERED.is_set(trial)
    assert study.trials(study.arms[0])[0].state.is_finished()


@pytest.mark.slow
def test_nothing_of_the_other_arms_is_shown_before_the_budget_is_spent(
    study: Any, session: Any, make_trainer: Any, me: Any, never: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    machine = [search for search in study.arms if search.arm == "zz-machine"]
    work(study, machine, make_trainer(), me, never)
    capsys.readouterr()
    session("lr=0.1", "list", "best", "space", "help")
    assert "zz-machine" not in capsys.readouterr().out
    session("lr=0.2", "lr=0.3", "lr=0.4")
    said = capsys.readouterr().out
    before, spent, after = said.partition("Your budget is spent.")
    assert spent
    assert "zz-machine" not in before
    assert "zz-machine" in after
    assert len(study.trials(study.arms[0])) == 3  # the fourth found no budget, and cost nothing


@pytest.mark.slow
def test_what_is_entered_after_the_reveal_is_told(
    study: Any, session: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session("lr=0.1", "reveal", "no", "quit")
    assert Snapshot.of(study).revealed is None
    session("reveal", "yes", "quit")
    assert Snapshot.of(study).revealed is not None
    (remark,) = read_results(Snapshot.of(study)).facts["hand"].remarks
    assert remark == "has 2 runs that people entered while the study went on"
    monkeypatch.setattr(ENTERED, "get", lambda _: "2999")
    (remark,) = read_results(Snapshot.of(study)).facts["hand"].remarks
    assert remark.endswith(", 2 of them after the other arms' results had been seen")


@pytest.mark.slow
def test_a_session_that_is_left_is_gone_on_with(
    study: Any, session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    Tuning.of(study, None).enter({"lr": 0.1}, "")
    session("list")
    said = capsys.readouterr().out
    assert "Going on with #0: lr = 0.1" in said
    assert "#0 ends at" in said
    assert "Bye." in said


@pytest.mark.slow
def test_who_wants_to_leave_pauses_safely(
    study: Any, session: Any, make_trainer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Soon(Stop):
        asked = 0

        def __call__(self) -> bool:
            Soon.asked += 1
            return Soon.asked > 3

    session("lr=0.1", stop=Soon())
    said = capsys.readouterr().out
    assert "Stopped. The same command goes on from here." in said
    session("quit")
    assert study.trials(study.arms[0])[0].state.is_finished()


@pytest.mark.slow
def test_a_study_that_was_stopped_trains_nothing(
    study: Any, session: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    study.drain(True)
    with pytest.raises(UserError, match="--undo` takes it back"):
        session("lr=0.1")
    assert "#0 is paused after epoch 0." in capsys.readouterr().out


@pytest.mark.slow
def test_many_sessions_never_spend_more_than_the_budget(study: Any, reopen: Any) -> None:
    refused: list[str] = []
    databases = [reopen(study.database) for _ in range(6)]

    def enter(i: int) -> None:
        mine = Tuning.of(open_study(databases[i], study.name, study.work), None)
        try:
            mine.enter({"lr": 0.1 + i / 100}, "")
        except UserError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=enter, args=[i]) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(study.trials(study.arms[0])) == 3
    assert len(refused) == 3
    assert Tuning.of(study, None).left() == 0


class TestLines:
    tuning: Any

    @pytest.fixture(autouse=True)
    def _tuning(self, sqlite_database: Any, make_study: Any) -> None:
        space = {**SPACE, "momentum": {"low": 0.5, "high": 0.99}}
        self.tuning = Tuning.of(make_study(sqlite_database, arms=ARMS, space=space), None)

    @pytest.mark.parametrize(
        ("line", "last", "params", "note"),
        [
            ("lr=0.1 momentum=0.9", None, {"lr": 0.1, "momentum": 0.9}, ""),
            ("lr=0.1", {"lr": 0.2, "momentum": 0.7}, {"lr": 0.1, "momentum": 0.7}, ""),
            ("note: again", {"lr": 0.2, "momentum": 0.7}, {"lr": 0.2, "momentum": 0.7}, "again"),
            ("momentum='0.8' note: a=b \"", {"lr": 0.2}, {"lr": 0.2, "momentum": 0.8}, 'a=b "'),
        ],
    )
    def test_what_is_left_out_keeps_its_value(
        self, line: str, last: Any, params: Any, note: str
    ) -> None:
        assert parse_try(self.tuning, line, last) == (params, note)

    @pytest.mark.parametrize(
        "line",
        ["lr=0.1", "lr=9 momentum=0.9", "foo", "lr=x momentum=0.9", "rate=1", "lr='0.1", "="],
    )
    def test_what_is_wrong_costs_nothing(self, line: str) -> None:
        with pytest.raises(UserError):
            parse_try(self.tuning, line, None)


@given(
    line=st.text(max_size=80),
    lr=st.floats(1e-4, 1.0),
)
def test_any_line_is_a_try_or_one_line_of_reason(line: str, lr: float) -> None:
    values = {
        "name": "s", "data": {"name": "digits"}, "space": SPACE, "budget": {"epochs": 9},
        "trial": {"epochs": 3}, "arms": ARMS,
    }  # fmt: skip

    class Study:
        space = SearchSpace.of(StudySpec.parse(values, "test"))

    tuning: Any = type("T", (), {"study": Study})
    try:
        params, _ = parse_try(tuning, line, {"lr": lr})
    except UserError:
        pass  # with one line that says why; anything else is a fault
    else:
        assert set(params) == {"lr"}
    assert parse_try(tuning, f"lr={lr!r} note: {line}", None)[0] == {"lr": lr}
