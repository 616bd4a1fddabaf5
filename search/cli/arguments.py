"""Passwords on the command line, kept out of the list of processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from tuneoff.messages import printable, without_passwords
from tuneoff.search.errors import UserError

_COMMAND_LINE = Path("/proc/self/cmdline")
_HOW = "set TUNEOFF_STORAGE to the URL, or write the password into ~/.pgpass, and leave it out here"


def hide_passwords(words: Sequence[str]) -> None:
    """Overwrite this process's command line, if it holds a password, with one that does not.

    Args:
        words: the process's arguments. They stay as they are; only other processes see others.

    Raises:
        UserError: the system does not let a process change what others see.
    """
    # A blank within a password would end it for whoever looks for the "@" in running text.
    shown = [without_passwords("_".join(word.split())) for word in words]
    secret = [word for word, text in zip(words, shown, strict=True) if "***" in text]
    if not secret:
        return
    from setproctitle import setproctitle

    setproctitle(printable(" ".join(["tuneoff", *shown])))
    if _COMMAND_LINE.exists():
        seen = _COMMAND_LINE.read_bytes().decode(errors="surrogateescape")
        if any(word in seen for word in secret):
            raise UserError(f"other users can read the password on the command line; {_HOW}")
    click.echo(
        f"Until now, other users could read the password on the command line. Better: {_HOW}.",
        err=True,
    )
