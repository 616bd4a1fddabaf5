"""How fast the project's policies search LCBench's learning curves, on a virtual clock.

Regret is that of the configuration that an arm would recommend: its error after a full run,
normalised by data set so that 0 is the best known error and 1 the median of random configurations.
Budgets and marks count equivalents of a full run (52 epochs).
"""

from __future__ import annotations

import itertools
import multiprocessing
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
from lcbench_records import MARKS, ROOT, Cell, Store, make_record
from lcbench_report import figure, tables
from lcbench_surrogate import (
    DATASETS,
    HORIZON,
    SPACES,
    Files,
    Surrogate,
    SurrogateError,
)
from processes import pool as pool_of
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from virtual import simulate

from tuneoff.files import write_text
from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.curve_gp import CurveGP
from tuneoff.search.policies.fixed import FixedConfigurations
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec import registry
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.personas import PERSONAS, settings_of
from tuneoff.search.spec.space import SearchSpace
from tuneoff.trainer.recipe import HyperParams, Recipe

HAND = "hand"  # beside the samplers: a persona's list of settings
SAMPLERS = (*registry.SAMPLERS, HAND)
PRUNERS = tuple(name for name in registry.PRUNERS if name != registry.NO_PRUNER)
ARM_OPTIONS = ("startup", "min_epochs", "reduction", "candidates", "full")
CURVE_GP_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "startup": int,
    "first_rung": int,
    "reduction": float,
    "full_share": float,
    "full_after": float,
    "quasi_random_every": int,
    "pausing": {"yes": True, "no": False}.__getitem__,
    "resuming": {"yes": True, "no": False}.__getitem__,
    "partial_runs": {"yes": True, "no": False}.__getitem__,
}
# Where one-at-a-time begins: at the setting by hand of the reference errors, or in the middle.
STARTS: Mapping[str, Mapping[str, float]] = {
    "hand": {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
    "middle": {},
}


@dataclass(frozen=True)
class PolicySpec:
    """A policy as it is written: SAMPLER[+PRUNER][:KEY=VALUE]..."""

    sampler: str
    pruner: str
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> PolicySpec:
        """Read what was written (click.BadParameter if it is not a policy)."""
        name, *pairs = text.split(":")
        sampler, plus, pruner = name.partition("+")
        if sampler not in SAMPLERS:
            raise _refused(text, f"unknown sampler {sampler!r}; choose from {', '.join(SAMPLERS)}")
        if plus and pruner not in PRUNERS:
            raise _refused(text, f"unknown pruner {pruner!r}; choose from {', '.join(PRUNERS)}")
        options: dict[str, str] = {}
        for pair in pairs:
            key, equals, value = pair.partition("=")
            if not (key and equals and value) or key in options:
                raise _refused(text, f"{pair!r} is not KEY=VALUE, or is there twice")
            options[key] = value
        return cls(sampler, pruner or registry.NO_PRUNER, options)


def build_policy(text: str, space: SearchSpace, seed: tuple[int, ...], equivalents: int) -> Policy:
    """The policy that was written, for full runs of HORIZON epochs.

    Args:
        equivalents: the budget, in full runs.

    Raises:
        click.BadParameter: there is no such policy.
    """
    spec = PolicySpec.parse(text)
    if spec.sampler == "curve-gp":
        return CurveGP(space, seed, **_settings(text, spec))
    if spec.sampler == HAND:
        return FixedConfigurations(_list(text, spec), Pruning.never(HORIZON))
    settings = _arm(text, spec)
    arm = Arm(settings, space, seed, Pruning.of(settings, HORIZON), equivalents * HORIZON)
    try:
        policy: Policy = registry.SAMPLERS.load(spec.sampler)(arm)
    except ValueError as error:  # more than the budget pays for
        raise _refused(text, str(error)) from None
    return policy


def _arm(text: str, spec: PolicySpec) -> ArmSpec:
    """The policy as an arm of a study file, which brings its defaults and its checks."""
    options, values = dict(spec.options), dict[str, Any]()
    if registry.SAMPLERS.entry(spec.sampler).takes_steps:
        start = options.pop("start", "hand")
        if start not in STARTS:
            raise _refused(text, f"start={start} is none of {', '.join(STARTS)}")
        values = {"start": STARTS[start], "factors": {"learning_rate": 3.0}}  # its "lr"
    for key, value in options.items():
        if key not in ARM_OPTIONS:
            raise _refused(text, f"unknown option {key!r}; choose from {', '.join(ARM_OPTIONS)}")
        if not value.isdecimal():
            raise _refused(text, f"{key}={value} is not a whole number")
        values[key] = int(value)
    try:
        return ArmSpec.model_validate({"sampler": spec.sampler, "pruner": spec.pruner, **values})
    except ValueError:
        raise _refused(
            text,
            f"{', '.join(ARM_OPTIONS)} begin at 1, reduction at 2, or are not for this sampler",
        ) from None


def _list(text: str, spec: PolicySpec) -> list[dict[str, Any]]:
    """A persona's settings, as in ``hand:persona=careful``, under LCBench's names.

    What they do not set, in the full space, is as in the core space.
    """
    name = spec.options.get("persona", "")
    if name not in PERSONAS or len(spec.options) > 1 or spec.pruner != registry.NO_PRUNER:
        raise _refused(text, f"write hand:persona=NAME, NAME one of {', '.join(PERSONAS)}")
    names = {"lr": "learning_rate", "momentum": "momentum", "weight_decay": "weight_decay"}
    found = settings_of(PERSONAS[name], names, {})
    return [{names[key]: config[key] for key in names} for config in found]


def _settings(text: str, spec: PolicySpec) -> dict[str, Any]:
    """CurveGP's fields, as in ``curve-gp:pausing=no:first_rung=5``."""
    if spec.pruner != registry.NO_PRUNER:
        raise _refused(text, "curve-gp takes no pruner")
    settings = {}
    for key, value in spec.options.items():
        if key not in CURVE_GP_OPTIONS:
            known = ", ".join(CURVE_GP_OPTIONS)
            raise _refused(text, f"unknown option {key!r}; choose from {known}")
        try:
            settings[key] = CURVE_GP_OPTIONS[key](value)
        except (ValueError, KeyError):
            raise _refused(text, f"{key}={value} is not a value of {key}") from None
    return settings


def _refused(text: str, why: str) -> click.BadParameter:
    return click.BadParameter(f"{text}: {why}", param_hint="--policies")


def run_cell(files: Files, cell: Cell) -> dict[str, Any]:
    """Simulate a run and return its record."""
    surrogate = _surrogate(files)
    space = search_space(cell.space)
    # The seed does not depend on the policy, the space or the workers, so that all arms of a repeat
    # begin with the same points.
    seed = (int(cell.dataset), cell.repeat)
    simulation = simulate(
        build_policy(cell.policy, space, seed, cell.equivalents),
        space.distributions,
        lambda params: surrogate.curve(cell.dataset, params),
        HORIZON,
        cell.equivalents * HORIZON,
        cell.workers,
    )
    if not simulation.steps:
        raise click.ClickException(f"{cell.policy}: asked for no run at all")
    return make_record(cell, simulation, surrogate.reference(cell.space, cell.dataset))


def search_space(name: str) -> SearchSpace:
    """A space of LCBench. Its names are not those of a Recipe, whose fields matter to no policy."""
    return SearchSpace(distributions=SPACES[name], recipe=Recipe(), fixed=HyperParams())


@cache
def _surrogate(files: Files) -> Surrogate:
    return Surrogate(files)


def run_cells(
    files: Files, cells: Sequence[Cell], jobs: int, keep: Callable[[dict[str, Any]], None]
) -> None:
    """Run cells in processes of their own; ``keep`` is called with each record when it is made."""
    with pool_of(min(jobs, len(cells))) as pool:
        try:
            for future in as_completed([pool.submit(run_cell, files, cell) for cell in cells]):
                keep(future.result())
        except BrokenProcessPool:
            raise click.ClickException(
                "a process died, perhaps because memory ran out; the same command continues"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _names(context: click.Context, parameter: click.Parameter, text: str | None) -> list[str]:
    """The names in a list with commas, each once."""
    names = [name.strip() for name in (text or "").split(",")]
    return list(dict.fromkeys(name for name in names if name))


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--policies", callback=_names, help="SAMPLER[+PRUNER][:KEY=VALUE]..., with commas.")
@click.option("--space", type=click.Choice(list(SPACES)), default="core", show_default=True)
@click.option(
    "--datasets",
    callback=_names,
    default="report",
    show_default=True,
    help="OpenML task ids, with commas; or dev, or report.",
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option(
    "--equivalents",
    type=click.IntRange(min(MARKS)),
    default=20,
    show_default=True,
    help="Budget of a run, in full trainings of 52 epochs.",
)
@click.option(
    "--workers", type=click.IntRange(1), default=1, show_default=True, help="Simulated workers."
)
@click.option(
    "--jobs", type=click.IntRange(1), default=1, show_default=True, help="Processes that compute."
)
@click.option(
    "--json",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file of records; runs that it has are not run again.",
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=ROOT.parent / "shared" / "lcbench" / "model.onnx",
    help="The surrogate.  [default: ../shared/lcbench/model.onnx]",
)
@click.option("--encoding", type=click.Path(path_type=Path), help="encoding.json, beside --model.")
@click.option(
    "--reference", type=click.Path(path_type=Path), help="reference.json, beside --model."
)
@click.option("--table-only", is_flag=True, help="Run nothing; show the records that there are.")
@click.option(
    "--figure",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also draw them, in HTML.",
)
def command(
    policies: list[str],
    space: str,
    datasets: list[str],
    repeats: int,
    equivalents: int,
    workers: int,
    jobs: int,
    path: Path,
    model: Path,
    encoding: Path | None,
    reference: Path | None,
    table_only: bool,
    page: Path | None,
) -> None:
    """Run policies on LCBench's learning curves and compare what they find.

    \b
    Example:
      python benchmarks/lcbench.py --policies gp,tpe+hyperband,random --json out.json
      python benchmarks/lcbench.py --json out.json --table-only --figure out.html
    """
    if page and page.suffix != ".html":
        raise click.BadParameter(f"{page} must end in .html", param_hint="--figure")
    for policy in policies:
        build_policy(policy, search_space(space), (0, 0), equivalents)
    datasets = list(dict.fromkeys(d for name in datasets for d in DATASETS.get(name, (name,))))
    store = Store(path)
    if table_only:
        policies = policies or list(dict.fromkeys(r["policy"] for r in store.records))
    elif not policies:
        raise click.BadParameter("name at least one", param_hint="--policies")
    # Repeat by repeat: after an interruption, the repeats that were run have all policies.
    wanted = [
        Cell(policy, space, dataset, repeat, workers, equivalents)
        for repeat, dataset, policy in itertools.product(range(repeats), datasets, policies)
    ]
    if not table_only:
        files = Files(
            model,
            encoding or model.with_name("encoding.json"),
            reference or model.with_name("reference.json"),
        )
        _run(files, store, wanted, jobs)
    chosen = set(wanted)
    records = [record for record in store.records if Cell.of(record) in chosen]
    if not records:
        raise click.BadParameter(
            f"{path} has no record of these policies and data sets", param_hint="--json"
        )
    click.echo(tables(records, policies))
    if page:
        try:
            write_text(page, figure(records, policies).to_html())
        except OSError as error:
            raise click.BadParameter(
                f"{page} cannot be written ({error.strerror})", param_hint="--figure"
            ) from None


def _run(files: Files, store: Store, wanted: Sequence[Cell], jobs: int) -> None:
    """Run the cells of which there is no record yet."""
    surrogate = _surrogate(files)
    for cell in wanted:
        if not surrogate.knows(cell.space, cell.dataset):
            raise click.BadParameter(
                f"{cell.dataset}: not in {files.encoding.name} or {files.reference.name}; "
                "write dev or report for the data sets that the project uses",
                param_hint="--datasets",
            )
    there = {Cell.of(record) for record in store.records}
    missing = [cell for cell in wanted if cell not in there]
    if not missing:
        return
    store.begin(files.digest())
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bars = Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
    with bars:
        bar = bars.add_task("runs", total=len(missing))
        numbers = itertools.count(1)

        def keep(record: dict[str, Any]) -> None:
            store.add(record)
            bars.update(bar, advance=1, description=record["policy"])
            if not console.is_terminal:
                regrets = ", ".join(f"{r:.3f} at {mark}" for mark, r in record["regret"].items())
                click.echo(
                    f"{next(numbers)}/{len(missing)} {record['policy']} on {record['dataset']}, "
                    f"repeat {record['repeat']}: regret {regrets}; {record['seconds']:.1f} s",
                    err=True,
                )

        run_cells(files, missing, jobs, keep)


def main() -> None:
    """Exit with 2 for bad input, 1 for a failure and 130 for Ctrl-C, each with one line."""
    try:
        command.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(128 + signal.SIGINT)
    except click.ClickException as error:
        click.echo(f"Error: {error.format_message()}", err=True)
        sys.exit(error.exit_code)
    except SurrogateError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
