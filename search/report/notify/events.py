"""What is told of a study, and that each of it is told once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tuneoff.search.report.data import read_report_data
from tuneoff.search.report.first_screen import first_screen
from tuneoff.search.results.plain import plain
from tuneoff.search.spec.sections import Event
from tuneoff.search.store.attributes import NOTIFIED
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study

SCHEMA: Final = "tuneoff/notification/1"


def claim(study: Study, event: Event) -> bool:
    """True for the one process that is to send this event's message.

    It is claimed before it is sent, under a lock: a process that dies in between takes the message
    with it, and no message is sent twice.
    """
    with study.database.lock(f"{study.name}/notify"):
        stored = study.database.optuna.get_study_user_attrs(
            study.database.optuna.get_study_id_from_name(study.full.name)
        )
        told: Mapping[str, str] = stored.get(NOTIFIED.name) or {}
        if event in told:
            return False
        now = datetime.now(UTC).isoformat(timespec="seconds")
        study.optuna_study(study.full).set_user_attr(*NOTIFIED.item({**told, event: now}))
        return True


def end_message(study: Study) -> dict[str, Any]:
    """That a study has come to its end: the answers and the settings to use.

    One that has ended with nothing to use has failed.
    """
    data = read_report_data(Snapshot.of(study))
    screen = first_screen(data)
    if data.best is None:
        return failed_message(study, screen.answer.text)
    answers = [screen.answer, *screen.others]
    return {
        **_message(study, "decided", f"{study.name}: {screen.answer.text}"),
        "answers": [
            {"quality": pair.quality, "against": pair.baseline, "text": one.text, "cost": one.cost}
            for pair, one in zip(data.comparison.pairs, answers, strict=False)
        ],
        "settings": plain(data.best.params),
    }


def stalled_message(study: Study, minutes: float) -> dict[str, Any]:
    """That nothing has been trained for so long, though there is work to do."""
    text = (
        f"{study.name}: no epoch was trained for {minutes:.0f} minutes, and there is work to do;"
        f" `tuneoff status {study.name}` says what the workers are at"
    )
    return _message(study, "stalled", text)


def failed_message(study: Study, reason: str) -> dict[str, Any]:
    """That the workers could not go on."""
    return _message(study, "failed", f"{study.name}: {reason}")


def _message(study: Study, event: Event, text: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"schema": SCHEMA, "event": event, "study": study.name, "time": now, "text": text}
