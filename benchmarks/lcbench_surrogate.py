"""LCBench's learning curves from their surrogate; see README.md beside the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from tuneoff.messages import first_line

HORIZON = 52  # epochs of a full run
ROUNDING = 5e-5  # percent: errors in reference.json have four decimals
INPUTS = (  # the model's inputs after the epoch, in its order
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "num_layers",
    "max_units",
    "max_dropout",
)
_CORE: Mapping[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1e-1, log=True),
    "momentum": FloatDistribution(0.1, 0.99),
    "weight_decay": FloatDistribution(1e-5, 1e-1, log=True),
}
SPACES: Mapping[str, Mapping[str, BaseDistribution]] = {
    "core": _CORE,
    "full": {
        **_CORE,
        "batch_size": IntDistribution(16, 512, log=True),
        "num_layers": IntDistribution(1, 5),
        "max_units": IntDistribution(64, 1024, log=True),
        "max_dropout": FloatDistribution(0.0, 1.0),
    },
}
FIXED: Mapping[str, Any] = {
    "batch_size": 91,
    "num_layers": 3,
    "max_units": 256,
    "max_dropout": 0.5,
}
DATASETS = {
    "dev": ("34539", "167168", "168335", "189862"),
    "report": (
        "7593",
        "126026",
        "167104",
        "167161",
        "167184",
        "167200",
        "168330",
        "168868",
        "189354",
        "189866",
    ),
}


class SurrogateError(Exception):
    """A file of the surrogate is missing or is not what it should be; the message is one line."""


@dataclass(frozen=True)
class Files:
    """The files of the surrogate."""

    model: Path
    encoding: Path
    reference: Path

    def digest(self) -> str:
        """SHA-256 of all three, hexadecimal: regrets of different files cannot be compared."""
        digests = [hashlib.sha256(_read(p)).digest() for p in (self.model, self.encoding)]
        return hashlib.sha256(b"".join(digests) + _read(self.reference)).hexdigest()


@dataclass(frozen=True)
class Reference:
    """Errors after a full run on one data set in one space, in percent.

    Attributes:
        best: the best known one.
        median: median of 1,000 random configurations.
        hand: the error of a setting chosen by hand.
        grid: the best of a grid of nine settings chosen by hand.
    """

    best: float
    median: float
    hand: float
    grid: float

    def regret(self, error: float) -> float:
        """Normalised regret: 0 for the best known error, 1 for that of the median."""
        return (error - self.best) / (self.median - self.best)


class Surrogate:
    """LCBench's surrogate, computed by one thread (SurrogateError if a file is bad)."""

    def __init__(self, files: Files) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        model = _read(files.model)
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own classes have no public base
            raise SurrogateError(
                f"{files.model} is no model ({first_line(error)}); give LCBench's model.onnx"
            ) from None
        try:
            self._codes: dict[str, int] = _load(files.encoding)["OpenML_task_id"]
            self._references: dict[str, dict[str, Any]] = {
                space: _load(files.reference)[space] for space in SPACES
            }
        except (KeyError, TypeError) as error:
            raise SurrogateError(
                f"{files.encoding} or {files.reference} has no {error}; give the files beside the "
                "model"
            ) from None

    def knows(self, space: str, dataset: str) -> bool:
        """Whether the files have this data set's curves, and errors to judge them by."""
        return dataset in self._codes and dataset in self._references[space]

    def reference(self, space: str, dataset: str) -> Reference:
        """Errors to judge the curves of a data set by, in percent."""
        known = self._references[space][dataset]
        return Reference(known["best"], known["median"], known["hand"], min(known["hand_grid"]))

    def curve(self, dataset: str, params: Mapping[str, Any]) -> list[float]:
        """Validation errors after epochs 1, 2, ..., HORIZON, in percent."""
        config = {**FIXED, **params}
        rows = np.empty((HORIZON, 1 + len(INPUTS)), dtype=np.float32)
        rows[:, 0] = np.arange(1, HORIZON + 1)
        rows[:, 1:] = [config[name] for name in INPUTS]
        codes = np.full((HORIZON, 1), self._codes[dataset], dtype=np.int32)
        (output,) = self._session.run(["output"], {"x_cat": codes, "x_cont": rows})
        accuracy = np.asarray(output)[:, 1].astype(float)
        return [float(error) for error in np.clip(100.0 - accuracy, 0.0, 100.0)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SurrogateError(
            f"{path} cannot be read ({error.strerror}); give the surrogate with --model"
        ) from None


def _load(path: Path) -> Any:
    try:
        return json.loads(_read(path))
    except ValueError:
        raise SurrogateError(f"{path} is not JSON; give the file beside the model") from None
