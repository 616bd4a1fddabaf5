"""The file to which a command reports: one JSON line for each epoch, read while it grows."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from tuneoff.messages import printable
from tuneoff.trainer.errors import TrainerError

LONGEST_LINE = 65_536
"""Bytes; a line that is longer is none of ours."""
_SHOWN = 80


class BadReport(TrainerError):
    """A command reported what cannot be used; one line that says what and why."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a command said of one epoch.

    Attributes:
        epoch: 1-based.
        value: on validation; infinite or NaN if the run diverged.
        test: the same on test data; None if it did not say.
    """

    epoch: int
    value: float
    test: float | None = None

    @property
    def diverged(self) -> bool:
        """True if the value is no finite number."""
        return not math.isfinite(self.value)


class Reports:
    """Reads a report file from its beginning on, as it grows.

    A line counts when its line end is there: what was written in part is read when it is whole.
    Empty lines are passed over.
    """

    def __init__(self, path: Path, after: int, last: int) -> None:
        """
        Args:
            path: need not exist yet.
            after: the last epoch that was trained before; the first one reported is the next.
            last: the run's last epoch.
        """
        self._path, self._epoch, self._last = path, after, last
        self._read, self._rest = 0, b""

    @property
    def epoch(self) -> int:
        """The last epoch that is known."""
        return self._epoch

    def new(self) -> list[Report]:
        """What came since the last call, in order.

        Raises:
            BadReport: something that came is no report, or not of the epoch that was due. What
                came before it is lost to the caller: a command that reports nonsense has failed.
        """
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._read:
                    raise BadReport(
                        "the command wrote its report file anew; it must append one line an epoch"
                    )
                file.seek(self._read)
                came = file.read()
        except FileNotFoundError:
            return []
        self._read += len(came)
        *lines, self._rest = (self._rest + came).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise BadReport(
                f"the command wrote {len(self._rest)} bytes without a line end to its report file; "
                "it must append one short line of JSON an epoch"
            )
        return [self._next(line) for line in lines if line.strip()]

    def _next(self, line: bytes) -> Report:
        report = parse(line)
        due = self._epoch + 1
        if report.epoch > self._last:
            raise BadReport(
                f"the command reported epoch {report.epoch}, after the run's last, {self._last}; "
                "make it train as many epochs as {epochs} or TUNEOFF_EPOCHS says"
            )
        if report.epoch == self._epoch:
            raise BadReport(f"the command reported epoch {report.epoch} twice")
        if report.epoch != due:
            raise BadReport(
                f"the command reported epoch {report.epoch} when epoch {due} was due; epochs count "
                "from 1, and a run that goes on reports the epoch after TUNEOFF_RESUME_EPOCH first"
                + _HOW_TO_RESTART
                * (report.epoch < due)
            )
        self._epoch = report.epoch
        return report


_HOW_TO_RESTART = "; if it cannot go on from its folder, set [trial] resumable = false"


def parse(line: bytes) -> Report:
    """One line of a report file.

    Raises:
        BadReport: it is none.
    """
    text = line.decode(errors="replace").strip()
    said = printable(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
    form = 'write {"epoch": 1, "value": 0.31}, and "test" if you have it'
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise BadReport(f"the command's report is no JSON ({said}); {form}") from None
    if not isinstance(values, dict) or not {"epoch", "value"} <= values.keys():
        raise BadReport(f'the command\'s report lacks "epoch" or "value" ({said}); {form}')
    epoch, value, test = values["epoch"], values["value"], values.get("test")
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1:
        raise BadReport(f'"epoch" must be a whole number from 1 on ({said}); {form}')
    if not (value is None or _is_number(value)) or not (test is None or _is_number(test)):
        raise BadReport(f'"value" and "test" must be numbers ({said}); {form}')
    # Writers that have no NaN in their JSON write null.
    return Report(epoch, _number(value), None if test is None else _number(test))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: float | None) -> float:
    try:
        return math.nan if value is None else float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf
