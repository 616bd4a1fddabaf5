"""Whole comparisons on LCBench's learning curves, where the true difference is known.

Each data set is a world in which ``tuneoff``'s own workers run five arms, full trainings and the
rule that stops; only training is looked up. The true difference of two arms is the mean over all
repeats of all comparisons of the errors, without noise, of what they recommend. So each verdict can
be held against the truth: how often is it wrong, how many repeats does it take?

``--surrogate`` asks the other question: how well does ``tuneoff replay``, which knows one
study's runs alone, foretell those true differences, with a draw of its surrogate and with the mean?
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from lcbench_records import ROOT
from lcbench_surrogate import DATASETS, HORIZON, Files, Surrogate, SurrogateError

from tuneoff.files import write_text
from tuneoff.search.replay.effects import normal
from tuneoff.search.replay.evidence import Evidence
from tuneoff.search.replay.quality import quality_of
from tuneoff.search.replay.replays import Replay, outcomes_of, replay
from tuneoff.search.replay.run import simulate
from tuneoff.search.replay.settings import simulated
from tuneoff.search.replay.surrogate import Surrogate as Fitted
from tuneoff.search.replay.world import Params
from tuneoff.search.results.records import StudyResults
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.study.keys import key_of
from tuneoff.trainer.contract import RunSeed, Task

EPOCHS = 4
"""Of a run: each stands for thirteen of LCBench's 52, since each report costs the database time."""
NAMES = {"lr": "learning_rate", "momentum": "momentum", "weight_decay": "weight_decay"}
TASK = Task(("a", "b"), {"train": 8000, "validation": 10_000, "test": 10_000}, "lcbench")
REFERENCE = "bayes"


