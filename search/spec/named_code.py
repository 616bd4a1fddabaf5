"""Which code of a user's own a study file names: references, and commands.

Nothing is loaded here. Whoever starts a process for a study has to allow all of it first (see
``tuneoff.references``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneoff import references

COMMAND = "trial.command"

_OF_RECIPE: Mapping[str, tuple[str, ...]] = {
    "model": ("torchvision", "timm"),
    "optimizer": (),
    "loss": (),
    "metric": (),
}
_LATER = ("promote", "horizon", "ensemble.members.*")
_OPTUNA = ("optuna.samplers", "optuna.samplers.nsgaii", "optuna.pruners")

PLACES: Mapping[str, tuple[str, ...]] = {
    "trial.trainer": (),
    "data.name": (),
    **{f"{part}.{key}": libraries for part in ("trial", *_LATER) for key, libraries in
       _OF_RECIPE.items()},
    **{f"space.{key}{part}.*": libraries for part in ("", ".choices") for key, libraries in
       _OF_RECIPE.items()},
    "arms.*.sampler": _OPTUNA,
    "arms.*.pruner": _OPTUNA,
    "arms.*.options.**": _OPTUNA,
    "arms.*.pruner_options.**": _OPTUNA,
}  # fmt: skip
"""Where a study file may name code, with * for each entry and ** for all that is below, and what
may stand before the colon and names no code of a user's own: a library of which tuneoff takes what
it knows by name."""
_BESIDE_OWN = ("trial.trainer", *(place for place in PLACES if place.startswith("arms.")))
"""What there is of these in a study whose training is a user's own."""


def named_code(values: Mapping[str, Any]) -> tuple[str, ...]:
    """What has to be allowed before any code of a study file may run, each once.

    Args:
        values: the study file's, or those of a stored spec.

    Returns:
        References as they are written, and ``references.name_of_command`` of a command.
    """
    places = PLACES
    if any(_at(values, key.split(".")) for key in ("trial.trainer", COMMAND)):
        # Then the rest belongs to that code: what it means by a colon is not for us.
        places = {place: PLACES[place] for place in _BESIDE_OWN}
    found = [
        name
        for place, libraries in places.items()
        for name in _at(values, place.split("."))
        if references.is_reference(name) and name.partition(":")[0] not in libraries
    ]
    found += [references.name_of_command(command) for command in _at(values, COMMAND.split("."))]
    return tuple(dict.fromkeys(found))


def _at(values: Any, keys: list[str]) -> list[str]:
    """The words at a place."""
    if not keys:
        return [values] if isinstance(values, str) else []
    first, *rest = keys
    inner: Iterable[Any]
    if first == "**":
        return [*_at(values, []), *_at(values, ["*", "**"])]
    if isinstance(values, Mapping):
        inner = values.values() if first == "*" else [values.get(first)]
    elif isinstance(values, list | tuple) and first == "*":
        inner = values
    else:
        return []
    return [word for value in inner for word in _at(value, rest)]
