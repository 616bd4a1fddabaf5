"""JSON Schemas of records, as ``plain`` writes them, described by the records' own docstrings."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_SIMPLE: Final[Mapping[Any, str]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
}
_NAMES: Final = re.compile(r"([A-Za-z_]\w*(?:, [A-Za-z_]\w*)*): (.*)")


def schema_of(kind: type[Any], version: str) -> dict[str, Any]:
    """The JSON Schema of a document: a record, with its version in ``schema``.

    Every field is required. Others may be added within one version, so that they are allowed.

    Args:
        kind: a dataclass. What it names in ``DERIVED`` is described by its properties' docstrings,
            and the numbers of the fields in ``NOT_FINITE`` may be null.
        version: "tuneoff/NAME/NUMBER".

    Raises:
        TypeError: a field's type is none that ``plain`` writes.
    """
    found: dict[type[Any], dict[str, Any]] = {}
    top = _record(kind, found)
    names = [inner.__name__ for inner in found]
    if twice := {name for name in names if names.count(name) > 1}:
        raise TypeError(f"two records are called {twice.pop()}")
    properties = {"schema": {"const": version}, **top["properties"]}
    return {
        "$schema": DRAFT,
        "title": version,
        **top,
        "properties": properties,
        "required": ["schema", *top["required"]],
        "$defs": {one.__name__: found[one] for one in sorted(found, key=lambda k: k.__name__)},
    }


def described(kind: type[Any]) -> dict[str, str]:
    """By attribute: what the docstring's "Attributes" and the properties' docstrings say of it."""
    said = dict.fromkeys((field.name for field in fields(kind)), "")
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            said |= {k: v for k, v in _attributes(inspect.getdoc(base) or "") if k in said}
    for name in getattr(kind, "DERIVED", ()):
        said[name] = " ".join((inspect.getdoc(getattr(kind, name)) or "").split())
    return said


def _attributes(docstring: str) -> list[tuple[str, str]]:
    """Names and descriptions in a docstring's section "Attributes"; several may share one."""
    _, _, section = docstring.partition("Attributes:\n")
    section = re.split(r"\n(?=\S)", section)[0]
    pairs = []
    for entry in re.split(r"\n(?= {4}\S)", f"\n{section}"):
        text = " ".join(entry.split())
        while found := _NAMES.fullmatch(text):
            names, text = found.groups()
            # "epochs: that it trained; seconds: device time" describes two.
            more = re.search(r"; (?=[a-z_]+(?:, [a-z_]+)*: )", text)
            own, text = (text[: more.start()], text[more.end() :]) if more else (text, "")
            pairs += [(name, own.rstrip(".")) for name in names.split(", ")]
    return pairs


def _record(kind: type[Any], found: dict[type[Any], dict[str, Any]]) -> dict[str, Any]:
    hints, said = get_type_hints(kind), described(kind)
    infinite = getattr(kind, "NOT_FINITE", ())
    properties: dict[str, Any] = {}
    for name in said:
        hint = hints.get(name) or get_type_hints(getattr(kind, name).fget)["return"]
        properties[name] = _type(hint, found, finite=name not in infinite)
        if said[name]:
            properties[name] = {"description": said[name], **properties[name]}
    summary = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
    return {
        "description": summary,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _type(hint: Any, found: dict[type[Any], dict[str, Any]], *, finite: bool) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, typing.TypeVar):
        return {}
    if hint is float and not finite:
        return {"type": ["number", "null"]}
    if hint in _SIMPLE:
        return {"type": _SIMPLE[hint]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        return _any_of([_type(one, found, finite=finite) for one in arguments])
    if is_dataclass(hint) and isinstance(hint, type):
        if hint not in found:
            found[hint] = {}  # its own fields may refer to it
            found[hint] = _record(hint, found)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    base = origin or hint
    if isinstance(base, type) and issubclass(base, Mapping):
        values = _type(arguments[1], found, finite=finite) if arguments else {}
        return {"type": "object", "additionalProperties": values or True}
    if base is tuple and arguments and arguments[-1] is not Ellipsis:
        inner = [_type(one, found, finite=finite) for one in arguments]
        return {"type": "array", "prefixItems": inner, "minItems": len(inner), "items": False}
    if isinstance(base, type) and issubclass(base, Sequence):
        return {"type": "array", "items": _type(arguments[0], found, finite=finite)}
    raise TypeError(f"no JSON Schema of {hint!r}")


def _any_of(kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """One of these; simple types in one list."""
    if all(set(kind) == {"type"} for kind in kinds):
        names: dict[str, None] = {}
        for kind in kinds:
            listed = kind["type"] if isinstance(kind["type"], list) else [kind["type"]]
            names |= dict.fromkeys(listed)
        return {"type": list(names)}
    return {"anyOf": kinds}
