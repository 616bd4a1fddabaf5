"""How long one suggestion takes, by the number of finished trials: Optuna's samplers and curve-gp.

Three dimensions, one thread, equal histories of trials with nine reported epochs each. Medians of
wall time and of this process's CPU time, which other jobs on the machine disturb less.
"""

from __future__ import annotations

import math
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import click
import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, create_trial
from threadpoolctl import threadpool_limits

from tuneoff.search.policies.base import History
from tuneoff.search.policies.curve_gp import CurveGP, CurveGPSampler
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import CHOSEN_BY, FULL_RUNS_ONLY
from tuneoff.trainer.recipe import HyperParams, Recipe

SPACE: dict[str, BaseDistribution] = {
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.5, 0.99),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
}
EPOCHS = 9
MANY = ((1000, 10), (10_000, 1))  # trials and epochs of each: 10,000 observations

Call = Callable[[], object]


@dataclass(frozen=True)
class Cost:
    """Medians over calls: seconds of wall time and of CPU time."""

    wall: float
    cpu: float

    @classmethod
    def of(cls, call: Call, prepare: Call, repeats: int) -> Cost:
        """The cost of ``call``: a warm-up, then ``repeats`` timed calls, each after ``prepare``."""
        walls, cpus = [], []
        for _ in range(repeats + 1):
            prepare()
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        return cls(median(walls[1:]), median(cpus[1:]))


@click.command()
@click.option("--trials", multiple=True, type=click.IntRange(10), default=(50, 200, 1000),
              show_default=True)  # fmt: skip
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
@click.option("--many/--no-many", default=True, help="Also with 10,000 observations.")
def command(trials: Sequence[int], repeats: int, many: bool) -> None:
    """Measure and print Markdown tables."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        histories = {count: history(count, EPOCHS, seed=0) for count in trials}
        costs = {
            name: [measure(past, repeats) for past in histories.values()]
            for name, measure in MEASURED.items()
        }
        click.echo(table(costs, trials))
        if many:
            click.echo(large(repeats))


def history(count: int, epochs: int, seed: int) -> list[FrozenTrial]:
    """Finished trials at random points, every third chosen by curve-gp given full runs only."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        u = rng.random(3).tolist()
        params = {
            "lr": 10.0 ** (4 * u[0] - 4),
            "momentum": 0.5 + 0.49 * u[1],
            "weight_decay": 10.0 ** (4 * u[2] - 6),
        }
        trial = create_trial(
            params=params,
            distributions=SPACE,
            user_attrs=CHOSEN_BY.entry(FULL_RUNS_ONLY) if i % 3 == 0 else {},
            intermediate_values=dict(enumerate(curve(u, epochs, rng), 1)),
            value=0.0,
        )
        trial.value = trial.intermediate_values[epochs]
        trial.number = i
        made.append(trial)
    return made


def curve(u: Sequence[float], epochs: int, rng: np.random.Generator) -> list[float]:
    """The noisy errors of a run, which are least near lr = 0.03."""
    final = 0.1 + 0.5 * (u[0] - 0.63) ** 2 + 0.1 * (u[1] - 0.8) ** 2 + 0.05 * (u[2] - 0.5) ** 2
    rate = 0.5 + u[0]
    return [final + 0.4 * e**-rate + 0.003 * float(rng.normal()) for e in range(1, epochs + 1)]


def sampler_cost(make: Callable[[], BaseSampler]) -> Callable[[list[FrozenTrial], int], Cost]:
    """The cost of a sampler that lives on between trials, as in ``study.optimize``.

    It may keep from one trial to the next what it has fitted.
    """

    def measure(past: list[FrozenTrial], repeats: int) -> Cost:
        study = optuna.create_study(sampler=make())
        study.add_trials(past)
        rng = np.random.default_rng(1)
        asked: list[optuna.Trial] = []

        def tell() -> None:
            for trial in asked:
                u = [math.log10(trial.params["lr"]) / 4 + 1, 0.5, 0.5]
                errors = curve(u, EPOCHS, rng)  # only their number matters here
                for epoch, error in enumerate(errors, 1):
                    trial.report(error, epoch)
                study.tell(trial, errors[-1])
            asked.clear()

        return Cost.of(lambda: asked.append(study.ask(SPACE)), tell, repeats)

    return measure


