"""The worlds of pays.py: what a training of any configuration comes to, without training it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import click
import numpy as np
from lcbench_surrogate import DATASETS as LCBENCH
from lcbench_surrogate import HORIZON, SPACES, Files, SurrogateError
from lcbench_surrogate import Surrogate as LCBenchSurrogate
from optuna.distributions import BaseDistribution, FloatDistribution
from scipy.stats import qmc

from tuneoff.search.policies.curve_gp.encoding import Encoding
from tuneoff.search.replay.curve_forest import CurveForest, Rows, foretold, seed_noise
from tuneoff.search.replay.scale import angle
from tuneoff.search.replay.table_rows import rows_of
from tuneoff.search.results.curve_table import CurveTable, read_table
from tuneoff.search.spec.personas import PERSONAS, settings_of
from tuneoff.search.spec.space import SearchSpace, distributions_of
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import HyperParams, Recipe

Params = Mapping[str, Any]

STEPS = 12
"""Epochs of LCBench and of TaskSet here: their curves are read at so many evenly spaced points."""
TASKS = (
    "imdb_patch128_LSTM128_bs64",
    "imdb_patch32_GRU64_avg_bs128",
    "imdb_patch32_LSTM128_E128_bs128",
    "imdb_patch32_VRNN64_relu_avg_bs128",
)
"""TaskSet's tasks to report on."""
TUNING, TUNING_ROWS = "fine-tuning", "fine-tuning rows"
ADAM = {"learning_rate": 1e-3, "beta1_to_1": 0.1, "beta2_to_1": 1e-3, "epsilon": 1e-8}
"""Adam's defaults; the penalties and decays of a list by hand are the lowest of their ranges."""
RANDOM = 1024
"""Random configurations whose median is a normalised regret of 1."""


class World(Protocol):
    """One world; errors 0 to 1.

    Attributes:
        epochs: of a full run.
        hand: hand-tuned lists by name, the first one's first configuration is where one-at-a-time
            begins.
        rate: name of the learning rate.
        best, median: quality of the best configuration known, and of random ones.
    """

    @property
    def epochs(self) -> int: ...

    @property
    def hand(self) -> Mapping[str, Sequence[Params]]: ...

    @property
    def rate(self) -> str: ...

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]: ...

    @property
    def best(self) -> float: ...

    @property
    def median(self) -> float: ...

    def curve(self, params: Params, repeat: int) -> list[float]:
        """Validation errors after epochs 1, 2, ... of a run, with the noise of a repeat."""

    def quality(self, params: Params) -> float:
        """Expected error after a full run: on the test split, where there is one."""

    def placing(self) -> Callable[[Params], Params]:
        """What is trained where something is proposed; a new function for each search."""

    def about(self) -> str:
        """How good the world is, in a line."""


