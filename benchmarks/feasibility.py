"""How often samplers go where training fails, by the way it fails: CurveGPSampler and Optuna's.

Training fails for every learning rate above 1, half of its range on a log scale, and the best rate
is three tenths of a decade below that. A run has nine epochs; the usual loop reports each epoch's
error and asks MedianPruner whether to go on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median

import click
import optuna
import torch
from optuna.pruners import MedianPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import TrialState
from threadpoolctl import threadpool_limits

from tuneoff.search.policies.curve_gp import CurveGPSampler

EPOCHS = 9
LAST = 20  # of a study's trials, among which failures are counted
CHANCE = 0.9  # the error of guessing, of ten classes
HUGE = 1e18
LIMIT, BEST = 1.0, 0.5  # rates: above the first one training fails; the second one is the best

Objective = Callable[[optuna.Trial], float]


@dataclass(frozen=True)
class Failing:
    """A way in which training fails.

    Attributes:
        errors: what a run that fails reports, epoch by epoch.
        gives_up: True if the loop itself prunes the run after those.
    """

    errors: Sequence[float]
    gives_up: bool = False


FAILING = {
    "NaN": Failing([math.nan] * EPOCHS),
    "infinity": Failing([math.inf] * EPOCHS),
    "one error and then NaN": Failing([CHANCE, *[math.nan] * (EPOCHS - 1)]),
    "pruned by hand at 1e6": Failing([1e6], gives_up=True),
    "pruned by hand at chance": Failing([CHANCE], gives_up=True),
}
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "CurveGPSampler": lambda seed: CurveGPSampler(seed=seed, max_epoch=EPOCHS),
    "GPSampler": lambda seed: GPSampler(seed=seed),
    "TPESampler": lambda seed: TPESampler(seed=seed),
    "RandomSampler": lambda seed: RandomSampler(seed=seed),
}


@click.command()
@click.option("--trials", type=click.IntRange(LAST), default=40, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=10, show_default=True)
@click.option("--sampler", "names", multiple=True, type=click.Choice(list(SAMPLERS)),
              help="Several times for several; all, if left out.")  # fmt: skip
def command(trials: int, seeds: int, names: Sequence[str]) -> None:
    """Run the studies and print a Markdown table.

    To compare with another version of CurveGPSampler, run it there with --sampler CurveGPSampler.
    """
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.simplefilter("ignore")  # of MedianPruner, about medians of what is no number
    torch.set_num_threads(1)
    click.echo(f"Mean number of the last {LAST} of {trials} trials that failed, (most), and")
    click.echo(f"the median of the best error; {seeds} seeds.\n")
    click.echo(f"| sampler | {' | '.join([*FAILING, f'one value in ten is {HUGE:g}: best'])} |")
    click.echo("| --- |" + " --- |" * (len(FAILING) + 1))
    with threadpool_limits(1):
        for name in names or SAMPLERS:
            click.echo(f"| {name} | {' | '.join(row(SAMPLERS[name], trials, seeds))} |")


def row(sampler: Callable[[int], BaseSampler], trials: int, seeds: int) -> list[str]:
    """A sampler's cells: for each way to fail, and for huge values."""
    cells = []
    for how in FAILING.values():
        studies = [study_of(sampler(seed), failing(how), trials) for seed in range(seeds)]
        failed = [failures(study) for study in studies]
        lowest = median(best(study) for study in studies)
        cells.append(f"{mean(failed):.1f} ({max(failed)}), {lowest:.5f}")
    lowest = median(best(study_of(sampler(seed), huge, trials)) for seed in range(seeds))
    return [*cells, f"{lowest:.5f}"]


def learning_curve(rate: float, momentum: float) -> list[float]:
    """The errors of a run that succeeds."""
    final = 0.05 * math.log10(rate / BEST) ** 2 + 0.5 * (momentum - 0.8) ** 2
    return [final + 0.6 * (1 / epoch - 1 / EPOCHS) for epoch in range(1, EPOCHS + 1)]


def failing(how: Failing) -> Objective:
    """An objective of which half of the rates fail in this way."""

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("rate", 1e-3, 1e3, log=True)
        momentum = trial.suggest_float("momentum", 0.0, 1.0)
        failed = rate > LIMIT
        trial.set_user_attr("failed", failed)
        error = math.nan
        for epoch, error in enumerate(how.errors if failed else learning_curve(rate, momentum), 1):
            trial.report(error, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        if failed and how.gives_up:
            raise optuna.TrialPruned
        return error

    return objective


def huge(trial: optuna.Trial) -> float:
    """An objective without failures, of which one value in ten is ``HUGE``."""
    rate = trial.suggest_float("rate", 1e-3, 1.0, log=True)
    momentum = trial.suggest_float("momentum", 0.0, 1.0)
    return HUGE if trial.number % 10 == 3 else learning_curve(rate, momentum)[-1]


def study_of(sampler: BaseSampler, objective: Objective, trials: int) -> optuna.Study:
    """The study after the usual loop."""
    study = optuna.create_study(sampler=sampler, pruner=MedianPruner())
    study.optimize(objective, n_trials=trials)
    return study


def failures(study: optuna.Study) -> int:
    """How many of the last trials failed."""
    return sum(trial.user_attrs["failed"] for trial in study.trials[-LAST:])


def best(study: optuna.Study) -> float:
    """The best value; infinity if there is none."""
    done = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return min((trial.value for trial in done if trial.value is not None), default=math.inf)


if __name__ == "__main__":
    command()
