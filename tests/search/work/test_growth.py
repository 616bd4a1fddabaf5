"""Studies that grow until a judge has enough: by several workers, and whatever dies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tuneoff.search.results.decision.pairs import evidence_of
from tuneoff.search.results.read import read_results
from tuneoff.search.results.records import TEST, VALIDATION
from tuneoff.search.store.attributes import ENDED, StoredEnd
from tuneoff.search.study.judgement import Judgement
from tuneoff.search.study.keys import key_of
from tuneoff.search.study.promotion import is_spent, picks_of
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work import growth
from tuneoff.search.work.crew import Crew
from tuneoff.search.work.growth import grow
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import Summary, work

ARMS = {"a": {"sampler": "random"}, "b": {"sampler": "quasi-random"}}
PROMOTE = {"top": 1, "seeds": 1, "epochs": 2}


def enough_at(repeats: int, most: int = 9) -> Any:
    """A judge that is content with so many repeats, and wants two trainings of each pick."""

    def judge(now: Snapshot) -> Judgement:
        if now.study.repeats >= repeats:
            return Judgement(f"decided after {now.study.repeats} repeats")
        return Judgement(None, most, {key_of(params): 2 for params in picks_of(now).values()})

    return judge


def ended(study: Any) -> StoredEnd | None:
    return ENDED.get(study.optuna_study(study.full))


def run(study: Any, trainer: Any, me: Any, never: Any, judge: Any) -> Summary:
    more = partial(grow, study, judge, me.name)
    return work(study, study.searches, trainer, me, never, partial(advance, study, trainer, more))


@pytest.mark.slow
def test_repeats_are_added_until_the_judge_has_enough(
    database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, check_ledger: Any
) -> None:
    study, trainer = make_study(database, arms=ARMS, promote=PROMOTE), make_trainer()
    assert ended(study) is None
    assert not run(study, trainer, me, never, enough_at(3)).stopped
    now = Snapshot.of(study)
    assert now.study.repeats == 3
    assert [len(now.trials(search)) for search in now.study.arms] == [3] * 6
    assert ended(study) == StoredEnd("decided after 3 repeats", 3)
    # The picks of the repeats before the last one have been trained twice, as was asked for.
    trained = [key_of(trial.params) for trial in now.trials(study.full)]
    picks = picks_of(now)
    for (_, repeat), params in picks.items():
        assert trained.count(key_of(params)) == (2 if repeat < 2 else 1)
    check_ledger(now.study, trainer)
    # Once it has ended, nothing is added.
    assert run(study, trainer, me, never, enough_at(3)).attempts == 0


@pytest.mark.slow
def test_a_study_that_has_ended_goes_on_when_the_judge_wants_more(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study, trainer = make_study(sqlite_database, arms=ARMS, promote=PROMOTE), make_trainer()
    run(study, trainer, me, never, enough_at(1))
    assert ended(study) == StoredEnd("decided after 1 repeats", 1)
    run(study, trainer, me, never, enough_at(2))
    assert ended(study) == StoredEnd("decided after 2 repeats", 2)
    assert study.refreshed().repeats == 2


@pytest.mark.slow
def test_a_bound_on_the_epochs_of_judging_is_kept_whatever_the_judge_asks_for(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    """The top is one of the two picks, and is paid for by promotion: three trainings are left."""
    study = make_study(
        sqlite_database, arms=ARMS, promote=PROMOTE, compare={"until": "decided", "epochs": 8}
    )
    asked = []

    def judge(now: Snapshot) -> Judgement:
        asked.append(is_spent(now))
        enough = len(now.trials(study.full)) >= 5 or len(asked) > 3
        wanted = {key_of(params): 9 for params in picks_of(now).values()}
        return Judgement("decided" if enough else None, 1, wanted)

    run(study, make_trainer(), me, never, judge)
    assert len(Snapshot.of(study).trials(study.full)) == 1 + 4
    assert asked == [False, True]


@pytest.mark.slow
def test_a_repeat_that_is_added_takes_nothing_from_what_is_known_of_the_others(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    """Whoever looks during any epoch sees the test errors of the repeats that are done."""
    study = make_study(sqlite_database, arms=ARMS, repeats=2, promote={**PROMOTE, "seeds": 2})
    seen = []

    def look(*_: Any) -> None:
        now = read_results(Snapshot.of(study))
        for pair in evidence_of(now).pairs:
            seen.append((now.repeats, pair.measure, len(pair.repeats), pair.unfinished))

    run(study, make_trainer(during=look), me, never, enough_at(4))
    first = {found for found in seen if found[0] == 2}
    assert {measure for _, measure, _, _ in first} == {VALIDATION, TEST}
    later = [found for found in seen if found[0] > 2]
    assert {(repeats, measure) for repeats, measure, _, _ in later} == {(3, TEST), (4, TEST)}
    assert {(repeats, done) for repeats, _, done, _ in later} == {(3, 2), (4, 3)}
    assert {unfinished for _, _, _, unfinished in later} == {0, 1}
    look()
    assert seen[-1] == (4, TEST, 4, 0)


@pytest.mark.slow
def test_never_more_repeats_than_the_judge_allows(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study, trainer = make_study(sqlite_database, arms=ARMS, promote=PROMOTE), make_trainer()

    def judge(now: Snapshot) -> Judgement:
        at_the_end = now.study.repeats >= 2
        return Judgement("bound reached: 2 repeats" if at_the_end else None, 2)

    run(study, trainer, me, never, judge)
    assert study.refreshed().repeats == 2


def test_more_workers_than_arms_get_more_repeats_at_a_time(
    sqlite_database: Any, make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(sqlite_database, arms=ARMS)
    monkeypatch.setattr(growth, "is_searched", lambda study: True)
    others = type("FourOthers", (), {"others": frozenset("abcd")})
    monkeypatch.setattr(Crew, "of", lambda study, me: others)
    assert grow(study, enough_at(9), "me")
    assert study.refreshed().repeats == 1 + 3  # five workers, two arms
    assert grow(study, enough_at(9, most=5), "me")
    assert study.refreshed().repeats == 5


def test_nothing_is_judged_while_a_repeat_is_searched(
    sqlite_database: Any, make_study: Any
) -> None:
    study = make_study(sqlite_database, arms=ARMS)

    def judge(now: Snapshot) -> Judgement:
        raise AssertionError("asked too early")

    assert grow(study, judge, "me")
    assert study.refreshed().repeats == 1


@pytest.mark.slow
@pytest.mark.parametrize("where", ["enqueue_seeds", "open_repeats"])
def test_growth_that_is_cut_off_is_done_again(
    database: Any,
    make_study: Any,
    make_trainer: Any,
    me: Any,
    never: Any,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """A worker dies after it has judged, or after it has enqueued seeds."""
    study, trainer = make_study(database, arms=ARMS, promote=PROMOTE), make_trainer()

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(growth, where, die)
        with pytest.raises(KeyboardInterrupt):
            run(study, trainer, me, never, enough_at(2))
    assert study.refreshed().repeats == 1
    run(study, trainer, me, never, enough_at(2))
    now = Snapshot.of(study)
    assert now.study.repeats == 2
    trained = [key_of(trial.params) for trial in now.trials(study.full)]
    for (_, repeat), params in picks_of(now).items():
        assert trained.count(key_of(params)) == (2 if repeat < 1 else 1)


@pytest.mark.slow
def test_workers_of_one_study_grow_it_together(
    database: Any, make_study: Any, make_trainer: Any, reopen: Any, never: Any, me: Any
) -> None:
    """Nobody leaves while another may still open a repeat, and no repeat is opened twice."""
    study, trainer = make_study(database, arms=ARMS, promote=PROMOTE), make_trainer()
    judge = enough_at(4)

    def one(number: int) -> int:
        mine = replace(study, database=reopen(database))
        worker = replace(me, name=f"{me.name}-{number}")
        return run(mine, trainer, worker, never, judge).attempts

    with ThreadPoolExecutor(3) as pool:
        attempts = list(pool.map(one, range(3)))
    now = Snapshot.of(study)
    # Three workers and two arms: two repeats are opened at a time.
    assert now.study.repeats in (4, 5)
    searched = [trial for search in now.study.arms for trial in now.trials(search)]
    assert all(trial.state.is_finished() for trial in searched)
    assert sum(attempts) == len(searched) + len(now.trials(study.full))
    assert ended(study) == StoredEnd(
        f"decided after {now.study.repeats} repeats", now.study.repeats
    )


@pytest.mark.slow
def test_the_ensemble_comes_after_the_end(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(
        sqlite_database,
        arms=ARMS,
        promote=PROMOTE,
        ensemble={"members": [{"model": "proxy"}, {"model": "proxy-dense"}]},
    )
    seen = []

    def judge(now: Snapshot) -> Judgement:
        seen.append(len(now.trials(study.ensemble)))
        return enough_at(2)(now)  # type: ignore[no-any-return]

    run(study, make_trainer(), me, never, judge)
    assert seen[:2] == [0, 0]
    assert len(Snapshot.of(study).trials(study.ensemble)) == 2
