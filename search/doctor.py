"""What works on this machine and what to mend: `tuneoff doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from search.errors import StorageError
from search.storage import open_database
from search.study import study_names

LOW_DISK_GIB = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``needed`` if studies cannot do without it."""

    subject: str
    text: str
    ok: bool
    needed: bool = True


def examine(
    storage: str, work: Path, machine: Mapping[str, str], weights: Mapping[str, str]
) -> list[Finding]:
    """Look at everything.

    Args:
        machine: what ``Trainer.describe`` says.
        weights: for each model, "" if its ImageNet weights are here and good, else the mend.
    """
    return [
        *(Finding(key, value, True) for key, value in machine.items()),
        _database(storage),
        _folder(work),
        *(
            Finding(f"weights of {model}", mend or "here", not mend, needed=False)
            for model, mend in weights.items()
        ),
    ]


def _database(url: str) -> Finding:
    file = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not file.exists() and file.parent.is_dir():
        return Finding("storage", f"{url}: no studies yet; `tuneoff create` makes it", True)
    try:
        database = open_database(url)
    except StorageError as error:
        return Finding("storage", str(error), False)
    names = ", ".join(study_names(database)) or "none"
    text = f"{database}; studies: {names}"
    database.close()
    return Finding("storage", text, True)


def _folder(work: Path) -> Finding:
    nearest = work.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free / 2**30
    enough = free >= LOW_DISK_GIB
    text = f"{free:.0f} GiB free" + ("" if enough else "; free some, or choose another --work")
    return Finding(f"folder {work}", text, enough)
