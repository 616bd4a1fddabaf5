"""The command that simulates a study: replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuneoff import references
from tuneoff.search.cli import options

if TYPE_CHECKING:
    from tuneoff.search.replay.replays import Replay, Surrogate
    from tuneoff.search.spec.file import StudySpec

REPEATS = 20
"""Of a simulation, where nobody says how many."""


@click.command()
@options.name_argument
@click.option("--table", "table", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
              help="Use the curves of `tuneoff table`; NAME is a study file then.")  # fmt: skip
@click.option("--repeats", type=click.IntRange(1, 1000),
              help="Of each arm. [default: 20; the study's own with --until-decided]")  # fmt: skip
@options.set_option
@click.option("--until-decided", is_flag=True, help="Add repeats until every pair is decided.")
@click.option("--replays", "count", type=click.IntRange(1, 1000), default=1, show_default=True,
              help="How many simulations, each with other seeds in another world.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True,
              help="Other seeds, other simulations.")  # fmt: skip
@click.option("--json", "in_json", is_flag=True, help="Print JSON.")
@options.allow_option
@options.storage_option
@options.work_option
def replay(
    name: str | None,
    table: Path | None,
    repeats: int | None,
    changes: tuple[str, ...],
    until_decided: bool,
    count: int,
    seed: int,
    in_json: bool,
    storage: str,
    work: Path,
) -> int:
    """Simulate the study with more repeats or other arms.

    A surrogate is fitted to the study's own runs, or to a table of learning curves. Whole
    comparisons are then run on it, by the code that runs real ones, in seconds: nothing is trained,
    and nothing is written.

    \b
    Examples:
      tuneoff replay digits --repeats 20 --replays 10
      tuneoff replay digits --set arms.bayes.sampler=tpe
      tuneoff replay digits --until-decided --set compare.smallest_effect=0.5
      tuneoff replay --table curves.json.gz studies/digits.toml --repeats 50
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.summary import answer
    from tuneoff.search.replay.replays import replays
    from tuneoff.search.replay.run import Stopped, Watch
    from tuneoff.search.report.simulation import marked, simulated_below, summary_sentences
    from tuneoff.search.results.compare import compare
    from tuneoff.search.work.signals import Stop

    def wanted(own: int) -> list[str]:
        number = repeats or (own if until_decided else REPEATS)
        return _changes(number, changes, until_decided)

    made = _of_study(name, storage, work, wanted) if table is None else _of(table, name, wanted)
    with Stop() as stop, _progress(made.spec, count) as on_search:
        try:
            found = replays(made.spec, made.surrogate, count, seed, Watch(stop, on_search))
        except Stopped:
            return 128 + stop.signal
    if in_json:
        click.echo(json.dumps(made.as_json(found), indent=2, allow_nan=False))
        return 0
    for sentence in made.sentences:
        console.print(sentence, soft_wrap=True)
    if count == 1:
        results = replace(found[0].results, name=marked(made.spec.name))
        console.print(simulated_below(made.spec.name), soft_wrap=True)
        console.print(answer(compare(results)))
    for sentence in summary_sentences(found, made.spec.metric.metric()):
        console.print(sentence, soft_wrap=True)
    console.print(made.caution, soft_wrap=True)
    return 0


@dataclass(frozen=True)
class _Simulation:
    """What is to be simulated, and what is said of its surrogate."""

    spec: StudySpec
    surrogate: Surrogate
    sentences: Sequence[str]
    caution: str
    as_json: Callable[[Sequence[Replay]], dict[str, Any]]


def _of_study(
    name: str | None, storage: str, work: Path, wanted: Callable[[int], list[str]]
) -> _Simulation:
    """Of a stored study, on a surrogate of its own runs."""
    from tuneoff.search.cli.storage import open_storage
    from tuneoff.search.replay.evidence import Evidence
    from tuneoff.search.replay.quality import quality_of
    from tuneoff.search.replay.settings import simulated
    from tuneoff.search.replay.surrogate import Surrogate
    from tuneoff.search.report.simulation import as_json, caution, quality_sentences
    from tuneoff.search.study.snapshot import Snapshot

    study = options.open_named(open_storage(storage), name, work)
    spec = simulated(study.spec, wanted(study.spec.repeats))
    # What --set names, whoever typed it means.
    references.allow(set(spec.references()) - set(study.spec.references()))
    surrogate = Surrogate.of(Evidence.of(Snapshot.of(study)))
    quality = quality_of(surrogate)
    sentences = quality_sentences(quality, spec.metric.metric())
    return _Simulation(spec, surrogate, sentences, caution(), partial(as_json, study.name, quality))


def _of(table: Path, name: str | None, wanted: Callable[[int], list[str]]) -> _Simulation:
    """Of a study file, on a table of learning curves."""
    from tuneoff.search.errors import UserError
    from tuneoff.search.replay.settings import on_table
    from tuneoff.search.replay.table_rows import TableSurrogate
    from tuneoff.search.report.simulation import table_caution, table_json, table_sentences
    from tuneoff.search.results.curve_table import read_table
    from tuneoff.search.spec.reading import read_study_file

    if name is None:
        raise UserError("--table needs a study file: tuneoff replay --table FILE STUDY.toml")
    file = read_study_file(Path(name))
    references.allow(file.spec.references())
    read = read_table(table)
    spec = on_table(file.spec, read, wanted(file.spec.repeats))
    surrogate = TableSurrogate.of(read, spec)
    return _Simulation(
        spec,
        surrogate,
        table_sentences(surrogate, spec.metric.metric()),
        table_caution(),
        partial(table_json, spec.name, surrogate),
    )


def _changes(repeats: int, changes: Sequence[str], until_decided: bool) -> list[str]:
    """As --set has it; what --set itself says comes last, and counts."""
    decided = ['compare.until="decided"'] if until_decided else ['compare.until="repeats"']
    return [f"repeats={repeats}", *decided, *changes]


@contextmanager
def _progress(spec: StudySpec, count: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing elsewhere; what it yields is called after each search."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from tuneoff.search.cli.console import PlainConsole

    console = PlainConsole(stderr=True)
    columns = (TextColumn("simulated searches"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        fixed = spec.compare.until == "repeats"
        bar = bars.add_task("", total=count * spec.repeats * len(spec.arms) if fixed else None)
        yield lambda: bars.advance(bar)
