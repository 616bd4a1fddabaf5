"""A study's status for people: a table of the arms, who is at work, and what must be known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Column, Table

from tuneoff.messages import counted
from tuneoff.metric import Metric, capitalised
from tuneoff.search.cli.board import Board, best_words, board_lines, epochs_words
from tuneoff.search.cli.console import PlainConsole, lines, styled
from tuneoff.search.cli.terminal import time_left
from tuneoff.search.results.numbers import NONE
from tuneoff.search.results.progress import ArmProgress
from tuneoff.search.spec.file import RESERVED_ARMS

if TYPE_CHECKING:
    from tuneoff.search.results.gains import ArmGain
    from tuneoff.search.results.status import Busy, Status

NARROW: Final = 60
"""Columns below which the arms are shown in lines, as a table would be cut."""
_MOST_BUSY: Final = 8
"""A screen that is drawn again and again names no more workers than these."""
_FINISHED: Final = {"complete", "pruned", "diverged", "failed"}


def print_status(console: PlainConsole, status: Status) -> None:
    """A status for people, once."""
    for part in _parts(status, console, len(status.busy), len(status.arms)):
        console.print(part)


def status_screen(console: PlainConsole, status: Status, more: Sequence[str] = ()) -> Group:
    """A status that fits on one screen: the rest of many arms and workers is counted.

    Args:
        more: sentences that follow it.
    """
    arms = max(3, (console.size.height - 10) // (2 if len(status.arms) > 8 else 1))
    parts = [*_parts(status, console, _MOST_BUSY, arms), *map(lines, more)]
    return Group(*parts)


def _parts(status: Status, console: PlainConsole, busy: int, arms: int) -> Iterator[RenderableType]:
    """
    Args:
        busy, arms: at most so many of them are shown.
    """
    progress = [
        ArmProgress(
            arm.name,
            arm.spent,
            arm.budget,
            arm.best,
            arm.about,
            _at(status, arm.name),
            status.metric,
            arm.seconds,
            arm.budget_seconds,
        )
        for arm in status.arms
    ]
    if console.width < NARROW:
        board = Board(status.study, progress, status.images)
        yield lines(
            *board_lines(board, console.width, arms + 12, ascii_only=console.options.ascii_only)
        )
    else:
        yield _table(status, progress[:arms])
        if len(progress) > arms:
            yield lines(f"and {counted(len(progress) - arms, 'arm')} more")
    for one in status.busy[:busy]:
        yield lines(_busy_words(one))
    if len(status.busy) > busy:
        yield lines(f"and {counted(len(status.busy) - busy, 'worker')} more at work")
    if not status.busy:
        yield lines(_nobody_at_work(status))
    if status.seconds_left is not None:
        left = time_left(status.seconds_left)
        yield lines(f"{left[0].upper()}{left[1:]} at this speed.")
    if status.draining:
        yield lines(
            "Stopped by `tuneoff stop`: workers leave after their trials. `tuneoff stop --undo`"
            " takes it back."
        )
    for failure in status.failures:
        yield styled("failed ", "red").append_text(lines(failure))
    for sentence in (
        *status.stopped,
        *gain_sentences(status.gains, status.metric),
        *status.overruns,
    ):
        yield lines(sentence)
    if status.unjudged is not None:
        yield lines(status.unjudged)
    for worker in status.failing:
        yield styled("failing ", "red").append_text(
            lines(
                f"{worker.worker} ({worker.device}): {counted(worker.attempts, 'attempt')} at"
                f" {counted(worker.trials, 'trial')} in a row failed; the last: {worker.reason}"
            )
        )


def _at(status: Status, arm: str) -> int:
    """How many workers are at trials of an arm or a queue."""
    return sum(
        one.trial.startswith((f"{status.study}/{arm}/", f"{status.study}/{arm}#"))
        for one in status.busy
    )


def _table(status: Status, progress: Sequence[ArmProgress]) -> Table:
    metric = status.metric
    noted = any(arm.best is not None for arm in progress) and status.images
    noted = noted and metric.counts_mistakes
    table = Table(
        "",
        Column(lines("Epochs", "spent/budget"), justify="right"),
        Column(lines(capitalised(metric.lowest), metric.bare), justify="right"),
        "Trials",
        Column(lines("At", "work"), justify="right"),
        Column(lines("Lost", "attempts"), justify="right"),
        title=status.study,
        caption=f"±: standard error on {counted(status.images, 'image')}" if noted else None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    for arm, shown in zip(status.arms, progress, strict=False):
        states = ", ".join(f"{n:,} {state}" for state, n in sorted(arm.states.items()))
        best = best_words(shown, status.images)
        work = str(shown.live) if shown.live else NONE
        lost = str(arm.lost) if arm.lost else NONE
        table.add_row(arm.name, epochs_words(shown), best or NONE, states, work, lost)
    return table


def _busy_words(one: Busy) -> str:
    attempt = f", attempt {one.attempt + 1}" if one.attempt else ""
    return (
        f"{one.worker} on {one.device}: {one.trial}, epoch {one.epoch} of {one.until_epoch},"
        f" for {one.running:.0f} s (last progress {one.idle:.0f} s ago){attempt}"
    )


def _nobody_at_work(status: Status) -> str:
    states = {state for arm in status.arms for state in arm.states}
    later = sum(arm.spent for arm in status.arms if arm.name in RESERVED_ARMS)
    if later and states <= _FINISHED:
        return (
            "No worker has a trial, and every trial is finished."
            f" `tuneoff compare {status.study}` says who won,"
            f" `tuneoff report {status.study}` shows why."
        )
    return "No worker has a trial. One that starts takes up to a minute to its first."


def gain_sentences(gains: Sequence[ArmGain], metric: Metric) -> list[str]:
    """What further epochs would probably bring, a sentence for each arm of which it is known."""
    return [_gain_sentence(gain, metric) for gain in gains if gain.mean is not None]


def _gain_sentence(gain: ArmGain, metric: Metric) -> str:
    assert gain.mean is not None
    assert gain.low is not None
    assert gain.high is not None
    mean = metric.amount(gain.mean)
    low, high = metric.size(gain.low), metric.size(gain.high)
    change = "raise" if metric.maximised else "lower"
    return (
        f"Another {counted(gain.epochs, 'epoch')} of {gain.arm} would probably {change} its best"
        f" {metric.on('validation')} by {mean} (80% interval {low} to {high})."
    )
