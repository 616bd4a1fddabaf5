"""Instances of the classes that a study file refers to, with their options."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from optuna.exceptions import ExperimentalWarning

from tuneoff import references
from tuneoff.registry import nearest
from tuneoff.search.errors import SpecError
from tuneoff.search.spec.keywords import OPTIONS, REFERENCE, is_made

SEED = "seed"
_NEEDED = inspect.Parameter.empty


def make(
    what: str,
    reference: str,
    options: Mapping[str, Any],
    base: type,
    usual: Mapping[str, Any] | None = None,
) -> Any:
    """An instance of a class, or what a function returns that makes one.

    Args:
        what: the key of the study file, as messages call it: "sampler".
        reference: "module:Class", or "module:function".
        options: keyword arguments; a reference among them stands for what it names, and for an
            instance of it where that is a class.
        base: that the class must be a subclass of, or what is returned an instance.
        usual: a seed, and switches, which are given where the class takes them (a switch: where it
            is one there, too) and ``options`` has none of the name; "seed" is never an option.

    Raises:
        SpecError: there is no such class, it is none of that kind, does not take the options, or
            raises; one line, which begins with ``what``.
    """
    said = f'{what} = "{reference}"'
    found = _load(reference, what)
    fits = issubclass(found, base) if isinstance(found, type) else inspect.isroutine(found)
    if not fits:
        raise SpecError(
            f"{said}: is no {base.__name__} of Optuna; refer to a class that is one, or to a "
            "function that returns one"
        )
    made = _instance(said, found, options, usual or {})
    if not isinstance(made, base):
        raise SpecError(
            f"{said}: returned {type(made).__name__}; return a {base.__name__} of Optuna"
        )
    return made


def reason(error: Exception) -> str:
    """What went wrong in somebody else's code, in one line."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return f"needs the package {package}, which is not here; pip install {package}"
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _load(reference: str, what: str) -> Any:
    try:
        return references.load(reference, what)
    except (references.BadReference, references.NotAllowed) as error:
        raise SpecError(str(error)) from None


def _instance(
    said: str, found: Callable[..., Any], options: Mapping[str, Any], usual: Mapping[str, Any]
) -> Any:
    if SEED in options:
        raise SpecError(f"{said}: the study gives each repeat its own seed; take seed out")
    given = {name: _value(f"{said}: {name}", value, usual) for name, value in options.items()}
    taken = _keywords(found)
    if taken is not None:
        for name in given:
            if name not in taken:
                near = nearest(name, taken)
                hint = f"did you mean {near!r}? " if near else ""
                able = ", ".join(each for each in taken if each != SEED) or "nothing"
                raise SpecError(f"{said}: takes no option {name!r}; {hint}it takes: {able}")
        usual = {
            name: value
            for name, value in usual.items()
            if name in taken and (name == SEED or isinstance(taken[name], bool))
        }
        given = {**usual, **given}
        if missing := [
            name for name, default in taken.items() if default is _NEEDED and name not in given
        ]:
            raise SpecError(
                f"{said}: needs {' and '.join(missing)}; give options = {{ {missing[0]} = ... }}"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return found(**given)
    except Exception as error:
        raise SpecError(f"{said}: {reason(error)}") from error


def _value(said: str, value: Any, usual: Mapping[str, Any]) -> Any:
    """An option, with what a reference in it stands for."""
    options: Mapping[str, Any] = {}
    if is_made(value):
        reference, options = value[REFERENCE], value.get(OPTIONS, {})
    elif isinstance(value, str) and references.is_reference(value):
        reference = value
    else:
        return value
    found = _load(reference, said)
    if not isinstance(found, type):
        if options:
            raise SpecError(f"{said}: {reference} is no class, and takes no options")
        return found
    return _instance(f'{said} = "{reference}"', found, options, usual)


def _keywords(found: Callable[..., Any]) -> dict[str, Any] | None:
    """The keyword arguments of a class or function, and their defaults; ``_NEEDED`` where there is
    none.

    None where that is not known, or it takes any.
    """
    try:
        parameters = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {each.name: each.default for each in parameters if each.kind in named}
