"""A user's training function: found by its reference, checked, and known by its source."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneoff.trainer import own_code
from tuneoff.trainer.errors import ModelError

Predict = Callable[[Any, Any, str], tuple[Any, Any]]
"""``predict(params, context, split)``: probabilities of shape (cases, classes), and labels."""


@dataclass(frozen=True, slots=True)
class Function:
    """A training function.

    Attributes:
        call: takes params and context.
        reference: that names it.
        resumable: False if it says of itself that it cannot go on from what it saved.
        predict: its attribute of that name; None without one.
        digest: SHA-256 of the file that it stands in, hexadecimal.
    """

    call: Callable[[Any, Any], Any]
    reference: str
    resumable: bool
    predict: Predict | None
    digest: str


def load(reference: str) -> Function:
    """The function that a reference names.

    Raises:
        ModelError: it names none that can be used, or nobody allowed this process to run it; one
            line that says why.
    """
    found = own_code.load(reference, "trial.trainer")
    said = f'trial.trainer = "{reference}"'
    if inspect.isclass(found) or not callable(found):
        kind = "a class" if inspect.isclass(found) else f"of type {type(found).__name__}"
        raise ModelError(f"{said}: is {kind}, not a function; name one that takes params, context")
    _check_signature(found, "params, context", said)
    predict = getattr(found, "predict", None)
    if predict is not None:
        if not callable(predict):
            raise ModelError(f"{said}: its attribute predict is no function; make it one")
        _check_signature(predict, "params, context, split", f"{said}: its predict")
    resumable = getattr(found, "resumable", True)
    if not isinstance(resumable, bool):
        raise ModelError(f"{said}: its attribute resumable is {resumable!r}; make it False or True")
    return Function(found, reference, resumable, predict, _digest(reference))


def _check_signature(function: Callable[..., Any], wanted: str, said: str) -> None:
    """ModelError if a function cannot be called with these arguments by position."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # some callables written in C do not say
    try:
        signature.bind(*wanted.split(", "))
    except TypeError:
        raise ModelError(f"{said} takes {signature}; it is called with ({wanted})") from None


def _digest(reference: str) -> str:
    """SHA-256 of the reference, and of the file that it leads to."""
    module = sys.modules[reference.partition(":")[0]]
    digest = hashlib.sha256(reference.encode())
    file = getattr(module, "__file__", None)
    if file is not None:
        digest.update(Path(file).read_bytes())
    return digest.hexdigest()
