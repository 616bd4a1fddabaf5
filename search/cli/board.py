"""The board: how a study stands while its workers train, in lines that fit a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tuneoff.messages import counted
from tuneoff.metric import capitalised
from tuneoff.search.cli.sparkline import BLOCKS
from tuneoff.search.results.progress import ArmProgress

_FULL: Final = BLOCKS[-1]
_WIDE: Final = 60
"""Columns from which on there is room for bars."""
_NARROW: Final = 36
"""Columns below which an arm has its name and its epochs only."""
_BAR: Final = (8, 30)  # columns, least and most
_NAME: Final = (8, 24)


@dataclass(frozen=True, slots=True)
class Board:
    """How a study stands.

    Attributes:
        title: what is said of the whole study, in a line.
        arms: and queues, in the study file's order.
        images: on which an error is measured.
        left: how long all that is left takes, in words; empty while that is unknown.
        answer: what the next answer costs, in a sentence; empty where nothing is to be said.
    """

    title: str
    arms: Sequence[ArmProgress]
    images: int
    left: str = ""
    answer: str = ""


def standard_error(error: float, images: int) -> float:
    """Of an error that was measured on so many images, 0 to 1: sqrt(e (1 - e) / n).

    It is the noise of the sample of images alone. How far trainings with other seeds lie apart is
    known only where some were trained.
    """
    return math.sqrt(max(0.0, error * (1 - error)) / images) if images else 0.0


def best_words(arm: ArmProgress, images: int) -> str:
    """The lowest error so far, and its standard error where that is known: "1.39% ± 0.69"."""
    if arm.best is None:
        return ""
    text = arm.metric.text(arm.best)
    if not arm.metric.counts_mistakes or not images:  # nobody knows how many a user's code counts
        return text
    return f"{text} ± {arm.metric.size(standard_error(arm.best, images))}"


def epochs_words(arm: ArmProgress) -> str:
    """Epochs spent, and to be spent: "157/288", "12/~252"; or with time, "157 (12/20 min)"."""
    if arm.budget_seconds is not None:
        return f"{arm.spent:,} ({_times(arm.seconds, arm.budget_seconds)})"
    return f"{arm.spent:,}/{'~' if arm.about else ''}{arm.budget:,}"


def _times(spent: float, budget: float) -> str:
    """Both in the unit that suits the budget: "12/20 min"."""
    unit, long = next(
        (u, n) for u, n in (("h", 3600), ("min", 60), ("s", 1)) if budget >= 2 * n or n == 1
    )
    return f"{_short(spent / long)}/{_short(budget / long)} {unit}"


def _short(number: float) -> str:
    """With one decimal while it is small: "1.5", "12"."""
    return f"{number:.1f}".removesuffix(".0") if number < 10 else f"{number:,.0f}"


def board_lines(board: Board, width: int, height: int, ascii_only: bool = False) -> list[str]:
    """The board in lines, none wider than the terminal and no more than it has.

    Args:
        width, height: of the terminal, in columns and lines. Of more arms than there is room for,
            those at which workers are come first, and the others are counted.
        ascii_only: the terminal has no other characters.
    """
    about = [line for text in (_note(board), _close(board)) for line in _wrapped(text, width)]
    room = max(1, height - 2 - len(about))  # a line for the title, and one for the cursor
    arms = list(board.arms)
    rest: list[ArmProgress] = []
    if len(arms) > room:
        order = sorted(range(len(arms)), key=lambda i: (-arms[i].live, arms[i].spent == 0, i))
        kept = set(order[: max(1, room - 1)])
        rest = [arm for i, arm in enumerate(arms) if i not in kept]
        arms = [arm for i, arm in enumerate(arms) if i in kept]
    lines = [_cut(board.title, width), *_rows(arms, board.images, width, ascii_only)]
    if rest:
        spent, budget = sum(arm.spent for arm in rest), sum(arm.budget for arm in rest)
        lines.append(_cut(f"and {len(rest)} more: {spent:,}/{budget:,} epochs", width))
    return [*lines, *about][: max(1, height - 1)]


def _rows(arms: Sequence[ArmProgress], images: int, width: int, ascii_only: bool) -> list[str]:
    names = [arm.name for arm in arms]
    wide = max(map(len, names), default=0)
    epochs = [epochs_words(arm) for arm in arms]
    longest = max(map(len, epochs), default=0)
    if width < _NARROW:
        room = max(4, width - longest - 1)
        return [
            _cut(f"{_cut(name, room):{room}} {said:>{longest}}", width)
            for name, said in zip(names, epochs, strict=True)
        ]
    name_room = min(max(wide, _NAME[0]), _NAME[1] if width >= _WIDE else 12)
    bests = [_shorter(best_words(arm, images), width) for arm in arms]
    best_room = max(map(len, bests), default=0)
    tails = [f"{arm.live} at work" if arm.live and width >= _WIDE else "" for arm in arms]
    tail_room = max(map(len, tails), default=0)
    taken = name_room + longest + best_room + tail_room + 8
    bar = min(_BAR[1], width - taken) if width >= _WIDE else 0
    rows = []
    for arm, name, said, best, tail in zip(arms, names, epochs, bests, tails, strict=True):
        drawn = f"{_bar(arm, bar, ascii_only)}  " if bar >= _BAR[0] else ""
        row = f"{_cut(name, name_room):{name_room}}  {drawn}{said:>{longest}}  {best:{best_room}}"
        rows.append(_cut(f"{row}  {tail}".rstrip(), width))
    return rows


def _bar(arm: ArmProgress, columns: int, ascii_only: bool) -> str:
    full, empty = ("#", "-") if ascii_only else (_FULL, "░")
    done = int(columns * min(1.0, arm.spent / arm.budget)) if arm.budget else 0
    return full * done + empty * (columns - done)


def _shorter(best: str, width: int) -> str:
    return best if width >= _WIDE else best.partition(" ±")[0]


def _note(board: Board) -> str:
    if not any(arm.best is not None for arm in board.arms) or not board.images:
        return ""
    metric = board.arms[0].metric
    best = f"{capitalised(metric.lowest)} {metric.on('validation')}"
    if not metric.counts_mistakes:
        return f"{best}, on {counted(board.images, 'image')}."
    return f"{best} ± its standard error on {counted(board.images, 'image')}."


def _close(board: Board) -> str:
    left = f"{board.left[0].upper()}{board.left[1:]}. " if board.left else ""
    return f"{left}{board.answer}".strip()


def _wrapped(text: str, width: int) -> list[str]:
    """Words in lines; a word that is longer than a line is cut."""
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(_cut(word, width))
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"
