"""What a run of a user's own code is: a loop or a command, its parameters and its epochs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tuneoff import references
from tuneoff.trainer.limits import at_least

RESERVED = {
    "epochs": "[trial] epochs says how long a run is",
    "seed": "every run is given a seed of its own",
    "device": "`tuneoff worker --device` says where a run is trained",
    "folder": "every run is given a folder of its own",
    "resume_epoch": "every run is told from where it goes on",
    "params": "it stands for all parameters together",
    "trainer": "it stands for the code",
    "command": "it stands for the code",
    "note": "it is the remark in a hand-tuned configuration",
}
"""Names that no parameter may have, and what has them."""
STOP_SECONDS, LONGEST_STOP_SECONDS = 10.0, 3600.0
"""From SIGTERM to SIGKILL, unless a study says otherwise; and at most."""
_NAME = re.compile(r"[A-Za-z_][\w./-]{0,63}", re.ASCII)

Value = bool | int | float | str
"""Of a searched parameter; a fixed one may also be a list or a table of these."""


@dataclass(frozen=True, slots=True)
class OwnTraining:
    """What stands for the Recipe where the training is not ours: see ``contract.AnyRecipe``.

    Attributes:
        epochs: that the code is to train for, and to report.
        trainer: reference to a Python loop, "module:function"; None for a command.
        command: template of a command, see ``template``; None for a loop.
        params: what the code is given, by name: the fixed parameters, and those that are searched.
        resumable: False for a command that cannot go on from its folder. A loop says so itself.
        stop_seconds: that a command has to save and end, from SIGTERM to SIGKILL.
    """

    epochs: int
    trainer: str | None = None
    command: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    resumable: bool = True
    stop_seconds: float = STOP_SECONDS

    def __post_init__(self) -> None:
        at_least("epochs", self.epochs, 1)
        if (self.trainer is None) == (self.command is None):
            raise ValueError("trainer and command: give one of them")
        if self.trainer is not None:
            references.check(self.trainer, "trainer")
        elif not (self.command or "").strip():
            raise ValueError('command = "" is empty; write one, as in "python train.py --lr {lr}"')
        for name in self.params:
            check_name(name)
        if self.trainer is not None and self._of_commands():
            raise ValueError(
                "resumable and stop_seconds are for a command; a function says resumable = False "
                "as its attribute, and is not killed"
            )
        if not 0 <= self.stop_seconds <= LONGEST_STOP_SECONDS:
            raise ValueError(f"stop_seconds must be from 0 to {LONGEST_STOP_SECONDS:g}")

    @property
    def code(self) -> str:
        """What is run, as the study file names it."""
        return self.trainer or self.command or ""

    def override(self, changes: Mapping[str, Any]) -> OwnTraining:
        """The same with other epochs, or with parameters that are added or changed.

        Args:
            changes: "epochs" and parameters, by name.
        """
        params = {name: value for name, value in changes.items() if name != "epochs"}
        return replace(
            self, epochs=changes.get("epochs", self.epochs), params={**self.params, **params}
        )

    def settings(self) -> dict[str, Any]:
        """What ``override`` may change, by name."""
        return {"epochs": self.epochs, **self.params}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and TOML; ``from_dict`` is its inverse."""
        door = {"command": self.command} if self.trainer is None else {"trainer": self.trainer}
        return {**door, "epochs": self.epochs, "params": dict(self.params), **self._of_commands()}

    def _of_commands(self) -> dict[str, Any]:
        """What is said of a command beside its template, where it is not as usual."""
        usual = {"resumable": True, "stop_seconds": STOP_SECONDS}
        return {n: getattr(self, n) for n, value in usual.items() if getattr(self, n) != value}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> OwnTraining:
        """What ``to_dict`` wrote (TypeError or ValueError for anything else)."""
        return cls(**values)


def check_name(name: str) -> None:
    """Make sure that a parameter may have this name (ValueError otherwise)."""
    if name in RESERVED:
        raise ValueError(
            f"{name} is refused as a parameter's name: {RESERVED[name]}; give it another name"
        )
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} is refused as a parameter's name: use at most 64 letters, digits, _, -, . "
            "and /, and begin with a letter"
        )
