"""Trains with a command of the user's, as ``contract.Trainer`` says."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from tuneoff import references
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
from tuneoff.trainer.errors import DataError, ModelError, OwnCodeError
from tuneoff.trainer.own import kept, template
from tuneoff.trainer.own.command_job import HUNG_SECONDS, Job
from tuneoff.trainer.own.command_run import run_command
from tuneoff.trainer.own.loop import seed_number
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams

_SCRIPTS = (".py", ".sh", ".R", ".jl", ".lua", ".rb", ".js")
_LARGEST_SCRIPT = 10_000_000
"""Bytes; a file that is larger is none that was written by hand."""


@dataclass(frozen=True)
class CommandTrainer:
    """Implements ``Trainer`` with the command that an OwnTraining names.

    Attributes:
        device: that the command is told. Of several GPUs it sees that one alone.
        threads: CPU threads that it is told (``OMP_NUM_THREADS``); None for all.
        hung_seconds: a command that neither reports nor prints anything for so long hangs.
    """

    device: str = "cpu"
    threads: int | None = None
    hung_seconds: float = HUNG_SECONDS

    def describe(self) -> Mapping[str, str]:
        """See ``Trainer.describe``; of the command's own libraries nothing is known."""
        about = {"device": self.device}
        if self.threads is not None:
            about["threads"] = str(self.threads)
        return about

    def resolve(self, recipe: OwnTraining) -> OwnTraining:
        """See ``Trainer.resolve``: what a command is given is complete."""
        return recipe

    def check(self, recipe: OwnTraining) -> Task:
        """See ``Trainer.check``: look for the program, and for the script that it is given.

        Raises:
            ModelError: there is none.
        """
        searched = dict.fromkeys(template.parameters_in(_template(recipe)), "")
        whole = recipe.override({**searched, **recipe.params})
        words = self._job(whole, RunSeed(), Path("run")).words(0)
        if shutil.which(words[0]) is None:
            raise ModelError(
                f"[trial] command: there is no program {words[0]} here; install it, start where it "
                "is on the PATH, or correct its name"
            )
        if len(words) > 1 and words[1].endswith(_SCRIPTS) and not Path(words[1]).is_file():
            raise ModelError(
                f"[trial] command: there is no {words[1]} in {Path.cwd()}; start in its folder, or "
                "give its whole path"
            )
        notes = () if recipe.resumable else (
            "the command cannot go on from its folder (resumable = false): a run that is stopped, "
            "paused or cut off begins again, and pays for its epochs again",
        )  # fmt: skip
        return Task.own(_digest(recipe), notes)

    def train(
        self,
        recipe: OwnTraining,
        params: HyperParams,
        seed: RunSeed,
        checkpoints: Path,
        tick: Tick,
    ) -> Generator[EpochRecord, None, None]:
        """See ``Trainer.train`` and ``run_command``.

        Raises:
            references.NotAllowed: nobody allowed this process to run the command.
        """
        references.require_allowed([references.name_of_command(_template(recipe))])
        rate = recipe.params.get("lr", 0.0)
        lr = float(rate) if isinstance(rate, int | float) and math.isfinite(rate) else 0.0
        with closing(run_command(self._job(recipe, seed, checkpoints), tick)) as epochs:
            for one in epochs:
                value = one.value
                record = EpochRecord(one.epoch, value, value, value, lr, one.seconds)
                yield replace(record, replayed=one.replayed, test_error=one.test)

    def newest(self, checkpoints: Path) -> Path | None:
        """See ``Trainer.newest``."""
        return kept.newest(checkpoints)

    def evaluate(self, recipe: OwnTraining, checkpoints: Path, split: Split) -> Scores:
        """See ``Trainer.evaluate``; OwnCodeError, as a command can only report."""
        raise OwnCodeError(
            "a command cannot be asked for scores of single cases; have it report a test value"
        )

    def predict(self, recipe: OwnTraining, checkpoints: Path, images: Path) -> Predictions:
        """See ``Trainer.predict``; DataError, as what a command takes is unknown."""
        raise DataError(
            f"{recipe.code} is a command of your own, and what its model takes is unknown here; "
            f"unpack its checkpoint in {checkpoints} and predict with your own code"
        )

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores], judge: Judge = TOP_1
    ) -> tuple[Scores, tuple[float, ...]]:
        """See ``Trainer.combine``."""
        from tuneoff.trainer.ensemble import combine

        return combine(how, validation, test, judge)

    def _job(self, recipe: OwnTraining, seed: RunSeed, folder: Path) -> Job:
        device, environment = self._where()
        return Job(
            command=_template(recipe),
            params=recipe.params,
            epochs=recipe.epochs,
            seed=seed_number(seed),
            device=device,
            folder=folder,
            resumable=recipe.resumable,
            stop_seconds=recipe.stop_seconds,
            hung_seconds=self.hung_seconds,
            extra=environment,
        )

    def _where(self) -> tuple[str, dict[str, str]]:
        """The device as the command is told, and what its environment says of that."""
        environment = {} if self.threads is None else {"OMP_NUM_THREADS": str(self.threads)}
        kind, _, number = self.device.partition(":")
        if kind != "cuda" or not number:
            return self.device, environment
        visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        mine = visible[int(number)] if int(number) < len(visible) else number
        return "cuda", {**environment, "CUDA_VISIBLE_DEVICES": mine}


def _template(recipe: OwnTraining) -> str:
    if recipe.command is None:
        raise ValueError("this recipe names a loop, and not a command")
    return recipe.command


def _digest(recipe: OwnTraining) -> str:
    """SHA-256 of the command, and of the files in the working directory that it names."""
    command = _template(recipe)
    digest = hashlib.sha256(command.encode())
    for word in command.split():
        path = Path(word)
        if not path.is_absolute() and path.is_file() and path.stat().st_size <= _LARGEST_SCRIPT:
            digest.update(path.read_bytes())
    return digest.hexdigest()
