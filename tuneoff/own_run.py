"""What a command that tuneoff runs says to it and asks of it: ``from tuneoff import report``.

Nothing is imported that takes time, and nothing happens on import. Programs in other languages do
the same with the environment variables named here (docs/own-training.md).
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Final, SupportsFloat

REPORT: Final = "TUNEOFF_REPORT"
"""The file that gets a line of JSON for each epoch."""
FOLDER: Final = "TUNEOFF_FOLDER"
"""The folder for checkpoints. It is there, and what was in it after the last epoch is there again
when the run goes on."""
RESUME_EPOCH: Final = "TUNEOFF_RESUME_EPOCH"
"""The last epoch that was trained before; 0 for a run that begins."""

SEEN: Final = ".seen"
"""Added to the report file's name: the file with the number of the last epoch that was read."""

_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.001, 0.05


def report(epoch: int, value: SupportsFloat, test: SupportsFloat | None = None) -> None:
    """Report an epoch, and wait until it has been decided that the run goes on.

    Call it after the checkpoint of that epoch was written. Where the run is to stop, SIGTERM comes
    instead of the return. In a program of several ranks under torchrun the first one reports;
    calls of the others do nothing. Outside tuneoff it prints a line.

    Args:
        epoch: that ended, from 1 on.
        value: on validation data; an error, 0 to 1, unless the study's ``[metric]`` says otherwise.
            NaN says that the run diverged.
        test: the same on test data, if you have it.

    Raises:
        TypeError, ValueError: these are no such numbers.
        OSError: the report cannot be written.
    """
    if epoch != int(epoch) or epoch < 1:
        raise ValueError(f"epoch is {epoch}; epochs are whole numbers from 1 on")
    said: dict[str, int | float | None] = {"epoch": int(epoch), "value": _number(value)}
    if test is not None:
        said["test"] = _number(test)
    path = os.environ.get(REPORT)
    if os.environ.get("RANK", "0") != "0" and "LOCAL_RANK" in os.environ:
        return
    if path is None:
        print(f"not run by tuneoff; epoch {epoch}: {float(value):g}", file=sys.stderr)
        return
    # One write, so that the reader never sees a line of which the beginning is missing.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, f"{json.dumps(said)}\n".encode())
    finally:
        os.close(descriptor)
    pause = _FIRST_POLL_SECONDS
    while _seen(f"{path}{SEEN}") < epoch:
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_POLL_SECONDS)


def folder(otherwise: str | Path = "run") -> Path:
    """The folder for this run's checkpoints; outside tuneoff ``otherwise``, made if missing."""
    found = Path(os.environ.get(FOLDER, otherwise))
    found.mkdir(parents=True, exist_ok=True)
    return found


def resume_epoch() -> int:
    """The last epoch that was trained before, to which what is in ``folder()`` belongs; or 0."""
    return int(os.environ.get(RESUME_EPOCH, "0"))


def _number(value: SupportsFloat) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None  # JSON has no NaN


def _seen(path: str) -> int:
    try:
        return int(Path(path).read_text(encoding="ascii") or "0")
    except (OSError, ValueError):
        return 0
