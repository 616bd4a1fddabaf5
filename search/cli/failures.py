"""How a command ends: the exit code of each outcome, and what went wrong in one line."""

from __future__ import annotations

import errno
import logging
import re
import signal
import sys
from collections.abc import Callable

import click

from tuneoff.messages import first_line, printable, without_passwords
from tuneoff.references import BadReference, NotAllowed
from tuneoff.search.errors import SearchError, UserError
from tuneoff.trainer.errors import DataError, ModelError, TrainerError

log = logging.getLogger(__name__)

_FIXES = {
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EDQUOT: "free some space, or choose another folder",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a file or folder that you may use",
    errno.EPERM: "choose a file or folder that you may use",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

# What the system's loader says of a library of torch's where ulimit -v or a container is too small.
_NO_ROOM = re.compile("failed to map segment|cannot allocate memory", re.IGNORECASE)


def code_of(command: Callable[[], object]) -> int:
    """Run a command; its exit code. What went wrong is said on standard error, in one line.

    2 stands for bad input, 1 for a failure, 128 + n for the signal n. An error that nobody
    expected passes through.
    """
    try:
        code = command()
    except click.exceptions.Abort:
        return 128 + signal.SIGINT
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "tuneoff"
        complain(f"{error.format_message()} (see `{where} --help`)")
        return error.exit_code
    except click.ClickException as error:
        complain(error.format_message())
        return error.exit_code
    except (UserError, DataError, ModelError, BadReference, NotAllowed) as error:
        complain(str(error))
        return 2
    except (SearchError, TrainerError) as error:
        complain(str(error))
        return 1
    except BrokenPipeError:
        raise
    except Exception as error:
        said = _from_outside(error)
        if said is None:
            raise
        log.info("this came from", exc_info=error)
        complain(said)
        return 1
    return code if isinstance(code, int) else 0


def complain(text: str) -> None:
    """Say on standard error what went wrong."""
    remark(f"Error: {text}")


def remark(text: str) -> None:
    """Say something in one line on standard error, where it is in nobody's way."""
    click.echo(printable(without_passwords(" ".join(text.split()))), err=True)


def _from_outside(error: Exception) -> str | None:
    """What is wrong with memory, disk or database; None if the error is of another kind."""
    if isinstance(error, MemoryError) or (
        isinstance(error, ImportError) and _NO_ROOM.search(str(error))
    ):
        said = first_line(error) if str(error) else "no more is to be had"
        return (
            f"there is not enough memory ({said}); end other programs, or raise the limit of this "
            "one (ulimit -v, or the container's)"
        )
    if isinstance(error, OSError):
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        said = ": ".join([*names, error.strerror or first_line(error)])
        fix = _FIXES.get(error.errno or 0)
        return f"{said}; {fix}" if fix else said
    # Looked up, not imported: most commands that end here have never needed them.
    alchemy = sys.modules.get("sqlalchemy.exc")
    optuna = sys.modules.get("optuna.exceptions")
    if (alchemy and isinstance(error, (alchemy.DBAPIError, alchemy.TimeoutError))) or (
        optuna and isinstance(error, optuna.StorageInternalError)
    ):
        from tuneoff.search.store.outages import reason

        return f"the database could not be used: {reason(error)}"
    return None
