"""What a user's own loop is given, and by which it reports: ``Context``."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any, NoReturn, Protocol

from tuneoff.files import make_folder
from tuneoff.trainer.errors import CheckpointError, Diverged, OwnCodeError

STATE = "state.pickle"
"""The file in a run's folder that holds what ``Context.save`` was given."""

_NOTHING = object()


class Leave(BaseException):
    """Ends the user's function, which must not take it for an error of its own."""


class Follower(Protocol):
    """Who follows a run."""

    def take(self, value: float, test: float | None) -> None:
        """The next epoch has ended with these values."""

    def asked(self) -> bool:
        """Whether the run is to stop."""

    def fail(self, error: Exception) -> NoReturn:
        """End the run with this error, which the user's function must not swallow."""


class Context:
    """One run of a user's own loop.

    Attributes:
        seed: a number for the run's random streams, 0 to 2**31 - 1. Runs with equal seeds should be
            equal.
        epochs: that the run has in all.
        done: epochs that were reported so far, those of before a pause or a crash too.
        device: to train on: "cpu", "cuda" or "cuda:1".
        threads: CPU threads to compute with; None for all.
        folder: a folder of this run's own. What lies in it when ``save`` is called is there again
            when the run goes on.
        saved: whether something was saved after the last report.
    """

    def __init__(
        self,
        *,
        seed: int,
        epochs: int,
        device: str,
        threads: int | None,
        folder: Path,
        done: int = 0,
        has_state: bool = False,
        what: str = "",
    ) -> None:
        self.seed, self.epochs, self.device, self.threads = seed, epochs, device, threads
        self.folder, self.done = folder, done
        self._has_state, self._resume, self._what = has_state, _NOTHING, what
        self.saved = False
        self._follower: Follower | None = None

    def follow(self, follower: Follower | None) -> None:
        """For the trainer: who follows the run from now on."""
        self._follower = follower

    @property
    def remaining(self) -> range:
        """The numbers of the epochs that are left to train, counted from 1."""
        return range(self.done + 1, self.epochs + 1)

    @property
    def resume(self) -> Any:
        """What was saved last, before the run was stopped; None for a run that begins.

        Where ``save`` was called without a state, it is the folder.
        """
        if self._resume is _NOTHING:
            self._resume = self.load()
        return self._resume

    def load(self) -> Any:
        """As ``resume``, read anew.

        Raises:
            OwnCodeError: what was saved cannot be read.
        """
        if not self._has_state:
            return None
        path = self.folder / STATE
        if not path.is_file():
            return self.folder
        try:
            with path.open("rb") as file:
                return pickle.load(file)
        except Exception as error:
            raise OwnCodeError(
                f"{self._what}: what it saved cannot be read ({type(error).__name__}: {error})"
            ) from error

    def save(self, state: Any = None) -> None:
        """Keep what the run needs to go on. It counts once the epoch is reported: save first.

        Args:
            state: anything that can be pickled; None if it all lies in ``folder``.

        Raises:
            OwnCodeError: the state cannot be pickled.
            CheckpointError: it cannot be written.
        """
        try:
            make_folder(self.folder)
            if state is None:
                (self.folder / STATE).unlink(missing_ok=True)
            else:
                # The checkpoint that is made of it with the report is whole or not there.
                with (self.folder / STATE).open("wb") as file:
                    pickle.dump(state, file, protocol=pickle.HIGHEST_PROTOCOL)
        except OSError as error:
            raise CheckpointError(
                f"a checkpoint cannot be written to {self.folder} ({error.strerror}); fix that and "
                f"start again: the run goes on from epoch {self.done + 1}"
            ) from error
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            raise OwnCodeError(
                f"{self._what}: its state cannot be pickled ({error}); save plain values, or files "
                "in context.folder"
            ) from error
        self.saved = self._has_state = True
        self._resume = _NOTHING

    def report(self, epoch: int, value: Any, test: Any = None) -> None:
        """Report an epoch that has ended. It may be the last: the run can end here for now.

        Call ``save`` before, as what is saved after it is lost if the run ends here.

        Args:
            epoch: its number, counted from 1.
            value: its result on validation data: an error, 0 to 1, unless the study's [metric] says
                otherwise. A value that is no finite number means that the run diverged.
            test: the same on test data, if you want it in the comparison of full trainings.

        The run ends, with one line that says why, if a value is no number or the epoch is another
        one than is due.
        """
        if self._follower is None:
            raise OwnCodeError(f"{self._what}: reported when nothing was trained")
        try:
            number = self._due(epoch)
            measured = self._number(value, "value")
            tested = None if test is None else self._number(test, "test value")
            if not math.isfinite(measured):
                raise Diverged(number)
            if tested is not None and not math.isfinite(tested):
                raise OwnCodeError(
                    f"{self._what} reported {tested} as the test value of epoch {number}"
                )
        except (OwnCodeError, Diverged) as error:
            self._follower.fail(error)
        self._follower.take(measured, tested)

    def should_stop(self) -> bool:
        """Whether the run is to stop, to be continued later. Ask as often as you like, but at least
        once in a while: a worker that is asked to leave waits for it.

        If it is True, save and return; or go on to the end of the epoch.
        """
        return self._follower is not None and self._follower.asked()

    def _due(self, epoch: Any) -> int:
        """The epoch's number, if it is the one that is due (OwnCodeError otherwise)."""
        number, due = _epoch(epoch), f"epoch {self.done + 1} is due"
        if number == self.done + 1 and number <= self.epochs:
            return number
        if number is None:
            wrong = f"reported {_short(epoch)} as an epoch; {due}"
        elif self.done >= self.epochs:
            wrong = f"reported epoch {number} after its last, {self.epochs} (context.epochs)"
        elif 1 <= number <= self.done:
            wrong = f"reported epoch {number} again; {due}"
        else:
            wrong = f"reported epoch {number} out of order; {due}"
        raise OwnCodeError(f"{self._what} {wrong}")

    def _number(self, value: Any, what: str) -> float:
        try:
            if isinstance(value, str | bytes | bool):
                raise TypeError
            return float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):  # torch raises the last
            raise OwnCodeError(
                f"{self._what} reported {_short(value)} as the {what} of epoch {self.done + 1}; "
                "report a number"
            ) from None


def _epoch(epoch: Any) -> int | None:
    """The number of an epoch; None if it is no whole number."""
    if isinstance(epoch, bool):
        return None
    try:
        return epoch.__index__()  # type: ignore[no-any-return]
    except AttributeError:
        return None


def _short(value: Any) -> str:
    """A value as Python writes it, or the beginning of that, on one line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
