"""Command templates: "python train.py --lr {lr}" and the words that come of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

Value = Any
"""A parameter's value: a truth, a number or a text; a fixed one may also be a list or a table."""

GIVEN = ("epochs", "seed", "folder", "device", "resume_epoch", "params")
"""Placeholders that every command has besides its parameters. ``params`` is all parameters in one
word of JSON."""

ALL = ("args", "args_no_hyphens")
"""Words that stand for all parameters, as in W&B's sweeps: ``${args}`` for ``--name=value`` each,
``${args_no_hyphens}`` for ``name=value``."""

_PART = re.compile(
    r"(?P<escape>\{\{|\}\})|\$\{(?P<all>\w+)\}|\{(?P<name>[\w./-]+)\}|(?P<stray>[{}])"
)


class BadTemplate(ValueError):
    """A command template cannot be used; one line that says why and what to write."""


def check(template: str, parameters: Collection[str], searched: Collection[str]) -> None:
    """Make sure that a template can be filled, and that what is searched has an effect.

    Args:
        parameters: names of all parameters, fixed and searched ones.
        searched: names of those that change from run to run.

    Raises:
        BadTemplate: it cannot be read, has a placeholder that stands for nothing, or lacks a
            searched parameter.
    """
    if taken := [name for name in parameters if name in GIVEN]:
        raise BadTemplate(
            f"a parameter is named {taken[0]}, which stands for something else in [trial] command; "
            "give it another name"
        )
    used = set(_names(template))
    if "params" in used or used & {f"${name}" for name in ALL}:
        used.update(parameters)
    known = [*parameters, *GIVEN]
    for name in sorted(used):
        if not name.startswith("$") and name not in known:
            raise BadTemplate(
                f"{{{name}}} in [trial] command stands for nothing; there are "
                f"{', '.join(known)}; braces that are meant as they are must be doubled"
            )
    if missing := [name for name in searched if name not in used]:
        raise BadTemplate(
            f"{missing[0]} is searched, but never occurs in [trial] command; write "
            f"{{{missing[0]}}} where its value belongs, or ${{args}} for all parameters"
        )


def parameters_in(template: str) -> list[str]:
    """Names of the placeholders of a template that stand for parameters, in order.

    Raises:
        BadTemplate: it cannot be read.
    """
    names = [name for name in _names(template) if not name.startswith("$")]
    return [name for name in dict.fromkeys(names) if name not in GIVEN]


def fill(template: str, parameters: Mapping[str, Value], given: Mapping[str, Value]) -> list[str]:
    """The command's words with every value in its place; no shell reads them.

    Args:
        given: a value for each name in ``GIVEN`` but "params".

    Raises:
        BadTemplate: the template cannot be read, or has a placeholder that stands for nothing.
    """
    values = {**parameters, **given, "params": as_json(parameters)}
    words: list[str] = []
    for word in _split(template):
        if word == "${args}":
            words += [f"--{name}={as_text(value)}" for name, value in parameters.items()]
        elif word == "${args_no_hyphens}":
            words += [f"{name}={as_text(value)}" for name, value in parameters.items()]
        else:
            words.append(_filled(word, values))
    return words


def as_text(value: Value) -> str:
    """A value as it stands in a command: numbers so that they are read back equal, truths, lists
    and tables as in JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def as_json(parameters: Mapping[str, Value]) -> str:
    """All parameters as one JSON object."""
    return json.dumps(dict(parameters))


def shown(words: Sequence[str]) -> str:
    """A command as one would type it."""
    return shlex.join(words)


def _split(template: str) -> list[str]:
    try:
        words = shlex.split(template)
    except ValueError as error:  # a quotation mark without its partner
        raise BadTemplate(f"[trial] command cannot be read: {error}") from None
    if not words:
        raise BadTemplate('[trial] command is empty; write one, as "python train.py --lr {lr}"')
    return words


def _names(template: str) -> Iterator[str]:
    """What stands in a template's braces; with a "$" in front where it stands for all."""
    for word in _split(template):
        for part in _PART.finditer(word):
            if part["stray"]:
                raise BadTemplate(
                    f'a single "{part["stray"]}" in [trial] command ({word}); write {{name}} for a '
                    "value, and double a brace that is meant as it is"
                )
            if part["all"]:
                if part["all"] not in ALL or part[0] != word:
                    raise BadTemplate(
                        f"{part[0]} in [trial] command is not known; there are "
                        f"{', '.join(f'${{{name}}}' for name in ALL)}, each a word of its own, and "
                        "{name} for single values"
                    )
                yield f"${part['all']}"
            if part["name"]:
                yield part["name"]


def _filled(word: str, values: Mapping[str, Value]) -> str:
    def value(part: re.Match[str]) -> str:
        if part["escape"]:
            return part["escape"][0]
        if part["name"] is None or part["name"] not in values:
            raise BadTemplate(f"{part[0]} in [trial] command stands for nothing")
        return as_text(values[part["name"]])

    return _PART.sub(value, word)