@dataclass
class ForestWorld:
    """A table of learning curves, and a forest between its rows."""

    distributions: Mapping[str, BaseDistribution]
    rows: Rows
    hand: Mapping[str, Sequence[Params]]
    rate: str
    configs: Sequence[Params]
    snaps: bool = False

    @property
    def epochs(self) -> int:
        """See ``World``."""
        return self.rows.epochs

    @cached_property
    def forest(self) -> CurveForest:
        """The function."""
        return CurveForest.of(self.rows)

    @cached_property
    def best(self) -> float:
        """See ``World``: a forest is nowhere better than at a row."""
        return min(self.quality(params) for params in self.configs)

    @cached_property
    def median(self) -> float:
        """See ``World``."""
        points = qmc.Sobol(len(self.distributions), rng=np.random.default_rng(0)).random(RANDOM)
        encoding = self.rows.encoding
        return float(np.median([self.quality(encoding.params(point)) for point in points]))

    def curve(self, params: Params, repeat: int) -> list[float]:
        """See ``World``."""
        seed = RunSeed(0, 0, repeat)
        errors = [float(error) for error in self.forest.measured(params, seed)[:-1]]
        ends = self.forest.diverges_in(params, seed)
        if ends is not None:
            errors[ends - 1 :] = [self.rows.chance] * len(errors[ends - 1 :])
        return errors

    def quality(self, params: Params) -> float:
        """See ``World``."""
        return float(self.forest.expected(params)[-1])

    def placing(self) -> Callable[[Params], Params]:
        """See ``World``: the nearest row that was not trained yet, if this world has rows alone."""
        if not self.snaps:
            return dict
        free = dict(enumerate(self.configs))

        def nearest(params: Params) -> Params:
            if not free:
                raise click.ClickException("a search has trained every row of the table")
            x = self.rows.encoding.columns(params)
            at = list(free)
            found = at[int(((self.rows.x[at] - x) ** 2).sum(axis=1).argmin())]
            return free.pop(found)

        return nearest

    def about(self) -> str:
        """See ``World``."""
        found, noise = foretold(self.rows), seed_noise(self.rows)
        rank, better = found.rank(), found.rank(better_half=True)
        seeds = "one training each" if noise is None else f"noise between seeds {100 * noise:.2f}"
        return (
            f"{len(found.true)} configurations; left out, foretold with a rank correlation of "
            f"{rank or 0:.2f} ({better or 0:.2f} in the better half), {found.explained:.0%} of the "
            f"variance, half of them within {100 * found.error:.2f} points; {seeds}"
        )


@dataclass
class LCBenchWorld:
    """One data set of LCBench; it has no noise and no test split."""

    surrogate: LCBenchSurrogate
    dataset: str
    epochs: int = STEPS
    rate: str = "learning_rate"

    @property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """See ``World``."""
        return SPACES["core"]

    @cached_property
    def hand(self) -> Mapping[str, Sequence[Params]]:
        """See ``World``: the project's personas."""
        names = {"lr": "learning_rate", "momentum": "momentum", "weight_decay": "weight_decay"}
        lists = {name: settings_of(one, names, {}) for name, one in PERSONAS.items()}
        return {
            f"hand/{name}": [
                {new: _inside(self.distributions[new], config[old]) for old, new in names.items()}
                for config in configs
            ]
            for name, configs in lists.items()
        }

    @property
    def best(self) -> float:
        """See ``World``."""
        return self.surrogate.reference("core", self.dataset).best / 100

    @property
    def median(self) -> float:
        """See ``World``."""
        return self.surrogate.reference("core", self.dataset).median / 100

    def curve(self, params: Params, repeat: int) -> list[float]:
        """See ``World``."""
        errors = self.surrogate.curve(self.dataset, params)
        return [errors[round(HORIZON * step / STEPS) - 1] / 100 for step in range(1, STEPS + 1)]

    def quality(self, params: Params) -> float:
        """See ``World``."""
        return self.surrogate.curve(self.dataset, params)[-1] / 100

    def placing(self) -> Callable[[Params], Params]:
        """See ``World``."""
        return dict

    def about(self) -> str:
        """See ``World``."""
        return "YAHPO Gym's surrogate"


def table_world(path: Path, snaps: bool = False) -> ForestWorld:
    """The world of a file of ``tuneoff table``.

    Its forest has not seen the hand-tuned lists, unless it ``snaps``: a forest is exact at its rows
    and averages rows elsewhere, so that lists which are rows would have the luck of their seeds,
    and no search would.
    """
    table: CurveTable = read_table(path)
    space = SearchSpace(distributions_of(table.space), Recipe(), HyperParams())
    there = sorted({run.config for run in table.runs})
    listed = {i for found in table.hand.values() for i in found if not snaps}
    rows = rows_of(table, space).without(np.array([i in listed for i in there], float))
    configs = [table.configs[i] for i in there if i not in listed]
    hand = {f"hand/{n}": [table.configs[i] for i in found] for n, found in table.hand.items()}
    return ForestWorld(space.distributions, rows, hand, "lr", configs, snaps)


