"""What a study's results rest on, for whoever wants to repeat it: versions, seeds, data, file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

import tomli_w

from tuneoff.messages import counted
from tuneoff.search.results.records import AttemptRecord
from tuneoff.search.store.attributes import ENVIRONMENT
from tuneoff.search.study.snapshot import Snapshot

UNKNOWN = "not known"
_NAMES = {"torch": "PyTorch", "python": "Python"}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What results rest on.

    Attributes:
        facts: name and value, in words.
        study_file: the settings as they are stored, in TOML; without the address of [notify],
            which may hold a secret.
    """

    facts: tuple[tuple[str, str], ...]
    study_file: str


def read_provenance(now: Snapshot, attempts: Sequence[AttemptRecord]) -> Provenance:
    """What is stored of how a study was run.

    Args:
        attempts: ``attempt_records(now)``.
    """
    values = now.study.spec.model_dump(mode="json", exclude_none=True)
    values.get("notify", {}).pop("url", None)
    return Provenance(tuple(_facts(now, attempts)), tomli_w.dumps(_without_none(values)))


def _facts(now: Snapshot, rows: Sequence[AttemptRecord]) -> Iterator[tuple[str, str]]:
    study = now.study
    yield "Study", f"{study.name} (its own mark: {study.uid})"
    if study.task.is_own:
        yield "Code", study.spec.trial.own_training().code
        yield "Digest of the code", study.task.digest
    else:
        yield "Images", ", ".join(f"{n:,} {split}" for split, n in study.task.sizes.items())
        yield "Classes", f"{len(study.task.classes):,}"
        yield "Digest of the images", study.task.digest
    yield "Seed", f"{study.spec.seed}; every repeat, trial and replica has streams of its own"
    repeats = counted(study.repeats, "paired repeat")
    yield "Repeats", repeats
    if rows:
        last = max(one.ended or one.started for one in rows)
        yield "First attempt", _time(rows[0].started)
        yield "Last attempt ended", _time(last)
    workers = {one.worker for one in rows}
    machines = {worker.partition("/")[0] for worker in workers}
    devices = sorted({one.device for one in rows})
    if workers:
        yield (
            "Workers",
            f"{len(workers):,} on {counted(len(machines), 'machine')}",
        )
        yield "Devices", ", ".join(devices)
    yield from _environments(now)
    yield "Database", study.database.url.get_backend_name()
    yield "tuneoff and Optuna in training", f"{UNKNOWN}: only those that read it are"
    yield "Read with", f"tuneoff {version('tuneoff')}, Optuna {version('optuna')}"


def _environments(now: Snapshot) -> Iterator[tuple[str, str]]:
    """What full trainings noted of the machines they ran on; every value, if they differ."""
    found: dict[str, set[str]] = {}
    for search in now.study.queues:
        for trial in now.trials(search):
            for name, value in (ENVIRONMENT.get(trial) or {}).items():
                found.setdefault(name, set()).add(value)
    if not found:
        yield "Versions in training", f"{UNKNOWN}: they are noted with full trainings"
    for name, values in found.items():
        if name != "device":
            yield f"{_NAMES.get(name, name)} in full training", ", ".join(sorted(values))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _without_none(value: object) -> dict[str, object]:
    """TOML has no null."""

    def clean(item: object) -> object:
        if isinstance(item, dict):
            return {key: clean(one) for key, one in item.items() if one is not None}
        if isinstance(item, list):
            return [clean(one) for one in item if one is not None]
        return item

    found = clean(value)
    assert isinstance(found, dict)
    return found
