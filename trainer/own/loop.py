"""Trains with a loop of the user's, a Python function or generator: implements ``Trainer``."""

from __future__ import annotations

import contextvars
import hashlib
import logging
import math
import platform
import shutil
import sys
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from greenlet import getcurrent, greenlet

from tuneoff.trainer.contract import (
    TOP_1,
    EpochRecord,
    Judge,
    Predictions,
    RunSeed,
    Scores,
    Split,
    Task,
    Tick,
)
from tuneoff.trainer.errors import (
    CheckpointError,
    DataError,
    Diverged,
    Interrupted,
    OwnCodeError,
)
from tuneoff.trainer.own import function, kept
from tuneoff.trainer.own.context import Context, Leave
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams

log = logging.getLogger(__name__)

FILES = "files"
"""In a run's folder, the folder that the user's code fills."""
_VERSIONS = ("torch", "numpy", "sklearn", "jax", "tensorflow", "lightning", "transformers")
_SMALLEST = 1e-12
"""Probabilities below this count as it, so that their logarithms are finite."""


@dataclass(frozen=True)
class LoopTrainer:
    """Implements ``Trainer`` with the function that an OwnTraining names.

    Attributes:
        device: that the function is told.
        threads: CPU threads that it is told; None for all.
    """

    device: str = "cpu"
    threads: int | None = None

    def describe(self) -> Mapping[str, str]:
        """See ``Trainer.describe``; versions are those of libraries that the code has imported."""
        about = {"device": self.device, "python": platform.python_version()}
        if self.threads is not None:
            about["threads"] = str(self.threads)
        for name in _VERSIONS:
            version = getattr(sys.modules.get(name), "__version__", None)
            if isinstance(version, str):
                about[name] = version
        return about

    def resolve(self, recipe: OwnTraining) -> OwnTraining:
        """See ``Trainer.resolve``: what an own code is given is complete."""
        return recipe

    def check(self, recipe: OwnTraining) -> Task:
        """See ``Trainer.check``: load the function, and look at its signature.

        Raises:
            ModelError: there is no such function; one line that says why.
        """
        found = _function(recipe)
        notes = () if found.resumable else (
            f"{found.reference} says that it cannot go on from what it saved: a run that is "
            "stopped, paused or cut off begins again, and pays for its epochs again",
        )  # fmt: skip
        return Task.own(found.digest, notes, predicts=found.predict is not None)

    def train(
        self,
        recipe: OwnTraining,
        params: HyperParams,
        seed: RunSeed,
        checkpoints: Path,
        tick: Tick,
    ) -> Generator[EpochRecord, None, None]:
        """See ``Trainer.train``. The tick is called before the first epoch, at the end of each, and
        when the function asks whether it should stop.

        Epochs after the last one for which the function saved its state are trained again.

        Raises:
            OwnCodeError: the function reports what it may not, or ends before its last epoch.
            what the function raises.
        """
        found, run = _function(recipe), _run(recipe, seed)
        files = checkpoints / FILES
        before = kept.load_newest(checkpoints, run, files)
        records = [] if before is None else [EpochRecord(**one) for one in before.records]
        goes_on = before is not None and before.has_files and found.resumable
        if not goes_on and len(records) < recipe.epochs:
            records = []  # there is nothing to go on from
            shutil.rmtree(files, ignore_errors=True)
        yield from (replace(record, replayed=True) for record in records)
        if len(records) == recipe.epochs:
            return
        context = self._context(recipe, seed, files, len(records), found, goes_on)
        running = _Running(found, recipe, context, tick, records, checkpoints, run)
        if tick():
            running.keep()
            raise Interrupted(len(records))
        yield from running.epochs()

    def newest(self, checkpoints: Path) -> Path | None:
        """See ``Trainer.newest``."""
        return kept.newest(checkpoints)

    def evaluate(self, recipe: OwnTraining, checkpoints: Path, split: Split) -> Scores:
        """See ``Trainer.evaluate``: asks the function's ``predict``.

        Raises:
            OwnCodeError: it has none, or that returns something else.
        """
        found = _function(recipe)
        if found.predict is None:
            raise OwnCodeError(f"{found.reference} has no predict, so that no split can be scored")
        files = checkpoints / FILES
        before = kept.load_newest(checkpoints, {"recipe": recipe.to_dict()}, files)
        if before is None or len(before.records) < recipe.epochs:
            raise CheckpointError(
                f"{checkpoints} has no checkpoint of the run's last epoch; train it first"
            )
        seed = RunSeed(**before.run["seed"])
        context = self._context(recipe, seed, files, recipe.epochs, found, before.has_files)
        return _scores(found.predict(dict(recipe.params), context, split), found.reference)

    def predict(self, recipe: OwnTraining, checkpoints: Path, images: Path) -> Predictions:
        """See ``Trainer.predict``; DataError, as what an own code takes is unknown."""
        raise DataError(
            f"{recipe.code} is code of your own, and what it takes is unknown here; load its "
            f"checkpoint from {checkpoints} with that code"
        )

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores], judge: Judge = TOP_1
    ) -> tuple[Scores, tuple[float, ...]]:
        """See ``Trainer.combine``."""
        from tuneoff.trainer.ensemble import combine

        return combine(how, validation, test, judge)

    def _context(
        self,
        recipe: OwnTraining,
        seed: RunSeed,
        files: Path,
        done: int,
        found: function.Function,
        has_state: bool,
    ) -> Context:
        return Context(
            seed=seed_number(seed),
            epochs=recipe.epochs,
            device=self.device,
            threads=self.threads,
            folder=files,
            done=done,
            has_state=has_state,
            what=found.reference,
        )