@dataclass(frozen=True)
class Curves:
    """A data set of LCBench as a world, with noise between seeds.

    Attributes:
        noise: standard deviation of an error between seeds, 0 to 1.
    """

    surrogate: Surrogate
    dataset: str
    noise: float
    seed: int
    _known: dict[str, list[float]] = field(default_factory=dict, repr=False)

    def true_error(self, params: Params, epoch: int = EPOCHS) -> float:
        """Without noise, 0 to 1."""
        key = key_of(params)
        if key not in self._known:
            named = {NAMES[name]: value for name, value in params.items()}
            self._known[key] = self.surrogate.curve(self.dataset, named)
        return self._known[key][epoch * HORIZON // EPOCHS - 1] / 100

    def search_error(self, params: Params, seed: RunSeed, epoch: int) -> float:
        """See ``World``."""
        return self._noisy(self.true_error(params, epoch), "search", params, seed, epoch)

    def diverges_in(self, params: Params, seed: RunSeed) -> int | None:
        """See ``World``: LCBench has no run that does."""
        return None

    def full_error(self, params: Params, seed: RunSeed) -> float:
        """See ``World``."""
        return self._noisy(self.true_error(params), "full", params, seed)

    def test_error(self, params: Params, seed: RunSeed) -> float:
        """See ``World``; LCBench has no test accuracy, so that it is the validation error's."""
        return self._noisy(self.true_error(params), "test", params, seed)

    def _noisy(self, error: float, *words: object) -> float:
        noise = self.noise * normal(self.seed, *words)
        return min(1.0, max(0.0, error + noise))


def study_of(dataset: str, repeats: int, most: int, effect: float) -> StudySpec:
    """The study of a data set: five arms of six full runs in each repeat."""
    hand = [
        {"lr": lr, "momentum": 0.9, "weight_decay": decay}
        for decay in (1e-4, 1e-3)
        for lr in (1e-2, 3e-2, 3e-3)
    ]
    values = {
        "name": f"lcbench-{dataset}",
        "repeats": repeats,
        "data": {"name": "digits"},
        "trial": {"epochs": EPOCHS},
        "space": {
            "lr": {"low": 1e-4, "high": 1e-1, "log": True},
            "momentum": {"low": 0.1, "high": 0.99},
            "weight_decay": {"low": 1e-5, "high": 1e-1, "log": True},
        },
        "budget": {"epochs": 6 * EPOCHS},
        "arms": {
            REFERENCE: {"sampler": "curve-gp"},
            "gp": {"sampler": "gp", "startup": 3},
            "tpe": {"sampler": "tpe", "startup": 3},
            "random": {"sampler": "random"},
            "hand": {"configs": hand},
        },
        "promote": {"epochs": 1, "top": 1, "seeds": 2},
        "compare": {"until": "decided", "max_repeats": most, "smallest_effect": effect},
    }
    return simulated(StudySpec.parse(values, dataset))


def comparisons(spec: StudySpec, world: Curves, count: int) -> list[Replay]:
    """So many comparisons, each with seeds of its own."""
    found = []
    for number in range(count):
        began = time.perf_counter()
        own = spec.model_copy(update={"seed": 1000 * world.seed + number})
        one = replay(own, TASK, replace(world, seed=own.seed))
        found.append(one)
        click.echo(
            f"{spec.name} {number + 1}/{count}: {one.repeats} repeats, "
            f"{', '.join(f'{p.baseline} {p.outcome}' for p in one.pairs)}; "
            f"{time.perf_counter() - began:.0f} s",
            err=True,
        )
    return found


def true_differences(
    found: Sequence[StudyResults], world: Curves
) -> dict[str, tuple[float, float]]:
    """By baseline: the mean over all repeats of its true error minus the reference's, and the
    standard error of that mean."""
    errors: dict[str, list[float]] = {}
    for results in found:
        for run in results.runs:
            assert run.recommendation is not None
            errors.setdefault(run.arm, []).append(world.true_error(run.recommendation.params))
    made = {}
    for arm, theirs in errors.items():
        if arm != REFERENCE:
            differences = np.array(theirs) - np.array(errors[REFERENCE])
            made[arm] = (
                float(differences.mean()),
                float(differences.std(ddof=1) / math.sqrt(len(differences))),
            )
    return made


def is_wrong(outcome: str, truth: float, margin: float) -> bool:
    """Whether an outcome says what is not so."""
    return (
        (outcome == "better" and truth <= 0)
        or (outcome == "worse" and truth >= 0)
        or (outcome == "equivalent" and abs(truth) > margin)
    )


def at_first(one: Replay, spec: StudySpec, repeats: int) -> dict[str, str]:
    """By baseline: what the first repeats alone would have said, looked at once."""
    kept = tuple(run for run in one.results.runs if run.repeat < repeats)
    fixed = spec.model_copy(
        update={"compare": spec.compare.model_copy(update={"until": "repeats"})}
    )
    few = replace(one.results, repeats=repeats, runs=kept)
    return {pair.baseline: pair.outcome for pair in outcomes_of(few, fixed)}


def rows_of(spec: StudySpec, world: Curves, found: Sequence[Replay]) -> list[dict[str, Any]]:
    """One row for each pair."""
    truth = true_differences([one.results for one in found], world)
    margin, rows = (spec.compare.smallest_effect or 0.0) / 100, []
    for baseline, (difference, error) in truth.items():
        pairs = [pair for one in found for pair in one.pairs if pair.baseline == baseline]
        first = [at_first(one, spec, spec.repeats)[baseline] for one in found]
        outcomes = [pair.outcome for pair in pairs]
        rows.append(
            {
                "dataset": world.dataset,
                "baseline": baseline,
                "true": 100 * difference,
                "true_error": 100 * error,
                "outcomes": {o: outcomes.count(o) for o in dict.fromkeys(outcomes)},
                "wrong": sum(is_wrong(o, difference, margin) for o in outcomes),
                "first": {o: first.count(o) for o in dict.fromkeys(first)},
                "first_wrong": sum(is_wrong(o, difference, margin) for o in first),
                "comparisons": len(pairs),
                "repeats": [one.repeats for one in found],
                "shares": [pair.share if math.isfinite(pair.share) else None for pair in pairs],
            }
        )
    return rows


def foretold(spec: StudySpec, world: Curves, count: int) -> list[dict[str, Any]]:
    """What replays of one study foretell of each pair, by draws and by the surrogate's mean."""
    one = spec.model_copy(
        update={"compare": spec.compare.model_copy(update={"until": "repeats"}), "seed": world.seed}
    )
    began = time.perf_counter()
    evidence = simulate(one, TASK, world, read=Evidence.of)
    fitted = Fitted.of(evidence)
    quality = quality_of(fitted)
    rows = []
    for kind in ("draw", "mean"):
        pairs: dict[str, list[float]] = {}
        for number in range(count):
            drawn = fitted.draw(number if kind == "draw" else None)
            own = one.model_copy(update={"seed": 77_000 + number})
            for pair in replay(own, TASK, drawn).pairs:
                pairs.setdefault(pair.baseline, []).append(100 * pair.difference)
        for baseline, differences in pairs.items():
            rows.append(
                {
                    "dataset": world.dataset,
                    "baseline": baseline,
                    "kind": kind,
                    "foretold": float(np.mean(differences)),
                    "foretold_sd": float(np.std(differences, ddof=1)),
                    "rank_correlation": quality.rank_correlation,
                    "better_half": quality.better_half,
                }
            )
    click.echo(f"{spec.name} foretold; {time.perf_counter() - began:.0f} s", err=True)
    return rows


def counted(outcomes: Mapping[str, int]) -> str:
    """ "better 3, undecided 1"."""
    order = ("better", "worse", "equivalent", "undecided")
    return ", ".join(f"{name} {outcomes[name]}" for name in order if outcomes.get(name))


def share(value: float | None) -> str:
    """A share of a budget; None is never."""
    return "never" if value is None else f"{value:.0%}"


def tables(rows: Sequence[Mapping[str, Any]], told: Sequence[Mapping[str, Any]]) -> str:
    """The results in Markdown, marked as simulation."""
    lines = [
        "Simulation on LCBench's curves: nothing was trained. Differences in points of error;",
        "positive: bayes is better.",
        "",
        "| data set | bayes against | true difference | until decided | wrong | repeats, median "
        "(range) | first look alone | wrong | share of its budget |",
        "|" + " --- |" * 9,
    ]
    for row in rows:
        repeats, shares = row["repeats"], [s if s is not None else math.inf for s in row["shares"]]
        middle = sorted(shares)[len(shares) // 2]
        lines.append(
            f"| {row['dataset']} | {row['baseline']} | {row['true']:+.2f} ± {row['true_error']:.2f}"
            f" | {counted(row['outcomes'])} | {row['wrong']} of {row['comparisons']}"
            f" | {np.median(repeats):.0f} ({min(repeats)} to {max(repeats)})"
            f" | {counted(row['first'])} | {row['first_wrong']} of {row['comparisons']}"
            f" | {share(middle if math.isfinite(middle) else None)} |"
        )
    if told:
        known = {(row["dataset"], row["baseline"]): row["true"] for row in rows}
        lines += [
            "",
            "| data set | bayes against | true difference | foretold by draws | by the mean |",
            "|" + " --- |" * 5,
        ]
        for (dataset, baseline), truth in known.items():
            cells = [
                next(
                    f"{t['foretold']:+.2f} (sd {t['foretold_sd']:.2f})"
                    for t in told
                    if (t["dataset"], t["baseline"], t["kind"]) == (dataset, baseline, kind)
                )
                for kind in ("draw", "mean")
            ]
            lines.append(f"| {dataset} | {baseline} | {truth:+.2f} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--datasets", default="7593,167104,168868", show_default=True,
              help="OpenML task ids, with commas; or dev, or report.")  # fmt: skip
@click.option("--comparisons", "count", type=click.IntRange(2), default=5, show_default=True)
@click.option("--repeats", type=click.IntRange(2), default=4, show_default=True,
              help="At the first look.")  # fmt: skip
@click.option("--most", type=click.IntRange(2), default=10, show_default=True,
              help="At the last look.")  # fmt: skip
@click.option("--noise", type=click.FloatRange(0), default=0.3, show_default=True,
              help="Standard deviation between seeds, points of error.")  # fmt: skip
@click.option("--effect", type=click.FloatRange(0, min_open=True), default=0.5, show_default=True,
              help="Smallest interesting difference, points.")  # fmt: skip
@click.option("--surrogate", type=click.IntRange(0), default=0, show_default=True,
              help="Also replay one study of each so many times on its own surrogate.")  # fmt: skip
@click.option("--model", type=click.Path(path_type=Path),
              default=ROOT.parent / "shared" / "lcbench" / "model.onnx",
              help="LCBench's surrogate.  [default: ../shared/lcbench/model.onnx]")  # fmt: skip
@click.option("--json", "path", type=click.Path(path_type=Path, dir_okay=False), required=True)
def command(**given: Any) -> None:
    """Run whole comparisons on LCBench's curves, and hold their verdicts against the truth.

    \b
    Example:
      python benchmarks/replay.py --surrogate 3 --json replay.json
    """
    model: Path = given["model"]
    files = Files(model, model.with_name("encoding.json"), model.with_name("reference.json"))
    source = Surrogate(files)
    names = given["datasets"].split(",")
    rows: list[dict[str, Any]] = []
    told: list[dict[str, Any]] = []
    for number, dataset in enumerate(d for name in names for d in DATASETS.get(name, (name,))):
        if not source.knows("core", dataset):
            raise click.BadParameter(f"{dataset} is not in {files.encoding.name}")
        world = Curves(source, dataset, given["noise"] / 100, number)
        spec = study_of(dataset, given["repeats"], given["most"], given["effect"])
        rows += rows_of(spec, world, comparisons(spec, world, given["count"]))
        _write(given, rows, told)
        if given["surrogate"]:
            told += foretold(spec, world, given["surrogate"])
            _write(given, rows, told)
    click.echo(tables(rows, told))


def _write(given: Mapping[str, Any], rows: Sequence[Any], told: Sequence[Any]) -> None:
    settings = {key: value for key, value in given.items() if key not in ("model", "path")}
    content = {"simulation": True, "settings": settings, "rows": rows, "foretold": told}
    write_text(given["path"], json.dumps(content, indent=1))


def main() -> None:
    """Exit with 2 for bad input, with one line."""
    try:
        command.main(standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except SurrogateError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
