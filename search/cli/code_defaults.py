"""What a user's code says of its parameters: a function's arguments, or a script's options."""

from __future__ import annotations

import ast
import inspect
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tuneoff import references
from tuneoff.search.spec.guesses import Parameter

_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
_CONTEXT = ("context", "ctx")
_OPTIONS = ("add_argument", "option", "Option")  # of argparse, click, and typer


def of_function(reference: str) -> tuple[list[Parameter], bool]:
    """The parameters that a function uses, and whether it takes (params, context) as it must.

    A function of (params, context) says which they are by ``params["lr"]`` and
    ``params.get("lr", 0.1)``; any other by its arguments.

    Raises:
        references.BadReference: the reference names no function that can be read.
    """
    found = references.load(reference, "--from")
    if not callable(found) or inspect.isclass(found):
        raise references.BadReference(
            f"--from {reference}: is no function; name one, as in mytrain:train"
        )
    try:
        arguments = list(inspect.signature(found).parameters.values())
    except (TypeError, ValueError):
        arguments = []
    called = [each for each in arguments if each.kind is each.POSITIONAL_OR_KEYWORD]
    named = [each.name for each in called]
    others = [each for each in called[2:] if each.default is each.empty]  # nobody will give these
    if len(called) >= 2 and not others and (named[1] in _CONTEXT or "params" in named[0]):
        used = list(_used(found, named[0]))
        if used or len(called) == 2:
            return used, True
    own = [each for each in arguments if each.name not in ("params", *_CONTEXT)]
    return [_of_argument(found, each) for each in own], False


def _of_argument(function: Callable[..., Any], argument: inspect.Parameter) -> Parameter:
    try:
        hint = get_type_hints(function).get(argument.name)
    except Exception:  # a hint may name anything, even what cannot be imported
        hint = None
    default = None if argument.default is argument.empty else argument.default
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    return Parameter(argument.name, default, choices, hint if isinstance(hint, type) else None)


def _used(function: Callable[..., Any], params: str) -> Iterator[Parameter]:
    """What a function reads of its first argument, in the order of its text."""
    try:
        tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return
    found: dict[str, Any] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))):
                if name == params:
                    found.setdefault(key, None)
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=name), attr="get"),
                args=[ast.Constant(value=str(key)), *rest],
            ):
                if name == params:
                    default = _constant(rest[0]) if rest else None
                    found[key] = default if found.get(key) is None else found[key]
    yield from (Parameter(name, default) for name, default in found.items())


def of_script(command: str) -> dict[str, Parameter]:
    """By name: the options of the Python script that a command starts, as its text declares them.

    Nothing is run. Empty where there is no such script, or it declares its options otherwise.
    """
    script = next((Path(word) for word in shlex.split(command) if word.endswith(".py")), None)
    try:
        tree = ast.parse(script.read_text(encoding="utf-8")) if script else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return {}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    found = [each for call in calls if (each := _of_option(call)) is not None]
    return {each.name: each for each in found}


def _of_option(call: ast.Call) -> Parameter | None:
    function = call.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    words = [arg.value for arg in call.args if isinstance(arg, ast.Constant)]
    name = next((str(word) for word in words if str(word).startswith("--")), None)
    if called not in _OPTIONS or name is None:
        return None
    given = {each.arg: each.value for each in call.keywords if each.arg}
    kind = _TYPES.get(getattr(given.get("type"), "id", ""))
    choices = _constant(given["choices"]) if "choices" in given else ()
    default = _constant(given["default"]) if "default" in given else None
    if "action" in given and _constant(given["action"]) in ("store_true", "store_false"):
        return None  # a switch, which a value cannot be given to
    if kind is float and type(default) is int:
        default = float(default)
    choices = choices if isinstance(choices, list | tuple) else ()
    return Parameter(name.lstrip("-").replace("-", "_"), default, choices, kind)


def _constant(node: ast.expr) -> Any:
    """The value that an expression writes down; None if it has to be computed."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
