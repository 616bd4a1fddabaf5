"""The console on which every command prints what people read."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.style import Style
from rich.text import Text

from tuneoff.messages import printable, without_passwords

NARROWEST = 20
"""Columns that any terminal has."""
UNKNOWN = 80
"""The width of a terminal that does not say its own."""


class PlainConsole(Console):
    """rich's console, on which strings are plain text, wherever they stand: as lines, in tables.

    Names, paths, reasons and notes come from files and databases that others wrote. Here they are
    never mark-up, no character of theirs is a command to the terminal, and passwords in URLs are
    hidden. What is to have a style or several lines is made by ``styled`` and ``lines``.
    """

    def __init__(self, **options: Any) -> None:
        """
        Args:
            options: of rich's console.
        """
        super().__init__(markup=False, highlight=False, emoji=False, **options)
        # COLUMNS=0, which says that the width is not known, would have rich print nothing.
        if self.width < NARROWEST:
            self.width = UNKNOWN

    def render_str(self, text: str, **options: Any) -> Text:
        """``text`` as one line of plain text; rich calls this for every string."""
        options.update(markup=False, highlight=False, emoji=False)
        return super().render_str(printable(without_passwords(text)), **options)

    def on_broken_pipe(self) -> None:
        """Print nothing more, and have ``main`` choose the exit code; rich would choose 1."""
        self.quiet = True
        raise BrokenPipeError


def styled(text: str, style: str | Style) -> Text:
    """Plain text in a style."""
    return Text(printable(text), style)


def lines(*texts: str) -> Text:
    """Lines of plain text, as in a table's heading."""
    return Text("\n".join(map(printable, texts)))


def print_data(text: str) -> None:
    """Print what a program is to read: as it is, but on a terminal as mere text."""
    if sys.stdout.isatty():
        text = "\n".join(map(printable, text.split("\n")))
    # click would take out what looks like colours.
    sys.stdout.write(text)


console = PlainConsole()
"""Where every command prints what people read."""
