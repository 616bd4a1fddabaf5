"""The command that tells one trial's story."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click

from tuneoff.messages import counted
from tuneoff.search.cli import options

_CHOSEN: Final = {
    "start": "one of those that the search begins with",
    "curve model": "the most promising by the model of all learning curves",
    "given full runs only": "the most promising by the model of full runs alone",
    "quasi-random": "the next point of the Sobol sequence",
}
"""How curve-gp chooses, as ``attributes.CHOSEN_BY`` stores it, in words."""

if TYPE_CHECKING:
    from tuneoff.search.results.records import AttemptRecord
    from tuneoff.search.results.story import TrialStory
    from tuneoff.search.study.study import Study


def _trial_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """``TRIAL``, after a ``NAME`` that may be left out: a single word is TRIAL."""

    def shift(context: click.Context, parameter: click.Parameter, value: str | None) -> str:
        if value is None and context.params["name"] is not None:
            value, context.params["name"] = context.params["name"], None
        if value is None:
            raise click.MissingParameter(ctx=context, param=parameter)
        return value

    return click.argument("trial", metavar="TRIAL", required=False, callback=shift)(command)


@click.command()
@options.study_command
@_trial_argument
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(study: Study, trial: str, as_json: bool) -> None:
    """Tell one trial's whole story: its curve, attempts and files.

    TRIAL is written as reports write it: bayes/0#12, full#3 or ensemble#0.

    \b
    Example:
      tuneoff show digits bayes/0#12
    """
    from tuneoff.search.cli.console import console
    from tuneoff.search.results.plain import plain
    from tuneoff.search.results.story import read_story
    from tuneoff.search.study.snapshot import Snapshot

    story = read_story(Snapshot.of(study), trial)
    if as_json:
        click.echo(json.dumps({**plain(story), "folder": str(story.folder)}))
        return
    for line in story_lines(story, console.width, ascii_only=console.options.ascii_only):
        console.print(line, soft_wrap=True)


def story_lines(story: TrialStory, width: int, ascii_only: bool = False) -> Iterator[str]:
    """The story for people, line by line.

    Args:
        width: of the terminal, in columns; a curve is no wider.
        ascii_only: the terminal has no other characters.
    """
    from tuneoff.search.results.numbers import parameters

    pick = ", which its arm recommends" if story.recommended else ""
    yield f"{story.trial}: {story.state}{pick}"
    yield f"  parameters  {parameters(story.params) or 'none'}"
    if story.recipe:
        yield f"  recipe      {parameters(story.recipe)}; all else as in [trial]"
    yield f"  seed        {', '.join(map(str, story.seed))} (study, trial, replica)"
    if story.chosen_by:
        yield f"  chosen as   {_CHOSEN.get(story.chosen_by, story.chosen_by)}"
    if story.entered:
        yield f"  entered     {story.entered}, by hand"
    if story.note:
        yield f"  note        {story.note}"
    if story.failure:
        yield f"  failed      {story.failure}"
    yield from _curve(story, width, ascii_only)
    if story.diverged_epoch is not None:
        yield f"  diverged    in epoch {story.diverged_epoch}: the loss was no longer a number"
    if story.test_error is not None:
        yield f"  {story.metric.on('test'):10}  {story.metric.text(story.test_error)}"
    yield from _attempts(story)
    if story.files:
        listed = ", ".join(f"{one.name} ({_bytes(one.size)})" for one in story.files)
        yield f"  files       {story.folder}: {listed}"
    else:
        yield f"  files       none on this machine (their folder is {story.folder})"
    for line in story.printed:
        yield f"  printed     {line}"
    for line in story.log:
        yield f"  log         {line}"


def _curve(story: TrialStory, width: int, ascii_only: bool) -> Iterator[str]:
    from tuneoff.search.cli.sparkline import ASCII, BLOCKS, sparkline

    if not story.errors:
        whole = counted(story.epochs, "epoch")
        yield f"  {story.metric.bare:10}  not measured yet; a whole run has {whole}"
        return
    epochs = list(story.errors)
    best = min(epochs, key=lambda epoch: story.errors[epoch])
    levels = ASCII if ascii_only else BLOCKS
    drawn = sparkline(
        list(map(story.metric.value, story.errors.values())), max(8, width - 14), levels
    )
    yield f"  {story.metric.bare:10}  {drawn}"
    said = {f"epoch {epoch}": story.errors[epoch] for epoch in (epochs[0], best, epochs[-1])}
    numbers = ", ".join(
        f"{story.metric.text(error)} after {epoch}" for epoch, error in said.items()
    )
    yield f"              on validation: {numbers} of {story.epochs}"


def _attempts(story: TrialStory) -> Iterator[str]:
    if not story.attempts:
        yield "  attempts    none yet"
        return
    epochs, seconds = (
        sum(one.epochs for one in story.attempts),
        sum(one.seconds for one in story.attempts),
    )
    yield (
        f"  attempts    {len(story.attempts)}: {counted(epochs, 'epoch')} in {seconds:.1f} s of"
        " device time"
    )
    for one in story.attempts:
        yield f"    {_attempt(one)}"


def _attempt(one: AttemptRecord) -> str:
    began = datetime.fromtimestamp(one.started, UTC).strftime("%Y-%m-%d %H:%M:%S")
    end = "at work" if one.end is None else one.end
    why = f": {one.reason}" if one.reason else ""
    return (
        f"#{one.number}  {began} UTC  {one.worker} on {one.device}, from epoch {one.from_epoch}:"
        f" {counted(one.epochs, 'epoch')} in {one.seconds:.1f} s, {end}{why}"
    )


def _bytes(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
