"""What the fields of a recipe affect, said in their metadata and asked for by name; no torch
import."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import MISSING, Field, field, fields, is_dataclass
from enum import Flag, auto
from typing import Any


class Affects(Flag):
    """What a field of Recipe or DataSource affects.

    Every field says so in its metadata, and code that depends on some of the fields asks for them
    with ``affected`` instead of listing them:

    * FIT: whether model, weights and data go together. ``Trainer.check`` looks at these fields, and
      a study is checked with both ends of each of their ranges before it begins.
    * RESULT: what is trained. A checkpoint serves only a recipe that agrees in these fields.
    * STEP: the operations of one training step. A step that was captured for one run is replayed
      in another only if the recipes agree in these fields. Those that change nothing but the
      images that a step is given are not among them.
    * MEMORY: the memory of a training step, apart from the number and the size of its images.
    * NOTHING: none of these.
    """

    NOTHING = 0
    FIT = auto()
    RESULT = auto()
    STEP = auto()
    MEMORY = auto()


def recipe_field(default: Any, affects: Affects, *, since_0_2: bool = False) -> Any:
    """A field of Recipe or DataSource.

    Args:
        default: its default value.
        affects: what it affects.
        since_0_2: whether version 0.1 did not have it, so that ``identity`` leaves it out while it
            has its default.
    """
    return field(default=default, metadata={"affects": affects, "since_0_2": since_0_2})


def affecting(of: Any, what: Affects) -> tuple[str, ...]:
    """The names of a dataclass's fields that affect ``what``."""
    return tuple(f.name for f in fields(of) if what in f.metadata["affects"])


def affected(of: Any, what: Affects) -> dict[str, Any]:
    """The fields that affect ``what``, with their values as ``dataclasses.asdict`` gives them.

    Of a field that is such a dataclass itself, there are again only the fields that affect it.
    """
    values = {name: getattr(of, name) for name in affecting(of, what)}
    return {
        name: affected(value, what) if is_dataclass(value) else deepcopy(value)
        for name, value in values.items()
    }


def identity(of: Any) -> dict[str, Any]:
    """What a checkpoint's run is known by: ``affected(of, Affects.RESULT)``, without the fields
    that came later than the first version and have their default. So a checkpoint from before a
    field was added still serves the recipes that do not use it."""
    found = {}
    for f in fields(of):
        value = getattr(of, f.name)
        if Affects.RESULT in f.metadata["affects"] and not (
            f.metadata.get("since_0_2") and value == _default(f)
        ):
            found[f.name] = identity(value) if is_dataclass(value) else deepcopy(value)
    return found


def _default(of: Field[Any]) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()
