"""What the gallery's cases are made of: a study file to vary, and runs that look like training."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from stored_study import Run, State, Try, Writer, falling

from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.database import Database
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.study import Study
from tuneoff.trainer.contract import Task

EPOCHS: Final = 9
"""Of a full search run."""
TASK: Final = Task(tuple("0123456789"), {"train": 1438, "validation": 359, "test": 360}, "5e" * 32)
NO_TEST: Final = Task(TASK.classes, {**TASK.sizes, "test": 0}, TASK.digest)
SPACE: Final[Mapping[str, Any]] = {
    "lr": {"low": 1e-4, "high": 1.0, "log": True},
    "momentum": {"low": 0.5, "high": 0.99},
    "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
}
HAND: Final[list[dict[str, Any]]] = [
    {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "note": "the paper's"},
    {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "note": "ten times the paper's"},
    {"lr": 0.03, "momentum": 0.95, "weight_decay": 5e-4},
]
ARMS: Final[Mapping[str, Any]] = {
    "bayes": {"sampler": "curve-gp"},
    "hand": {"configs": HAND},
    "random": {"sampler": "random", "pruner": "median"},
}


Story = Literal[State, "resumed", "dropped"]
"""What became of a run; "resumed": it is complete, and was paused twice on the way; "dropped": it
was paused and never resumed, and told so at the end."""


@dataclass(frozen=True)
class Place:
    """Where a case is built."""

    database: Database
    work: Path
    name: str

    def create(self, task: Task = TASK, **changes: Any) -> Writer:
        """Create the study; sections of the file that are given replace ours, None takes one out.

        Args:
            task: what its data are.
        """
        values: dict[str, Any] = {
            "name": self.name,
            "repeats": 4,
            "data": {"name": "digits"},
            "trial": {"model": "proxy", "epochs": EPOCHS},
            "space": SPACE,
            "budget": {"epochs": 4 * EPOCHS},
            "arms": ARMS,
            "promote": {"top": 1, "seeds": 2, "epochs": 2 * EPOCHS},
            **changes,
        }
        spec = StudySpec.parse({k: v for k, v in values.items() if v is not None}, self.name)
        return Writer(create_study(self.database, spec, task, self.work))


@dataclass(frozen=True)
class Case:
    """One study of the gallery.

    Attributes:
        name: of the study, too.
        about: what is special about it, for people.
        large: building it or writing its report takes longer than two seconds.
    """

    name: str
    about: str
    build: Callable[[Place], Study]
    large: bool = False


def draw(rng: np.random.Generator, lr: float = 0.03, decades: float = 1.0) -> dict[str, Any]:
    """A configuration of ``SPACE``, with a rate within so many decades of ``lr``."""
    drawn = math.log10(lr) + rng.uniform(-decades, decades)
    return {
        "lr": float(10 ** min(0.0, max(-4.0, drawn))),
        "momentum": float(rng.uniform(0.6, 0.98)),
        "weight_decay": float(10 ** rng.uniform(-5.5, -2.5)),
    }


def final_error(params: Mapping[str, Any]) -> float:
    """Of a run with these parameters, 0 to 1, without noise: 0.04 at the best rate, 0.03."""
    decades = math.log10(float(params["lr"])) - math.log10(0.03)
    return 0.04 + 0.06 * min(10.0, decades**2) + 0.05 * abs(float(params["momentum"]) - 0.9)


def noisy(rng: np.random.Generator, error: float, sd: float = 0.003) -> float:
    """A measured error, 0 to 1."""
    return float(min(1.0, max(0.0, error + rng.normal(0, sd))))


def searched(
    rng: np.random.Generator,
    configs: Sequence[Mapping[str, Any]],
    states: Sequence[Story] = ("complete",),
) -> list[Run]:
    """Runs of these configurations.

    Args:
        states: of the runs, over and over.
    """
    runs = []
    for i, config in enumerate(configs):
        params = {name: value for name, value in config.items() if name != "note"}
        state = states[i % len(states)]
        errors = tuple(noisy(rng, e) for e in falling(final_error(params), EPOCHS))
        note = str(config.get("note", ""))
        if state in ("complete", "diverged"):
            runs.append(Run(params, errors[: 2 if state == "diverged" else None], state, note))
        elif state == "resumed":
            resumed = (Try(1, "paused"), Try(2, "paused"), Try(6, "finished"))
            runs.append(Run(params, errors, "complete", note, tries=resumed))
        elif state == "dropped":
            runs.append(Run(params, errors[:1], "pruned", note, tries=(Try(1, "paused"),)))
        elif state == "failed":
            failure = "5 attempts failed; the last: RuntimeError: CUDA error"
            tries = tuple(Try(1, "failed", "RuntimeError: CUDA error") for _ in range(5))
            runs.append(Run(params, errors[:1], "failed", note, failure, tries))
        elif state == "waiting":
            runs.append(Run(params, (), "waiting", note))
        else:
            short = {"pruned": 3, "paused": 1, "running": 4}[state]
            runs.append(Run(params, errors[:short], state, note))
    return runs


def search(
    writer: Writer,
    rng: np.random.Generator,
    *,
    lr: float = 0.03,
    decades: float = 0.3,
    trials: int = 6,
    sd: float = 0.0,
) -> None:
    """Fill every search as it would be at its end, each arm in its way.

    Args:
        lr, decades: where the Bayesian arm's configurations lie.
        trials: in each search that is not a list of configurations.
        sd: of the error that a repeat adds to all of its runs.
    """
    for one in writer.study.arms:
        arm = writer.study.spec.arms[one.arm]
        shift = rng.normal(0, sd) if sd else 0.0
        if arm.configs is not None:
            runs = searched(rng, arm.configs)
        elif arm.method == "curve-gp":
            configs = [draw(rng, lr, decades) for _ in range(trials)]
            runs = searched(rng, configs, ("resumed", "dropped", "complete", "dropped"))
        else:
            configs = [draw(rng, 0.01, 1.8) for _ in range(trials)]
            runs = searched(rng, configs, ("complete", "pruned", "pruned", "complete", "diverged"))
        writer.arm(one.arm, one.repeat, [_shifted(run, shift) for run in runs])


def _shifted(run: Run, by: float) -> Run:
    errors = tuple(min(1.0, max(0.0, error + by)) for error in run.errors)
    return Run(run.params, errors, run.state, run.note, run.failure, run.tries)


def train(writer: Writer, rng: np.random.Generator, sd: float = 0.002) -> None:
    """Train in full what is to be, with this noise of seeds."""

    def errors(params: Mapping[str, Any], replica: int) -> tuple[float, float]:
        best = 0.8 * final_error(params)
        return noisy(rng, best, sd), noisy(rng, best + 0.005, sd)

    writer.full(errors)
