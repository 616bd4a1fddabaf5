"""The command line: its commands by name, and the exit code of each outcome."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn, TextIO

import click

from tuneoff.search.errors import SearchError, UserError
from tuneoff.trainer.errors import DataError, ModelError, TrainerError

COMMANDS: Mapping[str, str] = {
    "run": "studies:run",
    "create": "studies:create",
    "worker": "studies:worker",
    "launch": "studies:launch",
    "try": "studies:try_",
    "status": "studies:status",
    "stop": "studies:stop",
    "promote": "outcomes:promote",
    "export": "outcomes:export",
    "train": "outcomes:train",
    "predict": "outcomes:predict",
    "compare": "outcomes:compare",
    "report": "outcomes:report",
    "dashboard": "machine:dashboard",
    "data": "data:data",
    "doctor": "machine:doctor",
}
"""Where each command is: a module of this package, and the name there."""


class _ReaderGone(Exception):
    """Whoever read our output has closed it; click would answer an OSError with exit code 1."""


class _Commands(click.Group):
    """Imports a command when it is asked for: most need modules that take seconds to import."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(f"{__package__}.{module}"), name)
        return command

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _reader_may_leave():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _reader_may_leave():
            return super().invoke(ctx)


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise _ReaderGone from None


def main(words: Sequence[str] | None = None) -> NoReturn:
    """Run the command line: exit code 2 for bad input, 1 for a failure, 128 + n for a signal.

    Args:
        words: the process's own unless given.
    """
    try:
        code = _code_of(words)
        for stream in _output():
            stream.flush()
    except (BrokenPipeError, _ReaderGone):
        # As the signal would have done, had Python not switched it off.
        code = 128 + signal.SIGPIPE
        _close_output()
    sys.exit(code)


def _code_of(words: Sequence[str] | None) -> int:
    """The exit code of a command; what went wrong is on standard error, in one line."""
    try:
        code = cli.main(words, prog_name="tuneoff", standalone_mode=False)
    except click.exceptions.Abort:
        return 128 + signal.SIGINT
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tuneoff"
        click.echo(f"Error: {error.format_message()} (see `{command} --help`)", err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (UserError, DataError, ModelError) as error:
        _complain(error)
        return 2
    except (SearchError, TrainerError) as error:
        _complain(error)
        return 1
    return code if isinstance(code, int) else 0


def _complain(error: Exception) -> None:
    click.echo(f"Error: {' '.join(str(error).split())}", err=True)


def _close_output() -> None:
    """Have Python write what is left to nowhere when it exits, and not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in _output():
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
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
    import optuna

    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