class _Running:
    """The user's function while it trains, in a greenlet of its own: it is called once, and goes on
    from its report when the next epoch is wanted. All is in one thread, as the function expects.
    """

    def __init__(
        self,
        found: function.Function,
        recipe: OwnTraining,
        context: Context,
        tick: Tick,
        records: list[EpochRecord],
        checkpoints: Path,
        run: Mapping[str, Any],
    ) -> None:
        self._found, self._recipe, self._context = found, recipe, context
        self._tick, self._records = tick, records
        self._checkpoints, self._run = checkpoints, run
        self._stop = False
        self._error: Exception | None = None
        self._began = time.monotonic()
        self._home = getcurrent()
        self._greenlet = greenlet(self._call)
        self._greenlet.gr_context = contextvars.copy_context()
        context.follow(self)

    def epochs(self) -> Iterator[EpochRecord]:
        """The records of the epochs, each as it is reported."""
        try:
            while (record := self._resume()) is not None:
                yield record
                if self._stop and record.epoch < self._recipe.epochs:
                    raise Interrupted(record.epoch)
                if record.epoch == self._recipe.epochs:
                    return
            if self._stop:
                if self._context.saved:
                    self.keep()  # within an epoch
                raise Interrupted(len(self._records))
            raise OwnCodeError(
                f"{self._found.reference} ended after epoch {len(self._records)} of "
                f"{self._recipe.epochs} (context.epochs); report every epoch"
            )
        finally:
            if self._greenlet:  # it stands where it reported
                self._leave()

    def keep(self) -> None:
        """Keep the folder as it is, with the records so far."""
        records = [asdict(record) for record in self._records]
        kept.save(self._checkpoints, self._run, records, self._context.folder)
        self._context.saved = False

    def _resume(self) -> EpochRecord | None:
        """The record of the next epoch; None if the function has ended."""
        found: EpochRecord | None = self._greenlet.switch()
        if self._error is not None:
            raise self._error
        return found

    def _call(self) -> EpochRecord | None:
        """The user's function, from its beginning to its end; the record of its last epoch."""
        try:
            result = self._found.call(dict(self._recipe.params), self._context)
            if isinstance(result, Iterator):
                self._follow(result)
        except Leave:
            pass
        except SystemExit:
            self._error = OwnCodeError(
                f"{self._found.reference} called sys.exit in epoch {len(self._records) + 1}; "
                "return instead"
            )
        complete = len(self._records) == self._recipe.epochs
        return self._records[-1] if complete else None

    def _follow(self, values: Iterator[Any]) -> None:
        """Report what a generator yields: a value, or a value, a state and perhaps a test value."""
        try:
            for item in values:
                value, *more = item if isinstance(item, tuple) else (item,)
                if len(more) > 2:
                    self.fail(
                        OwnCodeError(
                            f"{self._found.reference} yielded {len(more) + 1} values; yield value, "
                            "or value, state, or value, state, test"
                        )
                    )
                if more:
                    self._context.save(more[0])
                self._context.report(self._context.done + 1, value, *more[1:])
                if self._context.done == self._context.epochs:
                    return
        finally:
            close = getattr(values, "close", None)
            if close is not None:
                close()

    def take(self, value: float, test: float | None) -> None:
        """An epoch was reported: keep what was saved, and hand its record over."""
        self.asked()
        now = time.monotonic()
        epoch, seconds = len(self._records) + 1, now - self._began
        record = EpochRecord(epoch, value, value, value, self._rate, seconds, test_error=test)
        self._records.append(record)
        self._context.done = epoch
        if self._context.saved or epoch == self._recipe.epochs:
            try:
                self.keep()
            except CheckpointError as error:
                self.fail(error)
        if epoch < self._recipe.epochs:  # otherwise once the function has ended
            self._home.switch(record)
            self._began = time.monotonic()

    def asked(self) -> bool:
        """Whether the run is to stop. What the tick raises is none of the function's business."""
        try:
            self._stop = self._tick() or self._stop
        except Exception as error:
            self.fail(error)
        return self._stop

    def fail(self, error: Exception) -> NoReturn:
        """See ``Follower.fail``."""
        if isinstance(error, Diverged):
            error.seconds = time.monotonic() - self._began
        self._error = self._error or error
        raise Leave

    @property
    def _rate(self) -> float:
        """The learning rate, if a parameter is called so."""
        rate = self._recipe.params.get("lr", 0.0)
        return float(rate) if isinstance(rate, int | float) and math.isfinite(rate) else 0.0

    def _leave(self) -> None:
        """End the function where it stands; its ``finally`` blocks are run."""
        self._context.follow(_Gone())
        try:
            self._greenlet.throw(Leave)
        except Exception as error:
            log.warning("%s raised when it was ended: %s", self._found.reference, error)


