"""The records of lcbench.py, one for each run, and the JSON file that holds them."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from lcbench_surrogate import HORIZON, ROUNDING, Reference
from virtual import Simulation

from tuneoff.files import write_text

ROOT = Path(__file__).resolve().parents[1]
FORMAT = "tuneoff lcbench 1"
MARKS = (2, 5, 10, 20, 50)  # equivalents of a full run after which the regret is recorded
PACKAGES = ("tuneoff", "numpy", "onnxruntime", "optuna", "scipy", "torch")


@dataclass(frozen=True)
class Cell:
    """What decides the result of a run: equal fields give equal records but for seconds.

    Attributes:
        policy: as written, see ``lcbench.PolicySpec``.
        space: name of the search space.
        dataset: OpenML task id.
        repeat: number of the repeat, from which the seed follows.
        workers: number of simulated workers.
        equivalents: budget in full runs.
    """

    policy: str
    space: str
    dataset: str
    repeat: int
    workers: int
    equivalents: int

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Cell:
        """The cell of a record."""
        return cls(**{field.name: record[field.name] for field in fields(cls)})


def make_record(cell: Cell, simulation: Simulation, reference: Reference) -> dict[str, Any]:
    """The record of a run: plain JSON values.

    ``regret`` is by mark; ``to_hand`` and ``to_grid`` are the equivalents after which the hand
    setting's and the hand grid's error was reached, null for never; ``curve`` has [epochs, regret]
    wherever the regret changes; ``seconds`` are all that the policy took.
    """
    trace = changes(simulation)

    def first(error: float) -> float | None:
        found = (epochs for epochs, final in trace if final <= error + ROUNDING)
        return next((epochs / HORIZON for epochs in found), None)

    def recommended(epochs: int) -> float:
        return [final for since, final in trace if since <= epochs][-1]

    marks = [mark for mark in MARKS if mark <= cell.equivalents]
    return {
        **asdict(cell),
        "horizon": HORIZON,
        "regret": {str(mark): reference.regret(recommended(mark * HORIZON)) for mark in marks},
        "to_hand": first(reference.hand),
        "to_grid": first(reference.grid),
        "epochs": len(simulation.steps),
        "trials": dict(simulation.states),
        "seconds": simulation.seconds,
        "suggestions": simulation.suggestions,
        "curve": [[epochs, round(reference.regret(final), 6)] for epochs, final in trace],
    }


def changes(simulation: Simulation) -> list[tuple[int, float]]:
    """The (epochs, final error) at which the trial changes that the arm would recommend."""
    trace: list[tuple[int, float]] = []
    deepest = 0
    for step in simulation.steps:
        if step.epoch < deepest:  # others were trained for longer: they alone are recommended
            continue
        deepest = step.epoch
        final = simulation.recommended(step.epochs, HORIZON)
        if not trace or final != trace[-1][1]:
            trace.append((step.epochs, final))
    return trace


class Store:
    """The records, in a JSON file that is complete at any time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = {"format": FORMAT, "header": {"runs": []}, "records": []}
        if not path.exists():
            return
        try:
            self.content = json.loads(path.read_text(encoding="utf-8"))
            known = self.content["format"] == FORMAT
        except OSError as error:
            raise _unusable(path, f"cannot be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise _unusable(path, "holds something else than this benchmark's records")

    @property
    def records(self) -> list[dict[str, Any]]:
        """All records in the file, whichever run of the command made them."""
        records: list[dict[str, Any]] = self.content["records"]
        return records

    def begin(self, digest: str) -> None:
        """Note that a new run of the command adds records, made with this surrogate.

        Raises:
            click.BadParameter: the file's records were made with another one, or it cannot be
                written.
        """
        header = self.content["header"]
        if header.setdefault("surrogate", digest) != digest:
            raise _unusable(self.path, "was made with another model or reference")
        header["runs"].append(_run_header())
        self._write()

    def add(self, record: dict[str, Any]) -> None:
        """Add a record, with the number of the run of the command that made it."""
        self.records.append({**record, "run": len(self.content["header"]["runs"]) - 1})
        self._write()

    def _write(self) -> None:
        try:
            write_text(self.path, json.dumps(self.content, allow_nan=False))
        except OSError as error:
            raise _unusable(self.path, f"cannot be written ({error.strerror})") from None


def _unusable(path: Path, why: str) -> click.BadParameter:
    return click.BadParameter(f"{path} {why}; choose another file", param_hint="--json")


def _run_header() -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    except OSError:
        commit = ""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit or None,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "machine": {"cpu": (models or [platform.processor()])[0], "cores": os.cpu_count()},
    }
