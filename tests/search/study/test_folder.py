"""A study's folder is known by its mark: no worker trains in another one."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tuneoff.search.errors import StudyError
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import FOLDER
from tuneoff.search.study.folder import MARK, check_folder, move_folder
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.study import Study
from tuneoff.search.work.claim import Claim, claim


@pytest.fixture
def elsewhere(tmp_path: Path) -> Callable[[Study], Study]:
    """The same study as a machine with another --work sees it."""
    return lambda study: replace(study, work=tmp_path / "elsewhere")


@pytest.mark.slow
def test_the_first_workers_folder_is_the_studys(
    database: Any, make_study: Any, elsewhere: Any
) -> None:
    study = make_study(database)
    check_folder(study)
    check_folder(study)
    with pytest.raises(StudyError) as caught:
        check_folder(elsewhere(study))
    message = str(caught.value)
    assert f"--work {elsewhere(study).work} is not the one in which" in message
    assert str(study.work) in message
    assert "run `tuneoff create` again" in message
    assert "\n" not in message
    assert not elsewhere(study).work.exists()


def test_a_folder_that_is_moved_with_its_mark_stays_the_studys(
    sqlite_database: Any, make_study: Any, elsewhere: Any
) -> None:
    study = make_study(sqlite_database)
    check_folder(study)
    shutil.move(study.work, elsewhere(study).work)
    check_folder(elsewhere(study))
    with pytest.raises(StudyError):
        check_folder(study)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["deleted", "emptied", "torn"])
def test_a_folder_that_lost_its_mark_is_refused_until_the_study_is_created_again(
    sqlite_database: Any, make_study: Any, damage: str, caplog: Any
) -> None:
    study = make_study(sqlite_database)
    check_folder(study)
    if damage == "deleted":
        shutil.rmtree(study.work)
    elif damage == "emptied":
        (study.folder / MARK).unlink()
    else:
        (study.folder / MARK).write_bytes(b"\xff")
    with pytest.raises(StudyError, match="or it was emptied"):
        check_folder(study)
    with caplog.at_level(logging.WARNING):
        create_study(sqlite_database, study.spec, study.task, study.work)
    assert "trials that have begun begin again" in caplog.text
    check_folder(study)


@pytest.mark.slow
def test_another_folder_is_taken_when_nobody_works_in_the_first(
    database: Any, make_study: Any, elsewhere: Any, me: Any, caplog: Any
) -> None:
    study = make_study(database)
    there = elsewhere(study)
    create_study(database, study.spec, study.task, there.work)  # nobody has trained: no matter
    assert not FOLDER.is_set(study.optuna_study(study.full))
    check_folder(study)
    begun = claim(study, study.arms[0], me)
    assert isinstance(begun, Claim)
    with pytest.raises(StudyError, match=rf"{me.name} train in .*use that folder, or wait"):
        create_study(database, study.spec, study.task, there.work)
    check_folder(study)
    attempts.close(database, begun.attempt, "released")
    create_study(database, study.spec, study.task, there.work)
    check_folder(there)
    assert "its checkpoints were in" in caplog.text
    with pytest.raises(StudyError):  # the first folder's mark is an old one
        check_folder(study)
    move_folder(study)
    check_folder(study)


def test_machines_with_an_artifact_store_need_no_common_folder(
    sqlite_database: Any, make_study: Any, elsewhere: Any, folder_url: str
) -> None:
    study = make_study(sqlite_database, workers={"artifacts": folder_url})
    check_folder(study)
    check_folder(elsewhere(study))
    assert not FOLDER.is_set(study.optuna_study(study.full))


def test_a_folder_that_cannot_be_written(
    sqlite_database: Any, make_study: Any, tmp_path: Path
) -> None:
    study = make_study(sqlite_database)
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match=r"cannot be written \(.*\); fix that"):
        check_folder(replace(study, work=tmp_path / "file"))
    assert not FOLDER.is_set(study.optuna_study(study.full))
