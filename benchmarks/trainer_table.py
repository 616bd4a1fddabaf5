"""The table of the trainer's benchmark: how rows are measured, shown and written to a file."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from tuneoff.files import write_text

HEADS = ("what", "ours", "usual", "ratio", "wanted", "met?")
NO_GPU = "not measured: no GPU"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was measured.
        ours, usual: results of our trainer and of the usual one, with their units.
        ratio: how many times better ours is; None if there is nothing to compare.
        wanted: what is to be reached, in words.
        met: whether it was reached; None if nothing is wanted or nothing was measured.
    """

    what: str
    ours: str
    usual: str = ""
    ratio: float | None = None
    wanted: str = ""
    met: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = "" if self.met is None else ("yes" if self.met else "no")
        return self.what, self.ours, self.usual, ratio, self.wanted, met


def not_measured(what: str, wanted: str = "") -> Row:
    """The row of something that needs a GPU."""
    return Row(what, NO_GPU, wanted=wanted)


@dataclass(frozen=True)
class Rates:
    """Images a second of one side in each round, by CPU time and by wall time."""

    cpu: Sequence[float]
    wall: Sequence[float]

    def __str__(self) -> str:
        return f"{median(self.cpu):,.0f}/CPU-s ({median(self.wall):,.0f}/s)"


def take_turns(
    sides: Mapping[str, Callable[[], int]], rounds: int, clock: Callable[[], None] = lambda: None
) -> dict[str, Rates]:
    """Runs the sides in turns, so that other jobs on the machine disturb all of them alike.

    Args:
        sides: functions that return the number of images that they worked on. The first turn of
            each is a warm-up and does not count.
        rounds: turns that count.
        clock: called before each reading of the clocks, to wait for a device.
    """
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    wall: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            clock()
            before = cpu_seconds(), time.perf_counter()
            images = side()
            clock()
            after = cpu_seconds(), time.perf_counter()
            if turn:
                cpu[name].append(images / (after[0] - before[0]))
                wall[name].append(images / (after[1] - before[1]))
    return {name: Rates(cpu[name], wall[name]) for name in sides}


def cpu_seconds() -> float:
    """CPU time of this process and of all its children that have ended."""
    used = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def times(ours: Sequence[float], usual: Sequence[float]) -> float:
    """How many times faster: the median over the rounds of the ratio within a round."""
    return median(a / b for a, b in zip(ours, usual, strict=True))


def compare(what: str, found: Mapping[str, Rates], wanted: float, by: str = "cpu") -> Row:
    """The row of sides "ours" and "usual", compared by "cpu" or by "wall" time."""
    ratio = times(getattr(found["ours"], by), getattr(found["usual"], by))
    at_least = f">= {wanted:g}"
    return Row(what, str(found["ours"]), str(found["usual"]), ratio, at_least, ratio >= wanted)


def machine(device: str) -> str:
    """One line that describes this machine."""
    able = torch.cpu.get_capabilities()
    name = str(able.get("cpu_name") or platform.machine())
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        name = named[0] if named else name
    bf16 = [flag for flag in ("avx512_bf16", "amx_bf16") if able.get(flag)]
    parts = [
        f"{os.cpu_count()} cores of {name}, {' and '.join(bf16) or 'no bf16'}",
        torch.cuda.get_device_name(device) if torch.cuda.is_available() else "no GPU",
        f"torch {torch.__version__}",
        f"load before {os.getloadavg()[0]:.1f}",
    ]
    return "; ".join(parts)


def show(console: Console, rows: Sequence[Row], notes: Sequence[str]) -> None:
    """Prints the table."""
    table = Table(*HEADS)
    for row in rows:
        table.add_row(*row.cells)
    console.print(table)
    for note in notes:
        console.print(note)


def markdown(rows: Sequence[Row], notes: Sequence[str], command: str) -> str:
    """The table as a section of RESULTS.md."""
    lines = [f"## {date.today()}: training against the usual trainer", "", *notes, ""]
    lines += [f"`{command}`", "", f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    lines += [f"| {' | '.join(row.cells)} |" for row in rows]
    return "\n".join(lines) + "\n"


def keep(path: Path, section: str) -> None:
    """Adds a section to a file of results, before the older sections."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Measurements\n\n"
    head, mark, older = text.partition("\n## ")
    rest = f"\n{mark.lstrip()}{older}" if mark else ""
    write_text(path, f"{head.rstrip()}\n\n{section}{rest}")
