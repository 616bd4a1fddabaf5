"""An ensemble that is done, and whose models were deleted."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work.members import check_members
from tuneoff.search.work.promote import advance, is_promoted
from tuneoff.search.work.worker import work
from tuneoff.trainer.errors import CheckpointError


@pytest.mark.slow
@pytest.mark.parametrize("stored", [False, True])
def test_a_model_that_is_nowhere_is_named(
    sqlite_database: Any,
    make_study: Any,
    make_trainer: Any,
    me: Any,
    never: Any,
    tmp_path: Any,
    stored: bool,
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    study = make_study(
        sqlite_database,
        promote={"epochs": 2, "top": 1, "seeds": 1},
        ensemble={"members": [{"model": "proxy"}, {"model": "proxy-dense"}]},
        workers={"artifacts": store.as_uri()} if stored else {},
    )
    trainer = make_trainer()
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    assert is_promoted(study)
    check_members(Snapshot.of(study))
    member = TrialRef(study, study.ensemble, study.trials(study.ensemble)[1])
    shutil.rmtree(member.folder)
    if stored:
        check_members(Snapshot.of(study))
        shutil.rmtree(store / study.folder.name / "ensemble")
    with pytest.raises(CheckpointError) as caught:
        check_members(Snapshot.of(study))
    assert f"{member.folder} has nothing of its model" in str(caught.value)
    assert f"with which trial {member} was trained" in str(caught.value)
