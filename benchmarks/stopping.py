"""How well gains of further search are foreseen, and how often a rule to stop by is wrong.

On LCBench's learning curves. Searches are simulated once, to the end of their budgets, and kept in
a file; forecasts and rules are then asked after each of their full runs. The constants of the
project's forecast come from the data sets "dev"; tables are of "report".
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import numpy as np
import optuna
from lcbench_records import ROOT
from lcbench_surrogate import DATASETS, HORIZON, Files, Surrogate
from optuna.trial import create_trial
from stopping_methods import METHODS, SHARES, Seen, gain, kind_of
from stopping_traces import Setting, Trace, read, simulate_missing

from tuneoff.search.policies.base import Decision, History, NewTrial
from tuneoff.search.policies.gain import LEAST_RUNS
from tuneoff.search.policies.stopping import Stopping
from tuneoff.search.spec.stop_rule import StopRule

CHEAP, DEAR = ("random", "tpe"), ("gp", "curve-gp")
PRUNED = ("random+hyperband", "tpe+median")
ARMS = (*CHEAP, *PRUNED, *DEAR)
AHEAD = (2, 5, 10)  # full runs' worth of epochs that a forecast looks ahead
THRESHOLDS = (0.03, 0.1, 0.3, 1.0)  # points
WITHIN = 5  # full runs' worth of epochs that a rule looks ahead


def settings(datasets: Sequence[str]) -> Iterator[Setting]:
    """The searches of the tables, the quick ones first."""
    for repeat, dataset, policy, space, noise in itertools.product(
        range(4), datasets, CHEAP, ("core", "full"), (0.0, 0.3)
    ):
        yield Setting(policy, space, dataset, repeat, noise, 20)
    for repeat, dataset, policy, space in itertools.product(
        range(2), datasets, CHEAP, ("core", "full")
    ):
        yield Setting(policy, space, dataset, repeat, 1.0, 20)
        yield Setting(policy, space, dataset, repeat, 0.3, 50)
    for repeat, space, noise in ((0, "core", 0.3), (1, "full", 0.3), (0, "core", 0.0)):
        for dataset, policy in itertools.product(datasets, DEAR):
            yield Setting(policy, space, dataset, repeat, noise, 20)
    for dataset, policy in itertools.product(datasets, PRUNED):
        yield Setting(policy, "core", dataset, 0, 0.3, 20)


def prefixes(traces: Sequence[Trace], ahead: int) -> Iterator[Seen]:
    """Every search after each of its full runs, where the budget lasts for so many epochs more."""
    arms: dict[Setting, list[Trace]] = defaultdict(list)
    for trace in traces:
        arms[replace(trace.setting, repeat=0)].append(trace)
    for trace in traces:
        others = [t for t in arms[replace(trace.setting, repeat=0)] if t is not trace]
        for runs in range(LEAST_RUNS, len(trace.epochs) + 1):
            if trace.epochs[runs - 1] + ahead <= trace.spent:
                yield Seen(trace, runs, ahead, others)


def forecast_table(traces: Sequence[Trace]) -> list[str]:
    """How each method does, by sampler: mean, pinball loss, and the coverage of the interval."""
    lines = [
        "| sampler | forecast | n | gain foreseen, points | gain | pinball loss, mean over n |"
        " 80% interval holds | gain above it | below it |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for policy in ARMS:
        mine = [trace for trace in traces if trace.setting.policy == policy]
        seen = list(prefixes(mine, WITHIN * HORIZON))
        for name, method in METHODS.items():
            found = [(method(one), _gained(one)) for one in seen]
            found = [(f, g) for f, g in found if np.isfinite(f.mean)]
            if not found:
                continue
            gains = np.array([g for _, g in found])
            quantiles = np.array([f.quantiles for f, _ in found])
            low, high = quantiles[:, 0], quantiles[:, -1]
            past = gains[:, None] - quantiles
            loss = np.maximum(np.array(SHARES) * past, (np.array(SHARES) - 1) * past)
            lines.append(
                f"| {policy} | {name} | {len(found)} | {np.mean([f.mean for f, _ in found]):.2f} |"
                f" {gains.mean():.2f} | {loss.mean():.3f} |"
                f" {np.mean((gains >= low) & (gains <= high)):.0%} | {np.mean(gains > high):.0%} |"
                f" {np.mean(gains < low):.0%} |"
            )
    return lines


def _gained(seen: Seen) -> float:
    found = gain(seen.trace, seen.epochs, seen.epochs + seen.ahead)
    assert found is not None
    return found


def coverage_table(traces: Sequence[Trace]) -> list[str]:
    """How often the project's 80% interval held, by sampler, noise and how far it looked."""
    lines = [
        "| sampler | noise, points | full runs ahead | n | gain foreseen | gain | of which luck |"
        " 80% interval holds | gain above it | below it |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    ours = METHODS["tuneoff's"]
    for policy, noise, ahead in itertools.product(ARMS, (0.0, 0.3, 1.0), AHEAD):
        mine = [t for t in traces if (t.setting.policy, t.setting.noise) == (policy, noise)]
        found = [
            (ours(one), _gained(one), _true_gain(one)) for one in prefixes(mine, ahead * HORIZON)
        ]
        if not found:
            continue
        gains, true = np.array([g for _, g, _ in found]), np.array([t for _, _, t in found])
        low = np.array([f.quantiles[0] for f, _, _ in found])
        high = np.array([f.quantiles[-1] for f, _, _ in found])
        lines.append(
            f"| {policy} | {noise:g} | {ahead} | {len(found)} |"
            f" {np.mean([f.mean for f, _, _ in found]):.2f} | {gains.mean():.2f} |"
            f" {1 - true.mean() / gains.mean():.0%} |"
            f" {np.mean((gains >= low) & (gains <= high)):.0%} | {np.mean(gains > high):.0%} |"
            f" {np.mean(gains < low):.0%} |"
        )
    return lines


def _true_gain(seen: Seen) -> float:
    trace, until = seen.trace, seen.epochs + seen.ahead
    return best_true(trace, seen.epochs) - best_true(trace, until)


def best_true(trace: Trace, epochs: int) -> float:
    """The error without noise of the run that is best as observed, after so many epochs."""
    runs = sum(at <= epochs for at in trace.epochs)
    return trace.true_errors[int(np.argmin(trace.errors[:runs]))]


@dataclass(frozen=True)
class Endless:
    """A policy that has always one more run."""

    stops: bool = False

    def next(self, history: History) -> NewTrial:
        """One more."""
        return NewTrial({}, history.horizon)

    def after(self, history: History, trial: object) -> Decision:
        """Never stops one."""
        return Decision.CONTINUE


@dataclass(frozen=True)
class Ruled:
    """A search under a rule.

    Attributes:
        stopped_at: the epoch at which it stopped; None if it spent its budget.
        went_on: the gains, in points, of the next epochs each time that it went on, as far as the
            budget lasted for them.
        missed: the gain of the next epochs after it stopped, within the budget.
        lost: by how much its error without noise is higher than at the end of the budget.
        saved: share of the budget.
    """

    stopped_at: int | None
    went_on: tuple[float, ...]
    missed: float
    lost: float
    saved: float


def ruled(trace: Trace, rule: StopRule) -> Ruled:
    """Ask the project's own rule after each full run of a search."""
    policy = Stopping(Endless(), rule, startup=LEAST_RUNS, kind=kind_of(trace))
    study = optuna.create_study(study_name="stopping")
    trials = tuple(create_trial(value=error / 100) for error in trace.errors)
    went_on: list[float] = []
    for runs, epochs in enumerate(trace.epochs, start=1):
        history = History(study, trials[:runs], frozenset(), HORIZON, trace.spent - epochs, epochs)
        coming = gain(trace, epochs, epochs + rule.epochs)
        assert coming is not None
        if policy.stopped(history) is not None:
            lost = best_true(trace, epochs) - best_true(trace, trace.spent)
            return Ruled(epochs, tuple(went_on), coming, lost, 1 - epochs / trace.spent)
        if runs >= LEAST_RUNS and epochs + rule.epochs <= trace.spent:
            went_on.append(coming)
    return Ruled(None, tuple(went_on), 0.0, 0.0, 0.0)


def rule_table(traces: Sequence[Trace]) -> list[str]:
    """What each threshold saves and loses, by sampler and budget."""
    lines = [
        "| sampler | budget, full runs | rule: gain < | searches | stop early |"
        " too early, of these | mean gain that these missed | went on in vain | epochs saved |"
        " error lost, mean |"
        " 90% lose at most | lost by a fixed budget that saves as much |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for policy, budget, points in itertools.product(ARMS, (20, 50), THRESHOLDS):
        mine = [t for t in traces if (t.setting.policy, t.setting.equivalents) == (policy, budget)]
        if not mine:
            continue
        found = [ruled(trace, StopRule(points, WITHIN * HORIZON)) for trace in mine]
        early = [one for one in found if one.stopped_at is not None]
        late = [one.missed for one in early if one.missed >= points]
        on = [gained for one in found for gained in one.went_on]
        saved = float(np.mean([one.saved for one in found]))
        lost = [one.lost for one in found]
        fixed = [
            best_true(t, max(t.epochs[0], round((1 - saved) * t.spent))) - best_true(t, t.spent)
            for t in mine
        ]
        wrong = f"{len(late) / len(early):.0%}" if early else "-"
        missed = f"{np.mean(late):.2f}" if late else "-"
        vain = f"{np.mean(np.array(on) < points):.0%}" if on else "-"
        lines.append(
            f"| {policy} | {budget} | {points:g} | {len(found)} |"
            f" {len(early) / len(found):.0%} | {wrong} | {missed} | {vain} | {saved:.0%} |"
            f" {np.mean(lost):.2f} | {np.quantile(lost, 0.9):.2f} | {np.mean(fixed):.2f} |"
        )
    return lines


TABLES: Mapping[str, str] = {
    "forecasts": f"Forecasts of the gain of {WITHIN} further full runs' epochs",
    "coverage": "The project's forecast",
    "rules": f"Rules that look {WITHIN} full runs' epochs ahead",
}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--traces",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file of simulated searches; those that it has are not simulated again.",
)
@click.option("--datasets", type=click.Choice(list(DATASETS)), default="report", show_default=True)
@click.option("--table-only", is_flag=True, help="Simulate nothing.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=ROOT.parent / "shared" / "lcbench" / "model.onnx",
    help="The surrogate.  [default: ../shared/lcbench/model.onnx]",
)
def command(path: Path, datasets: str, table_only: bool, model: Path) -> None:
    """Simulate searches on LCBench's curves, and judge forecasts and rules to stop by."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if not table_only:
        files = (model, model.with_name("encoding.json"), model.with_name("reference.json"))
        simulate_missing(Surrogate(Files(*files)), settings(DATASETS[datasets]), path)
    traces = [trace for trace in read(path) if trace.setting.dataset in DATASETS[datasets]]
    if not traces:
        raise click.BadParameter(f"{path} has no search of these data sets", param_hint="--traces")
    made = (forecast_table(traces), coverage_table(traces), rule_table(traces))
    for title, lines in zip(TABLES.values(), made, strict=True):
        click.echo("\n".join([f"{title}:", "", *lines, ""]))


if __name__ == "__main__":
    command()
