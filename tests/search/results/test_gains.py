"""What ``status`` says of further epochs, and of searches that ended early."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from tuneoff.metric import ERROR
from tuneoff.search.cli.status_view import gain_sentences
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.policies.gain import LEAST_RUNS, Gain, Kind, forecast
from tuneoff.search.policies.stopping import full_runs
from tuneoff.search.results.compare import compare
from tuneoff.search.results.early_stop import EarlyStop, early_stop_note
from tuneoff.search.results.gains import ArmGain, epochs_ahead, mixed_quantile
from tuneoff.search.results.read import read_results
from tuneoff.search.results.records import ArmRun
from tuneoff.search.results.status import read_status
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.state import history, read_state
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work.worker import work

EPOCHS = 3
gains = st.lists(
    st.builds(Gain, none=st.floats(0, 1), size=st.just(0.0) | st.floats(1e-4, 0.4)),
    min_size=1,
    max_size=6,
)


def add_run(study: Study, search: Search, me: Worker, error: float | None) -> TrialRef:
    """A full run with this error; one that diverged if it is None."""
    made = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, EPOCHS))
    row = attempts.insert(study.database, me, search.name, made.number, 0, 0, EPOCHS)
    attempts.progress(study.database, row, EPOCHS, 1.0)
    if error is None:
        made.tell_diverged(1)
    else:
        made.tell(TrialState.COMPLETE, error)
    attempts.close(study.database, row, "finished")
    return made


@given(gains, st.floats(0.01, 0.99))
def test_a_quantile_of_several_forecasts_lies_among_theirs(found: list[Gain], share: float) -> None:
    quantile = mixed_quantile(found, share)
    each = [gain.quantile(share) for gain in found]
    assert min(each) - 1e-12 <= quantile <= max(each) + 1e-12
    if quantile > 0:
        assert np.mean([gain.below(quantile) for gain in found]) == pytest.approx(share, abs=1e-6)


@pytest.mark.slow
def test_the_forecast_is_that_of_the_rule(
    database: Database, make_study: Callable[..., Study], me: Worker
) -> None:
    """Counted by the database or from the trials, it is the same; live runs are left out."""
    study = make_study(database, budget={"epochs": 99, "stop_when": "gain < 0.01 within 40 epochs"})
    (search,) = study.arms
    rng = np.random.default_rng(0)
    for error in rng.random(LEAST_RUNS - 1):
        add_run(study, search, me, float(error))
    add_run(study, search, me, None)
    (none,) = read_status(study).gains
    assert none == ArmGain(
        "random", 40, 0, why_not="no search has 5 full runs yet that are better than guessing"
    )
    add_run(study, search, me, 0.3)
    made = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, EPOCHS))
    row = attempts.insert(study.database, me, search.name, made.number, 0, 0, EPOCHS)
    attempts.progress(study.database, row, 2, 1.0)
    (found,) = read_status(study).gains
    seen = full_runs(history(study, search, read_state(study, search)), study.task.chance_error)
    assert (seen.failed, seen.epochs) == (1, 6 * EPOCHS)
    gain = forecast(seen, 40, Kind.of("random"))
    assert found.mean == pytest.approx(gain.mean)
    assert found.low == pytest.approx(gain.quantile(0.1))
    assert found.high == pytest.approx(gain.quantile(0.9))
    assert (found.epochs, found.searches) == (40, 1)


def test_how_far_a_forecast_looks(make_study: Any, sqlite_database: Database) -> None:
    ahead = [
        epochs_ahead(make_study(sqlite_database, budget=budget).spec)
        for budget in (
            {"epochs": 9},
            {"epochs": 99},
            {"epochs": 99, "stop_when": "gain < 1 within 7 epochs"},
        )
    ]
    assert ahead == [3, 24, 7]


def test_a_list_has_no_forecast(make_study: Any, sqlite_database: Database) -> None:
    study = make_study(sqlite_database, arms={"hand": {"configs": [{"lr": 0.1}]}})
    (gain,) = read_status(study).gains
    assert gain.why_not == "its list is run to the end, and nothing comes after it"
    assert gain_sentences([gain], ERROR) == []


def test_a_forecast_in_words() -> None:
    assert gain_sentences([ArmGain("random", 1200, 2, 0.00061, 0.0, 0.0021)], ERROR) == [
        "Another 1,200 epochs of random would probably lower its best validation "
        "error by 0.06 points (80% interval 0.00 to 0.21)."
    ]


@pytest.mark.slow
def test_status_says_what_stopped_and_counts_no_time_for_it(
    sqlite_database: Database, make_study: Callable[..., Study], make_trainer: Any, me: Worker
) -> None:
    study = make_study(
        sqlite_database,
        repeats=2,
        budget={"epochs": 120, "stop_when": "gain < 50 within 12 epochs"},
    )
    first, second = study.arms
    work(study, [first], make_trainer(), me, lambda: False)
    made = add_trial(study, second, TrialState.RUNNING, NewTrial({"lr": 0.1}, EPOCHS))
    attempts.insert(study.database, me, second.name, made.number, 0, 0, EPOCHS)
    status = read_status(study)
    spent = status.arms[0].spent
    (said,) = status.stopped
    assert said.startswith(
        f"{first.name} stopped early after {spent} of 120 epochs: expected gain "
    )
    assert said.endswith(" points within 12 epochs.")
    assert status.seconds_left == pytest.approx(120 * status.arms[0].seconds / spent)


def test_no_time_is_left_for_what_a_list_or_a_rest_of_the_budget_never_trains(
    sqlite_database: Database, make_study: Callable[..., Study], me: Worker
) -> None:
    arms = {"hand": {"configs": [{"lr": 0.1}, {"lr": 0.2}]}, "random": {"sampler": "random"}}
    study = make_study(sqlite_database, budget={"epochs": 11}, arms=arms)
    hand, random = study.arms
    for _ in range(3):
        add_run(study, random, me, 0.4)  # 2 of 11 epochs are left: no run
    made = add_trial(study, hand, TrialState.RUNNING, NewTrial({"lr": 0.1}, EPOCHS))
    attempts.insert(study.database, me, hand.name, made.number, 0, 0, EPOCHS)
    status = read_status(study)
    seconds = status.arms[1].seconds
    assert status.seconds_left == pytest.approx(2 * EPOCHS * seconds / 9)


def runs(stops: dict[int, float], repeats: int) -> list[ArmRun]:
    """Runs of an arm: by repeat, the epochs that one which ended early spent, and its gain."""
    return [
        ArmRun(
            "random", r, 54, int(stops.get(r, 54)), 0.0, {}, (), None,
            early_stop=EarlyStop(stops[r] % 1 / 100, 50) if r in stops else None,
        )
        for r in range(repeats)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (runs({}, 2), ""),
        (
            runs({0: 34.06}, 1),
            "random stopped early after 34 of 54 epochs: expected gain 0.06 points within 50 "
            "epochs",
        ),
        (
            runs({0: 34.06, 2: 46.09}, 3),
            "random stopped early in 2 of 3 repeats after 34 to 46 of 54 epochs: expected gain at "
            "most 0.09 points within 50 epochs",
        ),
    ],
)
def test_a_comparison_says_which_searches_ended_early(found: list[ArmRun], said: str) -> None:
    assert early_stop_note("random", found, ERROR) == said


@pytest.mark.slow
def test_a_comparison_of_what_stopped_with_what_did_not_is_marked(
    sqlite_database: Database, make_study: Callable[..., Study], make_trainer: Any, me: Worker
) -> None:
    study = make_study(
        sqlite_database,
        budget={"epochs": 60, "stop_when": "gain < 50 within 12 epochs"},
        arms={
            "hand": {"configs": [{"lr": 0.001 * (1 + i)} for i in range(20)]},
            "random": {"sampler": "random"},
        },
    )
    work(study, study.arms, make_trainer(), me, lambda: False)
    results = read_results(Snapshot.of(study))
    hand, random = results.runs
    assert hand.early_stop is None
    assert random.early_stop is not None
    assert random.spent < hand.spent == 60
    (pair,) = compare(results, "random").pairs
    said = "\n".join(pair.notes)
    assert "The two spent different budgets: " in said
    assert (
        f"{random.spent} epochs a repeat for random" in said or f"{random.spent} for random" in said
    )
    assert early_stop_note("random", [random], ERROR) in said
