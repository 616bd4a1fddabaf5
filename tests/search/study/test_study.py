"""Studies: created once, by however many; opened with checks."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from tuneoff.search.errors import StudyError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.reading import StudyFile, preflight
from tuneoff.search.store.tables import studies_table
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.search.study.table import names as study_names
from tuneoff.trainer.contract import RunSeed, Task
from tuneoff.trainer.recipe import Recipe


@pytest.fixture
def parts(make_study: Any, database: Any) -> Any:
    """A study, its spec and its task."""
    made = make_study(database, arms={"a": {"sampler": "random"}, "b": {"sampler": "tpe"}})
    return made, made.spec, made.task


def test_a_study_is_its_searches(database: Any, make_study: Any, tmp_path: Path) -> None:
    arms = {"a": {"sampler": "random"}, "b": {"sampler": "tpe"}}
    study = make_study(database, arms=arms, repeats=2)
    names = [search.name.removeprefix(f"{study.name}/") for search in study.searches]
    assert names == ["a/0", "b/0", "a/1", "b/1", "full", "ensemble"]
    assert [search.budget for search in study.searches] == [9, 9, 9, 9, None, None]
    for search in study.searches:
        stored = study.optuna_study(search)
        assert stored.direction == optuna.study.StudyDirection.MINIMIZE
        assert stored.metric_names == ["validation error"]
    assert study.folder.parent == study.work
    found = open_study(database, study.name, study.work)
    assert (found.uid, found.spec, found.task) == (study.uid, study.spec, study.task)
    assert study.name in study_names(database)


@pytest.mark.slow
def test_to_create_again_is_a_no_op(database: Any, parts: Any) -> None:
    made, spec, task = parts
    before = {s.study_name for s in optuna.get_all_study_summaries(database.optuna)}
    again = create_study(database, spec, task, made.work)
    assert (again.uid, again.spec) == (made.uid, made.spec)
    assert {s.study_name for s in optuna.get_all_study_summaries(database.optuna)} == before


def test_a_changed_file_is_refused_with_the_field(database: Any, parts: Any) -> None:
    made, spec, task = parts
    changed = StudySpec.parse({**spec.model_dump(), "seed": 8}, "test")
    with pytest.raises(StudyError, match="in the study seed is 7, not 8; put the file back"):
        create_study(database, changed, task, made.work)
    changed = StudySpec.parse({**spec.model_dump(), "seed": 8, "repeats": 3}, "test")
    with pytest.raises(StudyError, match=r"repeats is 1, not 3 \(and 1 more\)"):
        create_study(database, changed, task, made.work)
    assert open_study(database, spec.name, made.work).spec == spec


def test_patience_path_and_how_long_evidence_is_gathered_may_change(
    database: Any, parts: Any
) -> None:
    made, spec, task = parts
    moved = StudySpec.parse(
        {
            **spec.model_dump(),
            "workers": {"grace_seconds": 5.0},
            "compare": {"until": "decided", "epochs": 40},
            "data": {**spec.data.model_dump(), "path": "elsewhere"},
        },
        "test",
    )
    again = create_study(database, moved, task, made.work)
    assert again.uid == made.uid
    opened = open_study(database, spec.name, made.work)
    assert opened.spec.workers.grace_seconds == 5.0
    assert opened.spec.data.path == "elsewhere"
    assert (opened.spec.compare.until, opened.spec.compare.epochs) == ("decided", 40)


def test_another_order_in_the_file_changes_no_search(database: Any, make_study: Any) -> None:
    momentum = {"low": 0.5, "high": 0.9}
    study = make_study(database, space={"momentum": momentum})
    values = study.spec.model_dump()
    values["space"] = dict(reversed(values["space"].items()))
    again = create_study(database, StudySpec.parse(values, "test"), study.task, study.work)
    assert list(again.space.distributions) == ["lr", "momentum"]


def test_changed_data_are_refused(database: Any, parts: Any) -> None:
    made, spec, task = parts
    with pytest.raises(StudyError, match=r"digest eeeeeeeeeeee, not dddddddddddd.; check data.p"):
        create_study(database, spec, replace(task, digest="e" * 64), made.work)


@pytest.mark.slow
def test_a_creation_that_was_cut_off_is_finished_by_the_next(
    database: Any, make_study: Any, spec_values: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = make_study(database)
    spec = StudySpec.parse(spec_values(name=f"{template.name}-cut", repeats=3), "test")
    create, left = optuna.create_study, [1, 2]

    def die(**arguments: Any) -> Any:
        if not left:
            raise KeyboardInterrupt
        left.pop()
        return create(**arguments)

    with monkeypatch.context() as patch:
        patch.setattr(optuna, "create_study", die)
        with pytest.raises(KeyboardInterrupt):
            create_study(database, spec, template.task, template.work)
    with pytest.raises(StudyError, match="there is no study"):
        open_study(database, spec.name, template.work)
    study = create_study(database, spec, template.task, template.work)
    assert [study.trials(search) for search in study.searches] == [()] * 5


@pytest.mark.slow
def test_many_may_create_at_once(
    database: Any, make_study: Any, spec_values: Any, reopen: Any
) -> None:
    template = make_study(database)
    spec = StudySpec.parse(spec_values(name=f"{template.name}-many"), "test")
    barrier = threading.Barrier(5)
    found: list[Any] = []

    def create(mine: Any) -> None:
        barrier.wait()
        try:
            found.append(create_study(mine, spec, template.task, template.work).uid)
        except BaseException as error:
            found.append(error)
        mine.optuna.remove_session()

    threads = [threading.Thread(target=create, args=[reopen(database)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 5
    assert set(found) == {open_study(database, spec.name, template.work).uid}


def test_no_such_study(database: Any, parts: Any) -> None:
    with pytest.raises(StudyError) as caught:
        open_study(database, "nobody", Path())
    assert "there is no study nobody" in str(caught.value)
    assert parts[0].name in str(caught.value)


def test_a_search_that_was_deleted_in_the_dashboard_is_named(database: Any, parts: Any) -> None:
    made, spec, _ = parts
    optuna.delete_study(study_name=f"{spec.name}/b/0", storage=database.optuna)
    opened = open_study(database, spec.name, made.work)
    with pytest.raises(StudyError, match=f"{spec.name}/b/0 was deleted"):
        opened.trials(opened.arms[1])


def test_a_damaged_row_is_no_traceback(database: Any, parts: Any) -> None:
    made, spec, _ = parts
    with database.engine.begin() as connection:
        connection.execute(
            studies_table.update()
            .where(studies_table.c.name == spec.name)
            .values(spec=spec.model_dump_json().replace('"seed"', '"sead"'))
        )
    with pytest.raises(Exception, match=f"stored study {spec.name}: sead: unknown key"):
        open_study(database, spec.name, made.work)
    with database.engine.begin() as connection:
        connection.execute(sa.delete(studies_table).where(studies_table.c.name == spec.name))


def test_draining_is_a_wish_that_can_be_taken_back(database: Any, make_study: Any) -> None:
    one, two = make_study(database), make_study(database)
    assert not one.is_draining()
    one.drain(True)
    assert (one.is_draining(), two.is_draining()) == (True, False)
    one.drain(False)
    assert not one.is_draining()


def test_a_preflight_checks_each_recipe_once(spec_values: Any) -> None:
    members = [{"model": "proxy"}, {"model": "proxy-dense"}, {"model": "proxy-dense"}]
    spec = StudySpec.parse(
        spec_values(promote={"epochs": 3}, ensemble={"members": members}), "test"
    )
    seen: list[Recipe] = []

    def check(recipe: Recipe) -> Task:
        seen.append(recipe)
        return Task(("a", "b"), {"train": 1}, str(len(seen)))

    assert preflight(StudyFile.of(spec), check).digest == "1"
    assert [recipe.model for recipe in seen] == ["proxy", "proxy-dense"]


def test_runs_of_one_repeat_have_its_seeds(sqlite_database: Any, make_study: Any, me: Any) -> None:
    from tuneoff.search.work.claim import Claim, claim

    study = make_study(sqlite_database, repeats=2, trial={"momentum": 0.7})
    for search in study.arms:
        found = claim(study, search, me)
        assert isinstance(found, Claim)
        run = found.trial.run
        assert run.seed == RunSeed(7, 0, search.repeat)
        assert run.params.momentum == 0.7
        assert run.params.lr == found.trial.stored.params["lr"]
