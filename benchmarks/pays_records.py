"""What pays.py runs, cell by cell, and the file of lines of JSON that holds what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import click
from pays_worlds import TUNING, TUNING_ROWS

FORMAT = "tuneoff pays 1"
BUDGETS = (2, 3, 5, 10, 20, 50)
SHARES = (1.0, 0.5, 0.25)
"""Horizons, as shares of a full run."""
MOST: Mapping[str, Mapping[float, int]] = {
    TUNING: {1.0: 50, 0.5: 20, 0.25: 10},
    TUNING_ROWS: {1.0: 20},
    "LCBench": {1.0: 20, 0.5: 10, 0.25: 5},
    "TaskSet": {1.0: 20, 0.5: 10, 0.25: 5},
}
"""By group of worlds and horizon: the largest budget."""
REPEATS: Mapping[str, int] = {TUNING: 100, TUNING_ROWS: 100, "LCBench": 5, "TaskSet": 12}
"""By group: of each of its worlds."""
OURS = "curve-gp"
METHODS = (OURS, "gp", "tpe+hyperband", "random", "grid", "top-k", "one-at-a-time")
"""Beside the hand-tuned lists."""
ON_ROWS = (OURS, "gp", "tpe+hyperband", "random")
"""Methods that can be told that something else was trained than they proposed."""
FULL_ONLY: Mapping[str, int] = {"gp": 20}
"""Methods that are run at the full horizon alone, up to these full runs."""
PLANNED = ("top-k",)
"""Methods that plan for a budget: each budget is a search of its own."""


@dataclass(frozen=True)
class Cell:
    """One search.

    Attributes:
        world, method: names.
        share: the horizon, as a share of a full run.
        budget: full runs' worth of epochs.
        repeat: number of the repeat, from which the seeds follow.
    """

    world: str
    method: str
    share: float
    budget: int
    repeat: int

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Cell:
        """The cell of a record."""
        return cls(**{field.name: record[field.name] for field in fields(cls)})


def design(groups: Mapping[str, str], hand: Mapping[str, Sequence[str]], most: int) -> list[Cell]:
    """Every cell, repeat by repeat, so that what is there after an interruption is balanced.

    Args:
        groups: by world, its group.
        hand: by world, the names of its hand-tuned lists.
        most: repeats at most.
    """
    found: list[tuple[float, Cell]] = []
    for world, group in groups.items():
        repeats = min(most, REPEATS[group])
        for repeat in range(repeats):
            cells = _of_repeat(world, group, hand[world], repeat)
            found += [((repeat + 1) / repeats, cell) for cell in cells]
    return [cell for _, cell in sorted(found, key=lambda each: each[0])]


def _of_repeat(world: str, group: str, hand: Sequence[str], repeat: int) -> Iterator[Cell]:
    for share, largest in MOST[group].items():
        methods = ON_ROWS if group == TUNING_ROWS else (*METHODS, *hand)
        for method in methods:
            if method in FULL_ONLY and share < 1:
                continue
            top = min(largest, FULL_ONLY.get(method, largest))
            budgets = [b for b in BUDGETS if b <= top] if method in PLANNED else [top]
            for budget in budgets:
                yield Cell(world, method, share, budget, repeat)


class Store:
    """Records, a line each; a line that was cut off is left out."""

    def __init__(self, path: Path, digests: Mapping[str, str]) -> None:
        """
        Args:
            digests: of the files that worlds are made from, by kind; kinds may be added later.

        Raises:
            click.BadParameter: the file is another one, or was made from other files.
        """
        self.path, self.records, self.worlds = path, list[dict[str, Any]](), dict[str, str]()
        self.files: dict[str, str] = {}
        if path.exists():
            self._read()
        else:
            self._append({"format": FORMAT})
        for kind, digest in digests.items():
            if self.files.setdefault(kind, digest) != digest:
                raise _refused(path, f"was made from other files ({kind})")
            self._append({"file": kind, "digest": digest})

    def _read(self) -> None:
        try:
            first, *lines = self.path.read_text(encoding="utf-8").split("\n")
            there = json.loads(first)
        except (OSError, ValueError):
            raise _refused(self.path, "holds no records of this benchmark") from None
        if there != {"format": FORMAT}:
            raise _refused(self.path, "holds no records of this version of the benchmark")
        for line in lines:
            try:
                self._keep(json.loads(line))
            except ValueError:
                continue

    def _keep(self, record: dict[str, Any]) -> None:
        if "file" in record:
            self.files[record["file"]] = record["digest"]
        elif "about" in record:
            self.worlds[record["world"]] = record["about"]
        else:
            self.records.append(record)

    def describe(self, world: str, about: Callable[[], str]) -> str:
        """What a world is, asked once."""
        if world not in self.worlds:
            record = {"world": world, "about": about()}
            self._keep(record)
            self._append(record)
        return self.worlds[world]

    def add(self, cell: Cell, found: Mapping[str, Any]) -> None:
        """Add what came of a cell."""
        record = {**asdict(cell), **found}
        self.records.append(record)
        self._append(record)

    def _append(self, record: Mapping[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                torn = self.path.stat().st_size and not self.path.read_bytes().endswith(b"\n")
                file.write("\n" * bool(torn) + json.dumps(record, allow_nan=False) + "\n")
        except OSError as error:
            raise _refused(self.path, f"cannot be written ({error.strerror})") from None


def digest_of(paths: Sequence[Path]) -> str:
    """SHA-256 of files, those in a folder by name (click.BadParameter if one cannot be read)."""
    found = hashlib.sha256()
    for path in paths:
        for file in sorted(path.glob("taskset-*.npz")) if path.is_dir() else [path]:
            try:
                found.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                raise click.BadParameter(f"{file} cannot be read ({error.strerror})") from None
    return found.hexdigest()


def _refused(path: Path, why: str) -> click.BadParameter:
    return click.BadParameter(f"{path} {why}; choose another file", param_hint="--records")
