"""A run of a command: what is started, with which words and environment, and what comes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tuneoff import own_run
from tuneoff.trainer.errors import OwnCodeError
from tuneoff.trainer.own import template

FILES, REPORT, LOG, LOCK = "files", "report.jsonl", "command.log", "command.lock"
"""What is in the run's folder beside its checkpoints."""
HUNG_SECONDS = 7200.0
"""So long a command may be silent unless the study says otherwise."""
_OTHER_PYTHON = (
    "; the Python that the command starts is not tuneoff's, which has that module: activate"
    " tuneoff's environment before you start, or name its Python in the command, .venv/bin/python"
)
_MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")


class CommandFailed(OwnCodeError):
    """A command ended as it should not, or hangs; one line with the last line of its log.

    Attributes:
        lines: what the command printed last.
        brief: the message without the path of the log.
    """

    def __init__(self, message: str, lines: list[str], path: Path) -> None:
        last = f"; it printed last: {lines[-1]}" if lines else "; it printed nothing"
        hint = _OTHER_PYTHON if _foreign(lines) else ""
        super().__init__(f"{message}{last} (log: {path}){hint}")
        self.lines, self.brief = lines, f"{message}{last}{hint}"


def _foreign(lines: list[str]) -> bool:
    """Whether the command ended for want of a module that this Python has."""
    found = _MISSING.search(lines[-1]) if lines else None
    try:
        return found is not None and find_spec(found[1]) is not None
    except (ValueError, ImportError):  # a module that was made by hand
        return False


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of a command, see ``Report``.

    Attributes:
        seconds: from the epoch before, or from the command's start, to the report.
        replayed: True if an earlier attempt trained it.
    """

    epoch: int
    value: float
    test: float | None
    seconds: float
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run.

    Attributes:
        command: its template.
        params: all parameters, by name.
        epochs: that the command is to train.
        seed: 0 <= seed < 2**31.
        device: "cpu", "cuda:0"...
        folder: of the run; other workers that may take it over see the same one.
        resumable: False if the command cannot go on from its folder.
        stop_seconds: from SIGTERM to SIGKILL.
        hung_seconds: a command that neither reports nor prints anything for so long hangs.
        extra: what else its environment says.
    """

    command: str
    params: Mapping[str, Any]
    epochs: int
    seed: int
    device: str
    folder: Path
    resumable: bool = True
    stop_seconds: float = 10.0
    hung_seconds: float = HUNG_SECONDS
    extra: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to go on from a checkpoint."""
        return {
            "command": self.command,
            "params": dict(self.params),
            "epochs": self.epochs,
            "seed": self.seed,
        }

    def words(self, resume_epoch: int) -> list[str]:
        """The command's words (BadTemplate as ``template.fill``)."""
        given = {
            "epochs": self.epochs,
            "seed": self.seed,
            "folder": str(self.folder / FILES),
            "device": self.device,
            "resume_epoch": resume_epoch,
        }
        return template.fill(self.command, self.params, given)

    def environment(self, resume_epoch: int) -> dict[str, str]:
        """What the command finds in its environment."""
        return {
            **self.extra,
            own_run.REPORT: str(self.folder / REPORT),
            own_run.FOLDER: str(self.folder / FILES),
            own_run.RESUME_EPOCH: str(resume_epoch),
            "TUNEOFF_EPOCHS": str(self.epochs),
            "TUNEOFF_SEED": str(self.seed),
            "TUNEOFF_DEVICE": self.device,
            "TUNEOFF_PARAMS": template.as_json(self.params),
        }
