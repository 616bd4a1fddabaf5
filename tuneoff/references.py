"""References: "module:attribute" names code of a user's own, which runs only where that is allowed.

Whoever may write to a study's database could put a reference there, and every worker would run the
code that it names. So none is loaded before the person who starts the process has allowed its
module: by giving the study file that names it, by ``--allow``, or by ``TUNEOFF_ALLOW``.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import socket
import sys
import sysconfig
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

VARIABLE = "TUNEOFF_ALLOW"
"""The environment variable with names that are allowed, separated by commas."""

_SHAPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_COMMAND = "command-"
_FREE = ("optuna.pruners", "optuna.samplers", "optuna.samplers.nsgaii")
"""Modules whose own classes need no permission: they are Optuna's, which tuneoff runs anyway."""
_allowed: set[str] = set()


class NotAllowed(ValueError):
    """Nobody allowed this process to run what a study names; one line with the way to do so."""


class BadReference(ValueError):
    """A reference names nothing that can be used; one line that says what and why."""


def is_reference(name: str) -> bool:
    """Whether a name has the form of a reference: it has a colon."""
    return ":" in name


def check(reference: str, what: str) -> str:
    """The reference itself, if it has the form "module:attribute"; nothing is imported.

    Args:
        what: it stands for, as messages call it: "trial.trainer".

    Raises:
        BadReference: it has not.
    """
    if not _SHAPE.fullmatch(reference):
        raise BadReference(
            f'{what} = "{reference}" is no reference; write it as "module:function", as in '
            '"mytrain:train" for the function train of mytrain.py'
        )
    return reference


def check_class(reference: str, what: str) -> str:
    """As ``check``, for references that name a class, as the message then says."""
    if not _SHAPE.fullmatch(reference):
        raise BadReference(
            f'{what} = "{reference}" is no reference; write it as "module:Class", as in '
            '"mine:Mine" for the class Mine of mine.py'
        )
    return reference


def name_of(reference: str) -> str:
    """What has to be allowed for a reference: its top-level module, "mynet" of "mynet.big:Net"."""
    return reference.partition(":")[0].partition(".")[0]


def name_of_command(command: str) -> str:
    """What has to be allowed for a command: "command-" and the beginning of its SHA-256."""
    return _COMMAND + hashlib.sha256(command.encode()).hexdigest()[:12]


def allow(names: Iterable[str]) -> None:
    """Let this process load these references, or all into these modules, and run these commands.

    The working directory becomes importable, after Python's own modules, so that a user's queue.py
    does not stand in for Python's, and before those that are installed.

    Args:
        names: references as they are written, what ``name_of`` says of them, which allows all that
            their module itself defines, and what ``name_of_command`` says of commands.
    """
    _allowed.update(name.strip() for name in names if name.strip())
    here = str(Path.cwd())
    if _allowed and here not in sys.path:
        installed = [sysconfig.get_path(kind) for kind in ("purelib", "platlib")]
        where = [i for i, path in enumerate(sys.path) if path in installed]
        sys.path.insert(min(where, default=len(sys.path)), here)


def require_allowed(names: Iterable[str]) -> None:
    """Make sure that all of these were allowed, or stand in ``TUNEOFF_ALLOW``.

    Args:
        names: as for ``allow``.

    Raises:
        NotAllowed: some were not.
    """
    allow(os.environ.get(VARIABLE, "").split(","))
    if missing := [name for name in names if not _is_allowed(name)]:
        words = ",".join(dict.fromkeys(map(name_of, missing)))
        raise NotAllowed(
            f"the study names code that nobody allowed this process to run ({words}); if you trust "
            f"it, start with --allow {words}, or set {VARIABLE}={words}"
        )


def _is_allowed(name: str) -> bool:
    module, _, attribute = name.partition(":")
    free = module in _FREE and attribute.isidentifier()
    return free or name in _allowed or name_of(name) in _allowed


def load(reference: str, what: str) -> Any:
    """What a reference names, its module imported.

    Args:
        what: it stands for, as messages call it: "trial.trainer".

    Raises:
        NotAllowed: nobody allowed its module, or it is another module's that nobody allowed.
        BadReference: it has another form, its module is not here or cannot be imported, or the
            module has no such attribute.
    """
    check(reference, what)
    require_allowed([reference])
    module, _, attribute = reference.partition(":")
    said = f'{what} = "{reference}"'
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise BadReference(
                f"{said}: there is no module {module} here (on {socket.gethostname()}, in "
                f"{Path.cwd()}); start in the folder that has {name_of(reference)}.py, or install "
                "it"
            ) from None
        raise BadReference(f"{said}: {module} needs a module that is not here: {error}") from None
    except Exception as error:
        raise BadReference(f"{said}: {module} cannot be imported: {_first_line(error)}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise BadReference(f"{said}: {module} has no {attribute}; check its name") from None
    if reference not in _allowed:
        _check_origin(found, reference, said)
    return found


def _check_origin(found: Any, reference: str, said: str) -> None:
    """NotAllowed if what was found came into its module by an import from one that is not allowed.

    A module that imports os would otherwise lead to os.system.
    """
    while isinstance(found, functools.partial):
        found = found.func
    if isinstance(found, ModuleType):
        origin = found.__name__
    elif callable(found):
        origin = getattr(found, "__module__", None) or type(found).__module__
    else:
        return
    allowed = {*_allowed, name_of(reference)}
    if (top := name_of(origin)) not in allowed:
        words = f"{name_of(reference)},{top}"
        raise NotAllowed(
            f"{said}: that comes from {top}, which nobody allowed this process to run; if you "
            f"trust it, start with --allow {words}, or set {VARIABLE}={words}"
        )


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