def taskset_world(folder: Path, task: str) -> ForestWorld:
    """The world of one of TaskSet's tasks."""
    path = folder / f"taskset-FixedTextRNNClassification_{task}.npz"
    try:
        with np.load(path) as data:
            hp, valid, test = (np.asarray(data[name], float) for name in ("hp", "valid", "test"))
    except (OSError, ValueError, KeyError) as error:
        raise click.BadParameter(
            f"{path} cannot be read ({error})", param_hint="--curves"
        ) from None
    # Of beta1 and beta2 the distance to 1 was drawn on a logarithmic scale.
    hp = np.column_stack([hp[:, 0], 1 - hp[:, 1], 1 - hp[:, 2], hp[:, 3:]])
    names = (*ADAM, "l1", "l2", "linear_decay", "exponential_decay")
    names = ("learning_rate", "beta1_to_1", "beta2_to_1", "epsilon", *names[len(ADAM) :])
    distributions: dict[str, BaseDistribution] = {
        name: FloatDistribution(float(column.min()), float(column.max()), log=True)
        for name, column in zip(names, hp.T, strict=True)
    }
    configs = [dict(zip(names, map(float, row), strict=True)) for row in hp]
    points = [round((valid.shape[1] - 1) * step / STEPS) for step in range(1, STEPS + 1)]
    losses = np.column_stack([valid[:, points], test[:, -1]])
    burst = ~np.isfinite(np.column_stack([valid, valid[:, -1:]]))
    since = np.cumsum(burst, axis=1) > 0  # a run that was not finite once has no later error
    lost = np.column_stack([since[:, points], since[:, -1]]) | ~np.isfinite(losses)
    errors = np.where(lost, 1.0, 1.0 - np.exp(-np.where(lost, 0.0, losses)))
    encoding, count = Encoding(distributions), len(configs)
    rows = Rows(
        encoding,
        encoding.rows(configs),
        angle(errors),
        np.zeros(count),
        [np.empty((0, STEPS + 1))] * count,
        np.full(count, STEPS + 1.0),
        1.0,
    )
    lowest = {name: distributions[name].low for name in names if name not in ADAM}  # type: ignore[attr-defined]
    hand = [{**ADAM, **lowest, "learning_rate": 1e-3 * f} for f in (1.0, 0.3, 3.0, 0.1, 10.0)]
    return ForestWorld(distributions, rows, {"hand/adam": hand}, "learning_rate", configs)


def names_of(table: Path | None, curves: Path | None, lcbench: Path | None) -> dict[str, str]:
    """The worlds that these files make, and the group of each."""
    found = {} if table is None else {TUNING: TUNING, TUNING_ROWS: TUNING_ROWS}
    found |= {} if lcbench is None else {f"lcbench-{name}": "LCBench" for name in LCBENCH["report"]}
    return found | ({} if curves is None else {f"taskset-{task}": "TaskSet" for task in TASKS})


def make_world(name: str, table: Path | None, curves: Path | None, lcbench: Path | None) -> World:
    """The world of a name of ``names_of``."""
    if name in (TUNING, TUNING_ROWS):
        assert table is not None
        return table_world(table, snaps=name == TUNING_ROWS)
    kind, _, rest = name.partition("-")
    if kind == "taskset":
        assert curves is not None
        return taskset_world(curves, rest)
    assert lcbench is not None
    files = Files(lcbench, lcbench.with_name("encoding.json"), lcbench.with_name("reference.json"))
    try:
        return LCBenchWorld(LCBenchSurrogate(files), rest)
    except SurrogateError as error:
        raise click.BadParameter(str(error), param_hint="--lcbench") from None


def _inside(distribution: BaseDistribution, value: Any) -> float:
    assert isinstance(distribution, FloatDistribution)
    return min(max(float(value), distribution.low), distribution.high)


def regret(world: World, error: float) -> float:
    """0 for the best known error, 1 for the median of random ones."""
    spread = world.median - world.best
    return (error - world.best) / spread if not math.isclose(spread, 0.0) else 0.0