def policy_call(past: Sequence[FrozenTrial], epochs: int) -> Call:
    """A function that asks CurveGP for its next job; it keeps nothing between calls."""
    space = SearchSpace(distributions=SPACE, recipe=Recipe(), fixed=HyperParams())
    study = optuna.create_study(study_name="benchmark")
    asked = History(study, tuple(past), frozenset(), epochs, epochs * 100)
    policy = CurveGP(space, seed=(0,))
    return lambda: policy.next(asked)


def policy_cost(full_runs_only: bool) -> Callable[[list[FrozenTrial], int], Cost]:
    """The cost of a job of CurveGP.

    Args:
        full_runs_only: False for the job that promises most; True for the one that promises most
            given full runs only, which is chosen for every third job.
    """

    def measure(past: list[FrozenTrial], repeats: int) -> Cost:
        asked = [without_note(trial) for trial in past] if full_runs_only else past
        call = policy_call(asked, EPOCHS)
        return Cost.of(call, lambda: None, repeats)

    return measure


def without_note(trial: FrozenTrial) -> FrozenTrial:
    """The trial without the note that says how it was chosen."""
    copy = create_trial(
        params=trial.params,
        distributions=SPACE,
        intermediate_values=trial.intermediate_values,
        value=trial.value,
    )
    copy.number = trial.number
    return copy


MEASURED: dict[str, Callable[[list[FrozenTrial], int], Cost]] = {
    "GPSampler": sampler_cost(lambda: GPSampler(seed=0)),
    "TPESampler": sampler_cost(lambda: TPESampler(seed=0)),
    "CurveGPSampler": sampler_cost(lambda: CurveGPSampler(seed=0, max_epoch=EPOCHS)),
    "CurveGP.next, most promising": policy_cost(full_runs_only=False),
    "CurveGP.next, given full runs only": policy_cost(full_runs_only=True),
}


def table(costs: dict[str, list[Cost]], trials: Sequence[int]) -> str:
    """Wall seconds, CPU seconds, and CPU time as a multiple of GPSampler's."""
    heads = [f"{count:,} trials: wall s | CPU s | CPU, of GPSampler's" for count in trials]
    lines = [
        f"| one suggestion | {' | '.join(heads)} |",
        "| --- |" + " ---: |" * (3 * len(trials)),
    ]
    for name, row in costs.items():
        cells = [
            f"{cost.wall:.3f} | {cost.cpu:.3f} | {cost.cpu / baseline.cpu:.2f}"
            for cost, baseline in zip(row, costs["GPSampler"], strict=True)
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def large(repeats: int) -> str:
    """A table for CurveGP with 10,000 observations: seconds, and its peak of memory."""
    lines = ["| CurveGP.next | wall s | CPU s | peak MB |", "| --- | ---: | ---: | ---: |"]
    for count, epochs in MANY:
        call = policy_call(history(count, epochs, seed=0), epochs)
        cost = Cost.of(call, lambda: None, repeats)
        with traced() as peak:
            call()
        name = f"{count:,} trials x {epochs} epoch{'s' * (epochs > 1)}"
        lines.append(f"| {name} | {cost.wall:.3f} | {cost.cpu:.3f} | {peak[0] / 1e6:.0f} |")
    return "\n".join(lines)


@contextmanager
def traced() -> Iterator[list[int]]:
    """Yields a list that, after the block, holds the peak of allocated bytes, NumPy's included."""
    peak: list[int] = []
    tracemalloc.start()
    try:
        yield peak
        peak.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    command()