class _Gone:
    """Follows a run that has been ended: whatever its function still asks for ends it again."""

    def take(self, value: float, test: float | None) -> None:
        raise Leave

    def asked(self) -> bool:
        return True

    def fail(self, error: Exception) -> NoReturn:
        raise Leave


def seed_number(seed: RunSeed) -> int:
    """A run's seed as one number, 0 to 2**31 - 1, for whatever random streams its code has."""
    digest = hashlib.sha256(f"{seed.study} {seed.trial} {seed.replica}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _run(recipe: OwnTraining, seed: RunSeed) -> dict[str, Any]:
    """What a checkpoint's run is known by."""
    return {"recipe": recipe.to_dict(), "seed": asdict(seed)}


def _function(recipe: OwnTraining) -> function.Function:
    if recipe.trainer is None:
        raise ValueError("this recipe names a command, and not a loop")
    return function.load(recipe.trainer)


def _scores(found: Any, what: str) -> Scores:
    """What ``predict`` returned, as scores whose logits are log-probabilities."""
    try:
        given, labels = found
        logits = np.log(np.clip(np.asarray(given, np.float64), _SMALLEST, None)).astype(np.float32)
        return Scores(logits, np.asarray(labels).astype(np.int64))
    except (TypeError, ValueError) as error:
        raise OwnCodeError(
            f"{what}: its predict returned no pair of probabilities, of shape (cases, classes), "
            f"and labels ({error})"
        ) from error
