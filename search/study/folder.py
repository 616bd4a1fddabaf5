"""The folder of a study's checkpoints, known by a mark in it: nobody trains in another one.

Where workers share no artifact store they share the folder. One that works in another folder, or in
one that was emptied, would train again what it cannot find there, at the cost of the budget.
"""

from __future__ import annotations

import logging
import secrets
import socket
from pathlib import Path

from tuneoff.files import make_folder, write_text
from tuneoff.search.errors import StudyError
from tuneoff.search.store import attempts
from tuneoff.search.store.attributes import FOLDER, StoredFolder
from tuneoff.search.study.study import Study

log = logging.getLogger(__name__)

MARK = "study"
"""The file whose content says of which study this is the folder."""


def check_folder(study: Study) -> None:
    """Make sure that this machine's ``--work`` is the study's; the first worker's becomes it.

    Raises:
        StudyError: it is not, or cannot be written.
    """
    if study.artifacts is not None:
        return
    with study.database.lock(study.full.name):
        stored = _stored(study)
        if stored is None:
            _mark(study)
        elif not _is_marked(study, stored):
            raise StudyError(
                f"--work {study.work} is not the one in which study {study.name} is trained: that "
                f"is {stored.place}, or it was emptied; without [workers] artifacts all workers "
                "share that folder. If it is lost, run `tuneoff create` again with this --work"
            )


def move_folder(study: Study) -> None:
    """Make this machine's ``--work`` the study's, if it is not; for whoever creates it again.

    Raises:
        StudyError: workers are training in the other one, or this one cannot be written.
    """
    if study.artifacts is not None:
        return
    with study.database.lock(study.full.name):
        stored = _stored(study)
        if stored is None or _is_marked(study, stored):
            return
        grace = study.spec.workers.grace_seconds
        live = attempts.live(study.database, [search.name for search in study.searches])
        busy = sorted({attempt.worker for attempt in live if not attempt.is_stale(grace)})
        if busy:
            raise StudyError(
                f"--work {study.work} is not the one in which study {study.name} is trained: "
                f"{', '.join(busy)} train in {stored.place}; use that folder, or wait until they "
                "have left"
            )
        _mark(study)
    log.warning(
        "study %s: its checkpoints were in %s, and those that are not in %s now are not used: "
        "trials that have begun begin again, as far as the budget allows",
        study.name,
        stored.place,
        study.folder,
    )


def _stored(study: Study) -> StoredFolder | None:
    return FOLDER.get(study.optuna_study(study.full))


def _is_marked(study: Study, stored: StoredFolder) -> bool:
    try:
        return (study.folder / MARK).read_text(encoding="utf-8") == stored.mark
    except (OSError, ValueError):
        return False


def _mark(study: Study) -> None:
    folder = StoredFolder(
        mark=f"{study.name} {secrets.token_hex(8)}\n",
        place=f"{socket.gethostname()}:{Path(study.work).absolute()}",
    )
    try:
        make_folder(study.folder)
        write_text(study.folder / MARK, folder.mark)
    except OSError as error:
        raise StudyError(
            f"--work {study.work} cannot be written ({error.strerror}); fix that, or choose "
            "another folder"
        ) from None
    study.optuna_study(study.full).set_user_attr(*FOLDER.item(folder))
