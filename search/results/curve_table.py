"""A table of learning curves: configurations, their trainings, and the one file that holds them.

The file is JSON, compressed with gzip; ``write`` makes equal bytes of equal tables.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tuneoff.files import replacing
from tuneoff.search.errors import UserError
from tuneoff.search.spec.section import Choice
from tuneoff.search.spec.sections import ParamSpec

FORMAT: Literal["tuneoff table 1"] = "tuneoff table 1"
DIGITS = 6
"""Significant digits that are kept of a loss and of seconds."""

Error = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CurveRun(_Part):
    """One training of one configuration.

    Attributes:
        config: index of the configuration.
        seed: ``RunSeed``: study, trial, replica.
        errors: validation error, 0 to 1, by epoch from 1; as far as the training came.
        losses: mean cross entropy on the validation split, nats, by epoch; None where it is not
            finite.
        seconds: wall time of each epoch with its evaluation.
        test_error: after the last epoch, 0 to 1; None if it diverged or there is no test split.
        diverged: the epoch, from 1, in which the loss became non-finite; None if it did not.
    """

    config: Annotated[int, Field(ge=0)]
    seed: tuple[int, int, int]
    errors: tuple[Error, ...]
    losses: tuple[float | None, ...]
    seconds: tuple[float, ...]
    test_error: Error | None
    diverged: int | None = None


class CurveTable(_Part):
    """Configurations of a search space, each trained with several seeds.

    Attributes:
        study: name of the study whose space it fills.
        mark: SHA-256 of the table's own study file, which tells it from another.
        licence: of the table and the curves in it, in words; "" if nobody said.
        space: the searched parameters, as in a study file.
        configs: complete parameters.
        hand: by hand-tuned arm: the indices of its configurations, in its order.
        epochs: of a full run.
        classes: number of classes.
        sizes: images in each split.
        data: SHA-256 of the packed images and labels.
        weights: SHA-256 of the weights that training starts from; None if there are none.
        recipe: every field of the recipe, before searched values are filled in.
        fixed: the optimiser's numbers where they are not searched.
        environments: where it was trained: devices and versions, each combination once.
        missing: trainings that failed for other reasons than divergence, and are left out.
    """

    format: Literal["tuneoff table 1"] = FORMAT
    study: str
    mark: str
    licence: str
    space: Mapping[str, ParamSpec]
    configs: tuple[Mapping[str, Choice], ...]
    hand: Mapping[str, tuple[int, ...]]
    epochs: Annotated[int, Field(gt=0)]
    classes: Annotated[int, Field(gt=1)]
    sizes: Mapping[str, int]
    data: str
    weights: str | None
    recipe: Mapping[str, Any]
    fixed: Mapping[str, float | int]
    environments: tuple[Mapping[str, str], ...]
    missing: int
    runs: tuple[CurveRun, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for i, run in enumerate(self.runs):
            done = len(run.errors)
            whole = done == self.epochs if run.diverged is None else done == run.diverged - 1
            if run.config >= len(self.configs) or not whole:
                raise ValueError(f"run {i} does not fit the table's configurations and epochs")
            if not len(run.losses) == len(run.seconds) == done:
                raise ValueError(f"run {i} has errors, losses and seconds of different epochs")
        for name, indices in self.hand.items():
            if any(not 0 <= index < len(self.configs) for index in indices):
                raise ValueError(f"hand.{name} names a configuration that is not there")
        return self

    @property
    def chance_error(self) -> float:
        """Error of guessing, 0 to 1."""
        return 1.0 - 1.0 / self.classes


def write_table(table: CurveTable, path: Path) -> None:
    """Write a table; the old file stays until the new one is whole.

    Raises:
        UserError: it cannot be written.
    """
    values = _rounded(table.model_dump(mode="json"))
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    try:
        with replacing(path) as file:
            file.write(gzip.compress(text.encode(), mtime=0))
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); choose another file"
        ) from None


def read_table(path: Path) -> CurveTable:
    """Read a table.

    Raises:
        UserError: there is no such file, it is torn, or it is no table; one line.
    """
    try:
        with path.open("rb") as file:
            text = gzip.decompress(file.read())
    except gzip.BadGzipFile:
        raise UserError(
            f"{path} is no table; `tuneoff table STUDY.toml -o FILE` makes one"
        ) from None
    except (EOFError, zlib.error):
        raise UserError(f"{path} is torn: it ends too early or is damaged; copy it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check the path") from None
    try:
        values = json.loads(text)
        found = values.get("format") if isinstance(values, dict) else None
        if found != FORMAT:
            raise UserError(f"{path} is no table that this version reads ({FORMAT!r})")
        return CurveTable.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is damaged: {f'{where}: ' * bool(where)}{first['msg']}") from None
    except ValueError:
        raise UserError(f"{path} is no table; it does not hold JSON") from None


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    for run in values["runs"]:
        for name in ("losses", "seconds"):
            run[name] = [value and float(f"{value:.{DIGITS}g}") for value in run[name]]
    return values
