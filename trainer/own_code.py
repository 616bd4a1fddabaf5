"""A user's own code that a recipe names, loaded with the trainer's errors; no torch import."""

from __future__ import annotations

from typing import Any

from tuneoff import references
from tuneoff.trainer.errors import ModelError, TrainerError


def load(reference: str, what: str, error: type[TrainerError] = ModelError) -> Any:
    """What a reference names, as ``references.load``.

    Args:
        what: it stands for, as messages call it: "model".
        error: what is raised.

    Raises:
        TrainerError: ``error``, in one line: nobody allowed it, or it names nothing.
    """
    try:
        return references.load(reference, what)
    except (references.BadReference, references.NotAllowed) as found:
        raise error(str(found)) from found
