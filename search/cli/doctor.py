"""What works on this machine and what to fix: `tuneoff doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuneoff.retry import Patience
from tuneoff.search.errors import ArtifactError, StorageError
from tuneoff.search.store.artifacts import open_artifacts
from tuneoff.search.store.database import open_database
from tuneoff.search.store.dialects import is_yet_to_be_made, parse_url
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.table import names as study_names

LOW_DISK_GIB = 5.0
LEAST_BATCH = 2  # batch normalisation cannot train on one image
PATIENCE = Patience(10.0)  # with an artifact store


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``needed`` if studies cannot do without it."""

    subject: str
    text: str
    ok: bool
    needed: bool = True


def examine(
    storage: str,
    work: Path,
    machine: Mapping[str, str],
    weights: Mapping[str, str],
    largest_batch: Mapping[str, int],
    precision: str,
) -> list[Finding]:
    """Look at everything.

    Args:
        machine: what ``Trainer.describe`` says.
        weights: for each model, "" if its ImageNet weights are here and good, else the fix.
        largest_batch: for each model, how many images of 224 x 224 pixels fit into memory.
        precision: of that training.
    """
    return [
        *(Finding(key, value, True) for key, value in machine.items()),
        *_database(storage, work),
        _folder(work),
        *(
            Finding(f"weights of {model}", fix or "here", not fix, needed=False)
            for model, fix in weights.items()
        ),
        *(_batch(model, largest, precision) for model, largest in largest_batch.items()),
    ]


def _database(url: str, work: Path) -> list[Finding]:
    try:
        if is_yet_to_be_made(parse_url(url)):
            return [Finding("storage", f"{url}: no studies yet; `tuneoff create` makes it", True)]
        database = open_database(url)
    except StorageError as error:
        return [Finding("storage", str(error), False)]
    names = study_names(database)
    text = f"{database}; studies: {', '.join(names) or 'none'}"
    used = [open_study(database, name, work).spec.workers.artifacts for name in names]
    database.close()
    stores = [_artifacts(store) for store in dict.fromkeys(used) if store is not None]
    return [Finding("storage", text, True), *stores]


def _artifacts(url: str) -> Finding:
    try:
        store = open_artifacts(url, PATIENCE)
        store.check()
    except ArtifactError as error:
        return Finding("artifacts", str(error), False)
    return Finding("artifacts", f"{store}: can be written and read", True)


def _batch(model: str, largest: int, precision: str) -> Finding:
    fits = largest >= LEAST_BATCH
    text = f"{largest if fits else 'not even 2'} images of 224 x 224 pixels in {precision}"
    text += "" if fits else "; free some memory"
    return Finding(f"largest batch of {model}", text, fits, needed=False)


def _folder(work: Path) -> Finding:
    nearest = work.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free / 2**30
    enough = free >= LOW_DISK_GIB
    text = f"{free:.0f} GiB free" + ("" if enough else "; free some, or choose another --work")
    return Finding(f"folder {work}", text, enough)
