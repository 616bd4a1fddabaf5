"""The command line: its commands by name, and the streams that they write to."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from importlib import import_module
from io import TextIOWrapper
from typing import Any, NoReturn, TextIO

import click

from tuneoff.messages import printable, without_passwords
from tuneoff.registry import nearest
from tuneoff.search.cli.arguments import hide_passwords
from tuneoff.search.cli.failures import code_of
from tuneoff.search.cli.groups import Group
from tuneoff.search.errors import UserError

COMMANDS: Mapping[str, str] = {
    "new": "starting:new",
    "import": "importing:import_",
    "run": "studies:run",
    "check": "checking:check",
    "create": "studies:create",
    "worker": "studies:worker",
    "launch": "studies:launch",
    "try": "studies:try_",
    "tune": "tuning:tune",
    "list": "watching:list_",
    "status": "watching:status",
    "stop": "watching:stop",
    "promote": "outcomes:promote",
    "export": "outcomes:export",
    "train": "outcomes:train",
    "predict": "outcomes:predict",
    "show": "showing:show",
    "plot": "plotting:plot",
    "compare": "outcomes:compare",
    "table": "tabling:table",
    "replay": "replaying:replay",
    "report": "reporting:report",
    "dashboard": "machine:dashboard",
    "data": "data:data",
    "doctor": "machine:doctor",
}
"""Where each command is: a module of this package, and the name there."""


class _ReaderGone(Exception):
    """Whoever read our output has closed it; click would answer an OSError with exit code 1."""


class _TornFile(Exception):
    """A file ended where more was expected; click would take an EOFError for Ctrl-C."""


class _Commands(Group):
    """Imports a command when it is asked for.

    Modules of commands import no more than their options need; what a command does it imports
    when it runs, since some of that takes seconds. The list of commands imports all of them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"{__package__}.{module}"), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and (near := nearest(args[0], COMMANDS)) not in (None, args[0]):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {near!r}?")
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _told_apart():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _told_apart():
            return super().invoke(ctx)


@contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _ReaderGone from None
    except EOFError as error:
        raise _TornFile(str(error)) from error


class _OneLine(logging.Formatter):
    """A record in one line, its message as text; a traceback follows line by line."""

    def format(self, record: logging.LogRecord) -> str:
        record = copy(record)
        record.msg, record.args = printable(without_passwords(record.getMessage())), None
        return "\n".join(map(printable, super().format(record).split("\n")))


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command line: exit code 2 for bad input, 1 for a failure, 128 + n for a signal.

    Args:
        words: the process's own unless given.
    """
    for stream in _output():
        # What a terminal cannot show is no reason to stop; in the C locale Python would stop, too.
        if isinstance(stream, TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = code_of(lambda: _run(words))
    except (BrokenPipeError, _ReaderGone):
        # As the signal would have done, had Python not switched it off.
        code = 128 + signal.SIGPIPE
    _close_output()
    sys.exit(code)


def _run(words: Sequence[str] | None) -> object:
    """Run a command until what it printed has arrived; its exit code, if it has one.

    Raises:
        UserError: it used a word as text that is not text. Paths may be any bytes.
    """
    if words is None:
        hide_passwords(sys.argv[1:])
    try:
        code: object = cli.main(words, prog_name="tuneoff", standalone_mode=False)
    except ValueError as error:
        given = sys.argv[1:] if words is None else words
        bad = next((word for word in given if not _is_unicode(word)), None)
        if bad is None or "surrogates not allowed" not in str(error):
            raise
        raise UserError(
            f"{bad} is not UTF-8; write it anew, or set the terminal to UTF-8"
        ) from None
    for stream in _output():
        stream.flush()
    return code


def _is_unicode(word: str) -> bool:
    """True unless it has bytes that are not UTF-8, which Python hands on as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in word)


def _close_output() -> None:
    """Have Python write to nowhere, when it exits, what nobody takes; it would complain."""
    for stream in _output():
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())


def _output() -> list[TextIO]:
    """Standard output and error, if this process has them."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream]


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="tuneoff", prog_name="tuneoff")
@click.option("-v", "--verbose", is_flag=True, help="Say what happens, on standard error.")
def cli(verbose: bool) -> None:
    """Does Bayesian optimisation beat your hand-tuned hyperparameters, by how much, at what cost?

    \b
    Start with:
      tuneoff run studies/digits.toml
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO if verbose else logging.WARNING)
