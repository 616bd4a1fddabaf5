"""Searches on LCBench's learning curves as the full runs that they end, for rules of stopping.

A search is simulated once, to the end of its budget; a rule is then asked after each of its runs.
LCBench's surrogate has no noise. Here, what a policy is told of an epoch is the surrogate's error
plus independent normal noise, so that a lower error is partly luck, as it is in training.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from lcbench import build_policy, search_space
from lcbench_surrogate import HORIZON, Surrogate
from virtual import simulate


@dataclass(frozen=True)
class Setting:
    """What decides a simulated search.

    Attributes:
        policy: as in ``lcbench.PolicySpec``.
        space: name of the search space.
        dataset: OpenML task id.
        repeat: number of the repeat, from which the seed follows.
        noise: standard deviation of what is added to every error, in points.
        equivalents: budget in full runs.
    """

    policy: str
    space: str
    dataset: str
    repeat: int
    noise: float
    equivalents: int


@dataclass(frozen=True)
class Trace:
    """A simulated search: its full runs in the order in which they ended.

    Attributes:
        epochs: epochs that the search had trained when each of them ended.
        errors: the error that the policy was told of each, in percent.
        true_errors: the same without noise.
        curves: the last epochs' errors of each, oldest first, in percent.
        spent: epochs that were trained in all.
    """

    setting: Setting
    epochs: tuple[int, ...]
    errors: tuple[float, ...]
    true_errors: tuple[float, ...]
    curves: tuple[tuple[float, ...], ...]
    spent: int


LAST_EPOCHS = 8
"""So many errors at the end of each full run are kept in a trace."""


def trace(surrogate: Surrogate, setting: Setting) -> Trace:
    """Simulate a search with one worker."""
    space, seed = search_space(setting.space), (int(setting.dataset), setting.repeat)
    rng = np.random.default_rng(np.random.SeedSequence([*seed, 1]))
    noiseless: list[Sequence[float]] = []
    told: list[Sequence[float]] = []

    def curve(params: object) -> Sequence[float]:
        exact = surrogate.curve(setting.dataset, params)  # type: ignore[arg-type]
        noiseless.append(exact)
        noisy = np.clip(exact + setting.noise * rng.standard_normal(HORIZON), 0.0, 100.0)
        told.append([float(error) for error in noisy])
        return told[-1]

    found = simulate(
        build_policy(setting.policy, space, seed, setting.equivalents),
        space.distributions,
        curve,
        HORIZON,
        setting.equivalents * HORIZON,
        workers=1,
    )
    ends = [step for step in found.steps if step.epoch == HORIZON]
    return Trace(
        setting,
        tuple(step.epochs for step in ends),
        tuple(step.error for step in ends),
        tuple(noiseless[step.trial][-1] for step in ends),
        tuple(tuple(told[step.trial][-LAST_EPOCHS:]) for step in ends),
        len(found.steps),
    )


def read(path: Path) -> Iterator[Trace]:
    """The traces of a file; none if it does not exist."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            values = json.loads(line)
            setting = Setting(**values.pop("setting"))
            curves = tuple(map(tuple, values.pop("curves")))
            spent = values.pop("spent")
            lists = {key: tuple(value) for key, value in values.items()}
            yield Trace(setting, curves=curves, spent=spent, **lists)


def simulate_missing(surrogate: Surrogate, settings: Iterable[Setting], path: Path) -> None:
    """Simulate the settings that the file has no trace of, and add a line for each."""
    there = {found.setting for found in read(path)}
    with path.open("a", encoding="utf-8") as lines:
        for setting in settings:
            if setting not in there:
                lines.write(json.dumps(asdict(trace(surrogate, setting))) + "\n")
                lines.flush()
