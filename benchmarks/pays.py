"""Does Bayesian optimisation pay? The searches of docs/does-bayesian-optimisation-pay.md.

Each search runs on a world that answers what a training comes to, with the project's own policies
on a virtual clock. Records go to a file of lines of JSON: the same command goes on where it
stopped.
"""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from functools import cache
from pathlib import Path
from typing import Any

import click
from pays_records import Cell, Store, design, digest_of
from pays_report import figures, page
from pays_worlds import Params, World, make_world, names_of, regret
from processes import pool as pool_of
from virtual import Simulation, simulate

from tuneoff.files import write_text
from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.fixed import FixedConfigurations
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.registry import NO_PRUNER, SAMPLERS
from tuneoff.search.spec.space import SearchSpace
from tuneoff.trainer.recipe import HyperParams, Recipe

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

Files = tuple[Path | None, Path | None, Path | None]
"""The table, the folder of TaskSet's curves, LCBench's model."""


@cache
def _world(name: str, files: Files) -> World:
    return make_world(name, *files)


def build(method: str, world: World, horizon: int, budget: int, repeat: int) -> Policy:
    """The policy of a method, for full runs of ``horizon`` epochs and ``budget`` epochs in all."""
    if method in world.hand:
        return FixedConfigurations(world.hand[method], Pruning.never(horizon))
    sampler, _, pruner = method.partition("+")
    values: dict[str, Any] = {"sampler": sampler, "pruner": pruner or NO_PRUNER}
    if SAMPLERS.entry(sampler).takes_steps:
        first = next(iter(world.hand.values()), [{}])[0]
        values |= {"start": first, "factors": {world.rate: 3.0}}
    settings = ArmSpec.model_validate(values)
    # Its names need not be a Recipe's, whose fields matter to no policy.
    space = SearchSpace(world.distributions, Recipe(), HyperParams())
    arm = Arm(settings, space, (repeat,), Pruning.of(settings, horizon), budget)
    policy: Policy = SAMPLERS.load(sampler)(arm)
    return policy


def run_cell(cell: Cell, files: Files) -> dict[str, Any]:
    """What came of a search: a trace of [full runs, regret, quality], and CPU seconds."""
    world = _world(cell.world, files)
    horizon = max(1, round(cell.share * world.epochs))
    budget = cell.budget * world.epochs
    trained: list[Params] = []

    def curve(params: Params) -> Sequence[float]:
        trained.append(params)
        return world.curve(params, cell.repeat)[:horizon]

    began = time.process_time()
    policy = build(cell.method, world, horizon, budget, cell.repeat)
    place = world.placing()
    found = simulate(policy, world.distributions, curve, horizon, budget, 1, place=place)
    seconds = time.process_time() - began
    known: dict[int, float] = {}
    trace: list[list[float]] = []
    for epochs, trial in _recommended(found):
        if trial not in known:
            known[trial] = world.quality(trained[trial])
        quality = known[trial]
        if not trace or quality != trace[-1][2]:
            cost = round(epochs / world.epochs, 4)
            trace.append([cost, round(regret(world, quality), 6), round(quality, 6)])
    return {"trace": trace, "spent": len(found.steps) / world.epochs, "cpu": round(seconds, 3)}


def _recommended(found: Simulation) -> list[tuple[int, int]]:
    """(epochs, trial) whenever another trial is recommended: the best of those trained longest."""
    changes: list[tuple[int, int]] = []
    deepest, best = 0, float("inf")
    for step in found.steps:
        if step.epoch > deepest or (step.epoch == deepest and step.error < best):
            deepest, best = step.epoch, step.error
            if not changes or changes[-1][1] != step.trial:
                changes.append((step.epochs, step.trial))
    return changes


