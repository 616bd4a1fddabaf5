"""Commands on data sets: decode them once, and look at them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuneoff import references
from tuneoff.messages import counted
from tuneoff.search.cli import options
from tuneoff.search.cli.groups import Group
from tuneoff.search.errors import UserError
from tuneoff.trainer.data.registry import DATASETS, Remote
from tuneoff.trainer.recipe import DataSource

if TYPE_CHECKING:
    from tuneoff.trainer.contract import Duplicates

_NAMES = "\b\nNAME is one of:\n" + "\n".join(
    [
        *(f"  {name:<14} {DATASETS.about(name)}" for name in DATASETS),
        "  MODULE:FUNCTION  of your own, called without options",
    ]
)


@click.group(cls=Group)
def data() -> None:
    """Decode data sets once, and look at them."""


@data.command("prepare", epilog=_NAMES)
@options.data_options
@options.work_option
def data_prepare(name: str, path: str | None, work: Path, **others: Any) -> None:
    """Verify a data set and decode it, once for all workers.

    Without --path, a data set that is published as one file (Tiny ImageNet) is fetched into --work
    first. If that breaks off, the same command goes on from there.

    \b
    Examples:
      tuneoff data prepare tiny-imagenet
      tuneoff data prepare tiny-imagenet --path data/tiny-imagenet-200.zip
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.terminal import fetching_progress, print_notes
    from tuneoff.search.cli.trainers import DecodingClock, describe_data
    from tuneoff.trainer.data import decode, download

    remote = _remote(name)
    if path is None and remote is not None and not _fetched(work, remote).exists():
        with fetching_progress(console) as progress:
            download.fetch(remote.url, _fetched(work, remote), remote.md5, progress)
    clock = DecodingClock()
    source = _source(work, name, path, **others)
    task = describe_data(work, source, clock)
    sizes = ", ".join(f"{n} {split}" for split, n in task.sizes.items())
    console.print(
        f"{name}: {sizes} images; packed in {work}/cache; digest {task.digest[:12]}",
        soft_wrap=True,
    )
    if clock.seconds:
        console.print(
            f"Decoded {counted(clock.images, 'image')} in {clock.seconds:.1f} s "
            f"({clock.images / clock.seconds:.0f} images/s) with {decode.decoder_name()}.",
            soft_wrap=True,
        )
    if task.duplicates is not None:
        console.print(_said_of(task.duplicates), soft_wrap=True)
    print_notes(console, task)
    if source.path is not None:
        console.print(f'In study files: path = "{source.path}"', soft_wrap=True)


@data.command("info", epilog=_NAMES)
@options.data_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.work_option
def data_info(name: str, path: str | None, as_json: bool, work: Path, **others: Any) -> None:
    """Show a data set's classes, splits, duplicates and digest.

    \b
    Example:
      tuneoff data info digits
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.cli.terminal import print_notes
    from tuneoff.search.cli.trainers import describe_data

    task = describe_data(work, _source(work, name, path, **others))
    found = task.duplicates
    facts: dict[str, Any] = {
        "name": name,
        "classes": list(task.classes),
        "sizes": dict(task.sizes),
        "chance_error": task.chance_error,
        "duplicates": None if found is None else asdict(found),
        "digest": task.digest,
        "notes": list(task.notes),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    del facts["notes"]  # in lines of their own, below
    for key, value in facts.items():
        console.print(f"{key}: {value}", soft_wrap=True)
    if found is not None:
        console.print(_said_of(found), soft_wrap=True)
    print_notes(console, task)


def _remote(name: str) -> Remote | None:
    """What `data prepare` fetches for a data set; None for those that come from elsewhere."""
    return DATASETS.entry(name).remote if name in DATASETS else None


def _fetched(work: Path, remote: Remote) -> Path:
    """Where `data prepare` puts what it fetches."""
    return (work / "data" / remote.file_name).absolute()


def _source(work: Path, name: str, path: str | None, **others: Any) -> DataSource:
    """The images that ``options.data_options`` name."""
    references.allow([name] if references.is_reference(name) else [])  # whoever types it means it
    remote = _remote(name)
    if path is None and remote is not None and _fetched(work, remote).exists():
        path = str(_fetched(work, remote))
    try:
        return DataSource(name, path, **others)
    except ValueError as error:
        raise UserError(f"{error} (--path)" if "path" in str(error) else str(error)) from None


def _said_of(found: Duplicates) -> str:
    """A data set's duplicates, for people, with what to do about them."""
    if not found.groups:
        return "No two images have the same pixels."
    text = (
        f"{found.groups} groups of identical images: {found.crossing} across splits, "
        f"{found.conflicting} with conflicting labels"
    )
    if found.dropped:
        return f"{text}; {found.dropped} images are left out."
    if found.crossing or found.conflicting:
        return f'{text}. duplicates = "drop" in [data] keeps these out of training.'
    return f"{text}."