def _run(cells: Sequence[Cell], files: Files, store: Store, jobs: int) -> None:
    """Run cells and keep their records; how far it is, and what it cost, is printed at times."""
    there = {Cell.of(record) for record in store.records}
    missing = [cell for cell in cells if cell not in there]
    began, shown = time.monotonic(), 0.0
    with pool_of(jobs) as pool:
        waiting, cells_left = {}, iter(missing)
        for cell in itertools.islice(cells_left, 4 * jobs):
            waiting[pool.submit(run_cell, cell, files)] = cell
        done = 0
        while waiting:
            future = next(as_completed(waiting))
            store.add(waiting.pop(future), future.result())
            done += 1
            for cell in itertools.islice(cells_left, 1):
                waiting[pool.submit(run_cell, cell, files)] = cell
            if time.monotonic() - shown > 30:
                shown = time.monotonic()
                click.echo(f"{done}/{len(missing)} searches, {shown - began:.0f} s", err=True)


def timings(records: Sequence[Mapping[str, Any]]) -> str:
    """CPU seconds by method, the dearest first."""
    spent: dict[str, float] = defaultdict(float)
    for record in records:
        spent[record["method"]] += record["cpu"]
    parts = [f"{m} {s / 60:.1f}" for m, s in sorted(spent.items(), key=lambda each: -each[1])]
    return f"CPU minutes: {sum(spent.values()) / 60:.1f} ({', '.join(parts)})"


_FILE: Any = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--table", type=_FILE, help="File of `tuneoff table`.")
@click.option(
    "--curves", type=_FILE, help="Folder of TaskSet's curves. [default: ../shared/curves]"
)
@click.option(
    "--lcbench", type=_FILE, help="LCBench's model. [default: ../shared/lcbench/model.onnx]"
)
@click.option("--records", type=_FILE, required=True, help="The file of records; it is added to.")
@click.option("--worlds", help="Groups or names of worlds, with commas. [default: all]")
@click.option("--repeats", type=click.IntRange(1), default=1000, help="At most so many of each.")
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True)
@click.option("--report-only", is_flag=True, help="Run nothing; show the records that there are.")
@click.option("--report", type=_FILE, help="Also write the tables to this file, in Markdown.")
@click.option("--figures", "folder", type=_FILE, help="Also draw figures into this folder, in SVG.")
def command(
    table: Path | None,
    curves: Path | None,
    lcbench: Path | None,
    records: Path,
    worlds: str | None,
    repeats: int,
    jobs: int,
    report_only: bool,
    report: Path | None,
    folder: Path | None,
) -> None:
    """Run the searches of docs/does-bayesian-optimisation-pay.md, and show what came of them.

    \b
    Examples:
      python benchmarks/pays.py --table FILE --records pays.jsonl --jobs 2
      python benchmarks/pays.py --table FILE --records pays.jsonl --report-only --figures docs/pays
    """
    curves = curves or _there(SHARED / "curves")
    lcbench = lcbench or _there(SHARED / "lcbench" / "model.onnx")
    files: Files = (table, curves, lcbench)
    groups = names_of(*files)
    wanted = {w.strip() for w in worlds.split(",")} if worlds else {*groups, *groups.values()}
    groups = {n: g for n, g in groups.items() if n in wanted or g in wanted}
    if not groups:
        raise click.UsageError("there is no such world; give --table, or write LCBench or TaskSet")
    kinds = zip(("table", "curves", "lcbench"), files, strict=True)
    store = Store(records, {k: digest_of([path]) for k, path in kinds if path is not None})
    if not report_only:
        hand = {name: list(_world(name, files).hand) for name in groups}
        for name in groups:
            click.echo(f"{name}: {store.describe(name, _world(name, files).about)}")
        _run(design(groups, hand, repeats), files, store, jobs)
    chosen = [r for r in store.records if r["world"] in groups and r["repeat"] < repeats]
    text = page(chosen, groups)
    click.echo(text)
    click.echo(timings(chosen))
    if report is not None:
        write_text(report, text + "\n")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, drawing in figures(chosen, groups).items():
            write_text(folder / f"{name}.svg", drawing)


def _there(path: Path) -> Path | None:
    return path if path.exists() else None


if __name__ == "__main__":
    command()
