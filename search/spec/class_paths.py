"""``{ class_path = "mynet.Net", init_args = { width = 2 } }``: a reference with its options in one
table, as Lightning's command line writes it.

It is read as the two keys that a study file has for them, model = "mynet:Net" and model_options =
{ width = 2 }, so that nothing else of tuneoff knows of it, and a study is the same in either form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from tuneoff import references
from tuneoff.search.spec.keywords import OPTIONS, REFERENCE

PATH, ARGUMENTS = "class_path", "init_args"

_OF_RECIPE = {name: f"{name}_options" for name in ("model", "optimizer", "loss")}


def with_references(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A study file's values with each such table replaced by a reference and its options.

    What has another form than a study file's is left as it is, for pydantic to complain of.

    Raises:
        ValueError: a table names no class, has other keys, or stands beside options; the message
            begins with where it stands.
    """
    found = dict(values)
    for section in ("trial", "promote", "horizon"):
        if section in found:
            found[section] = _split(found[section], _OF_RECIPE, section)
    if "data" in found:
        found["data"] = _split(found["data"], {"name": OPTIONS}, "data")
    ensemble, arms, other = (found.get(key) for key in ("ensemble", "arms", "without_weights"))
    if isinstance(ensemble, Mapping) and isinstance(ensemble.get("members"), list):
        members = [
            _split(member, _OF_RECIPE, f"ensemble.members.{i}")
            for i, member in enumerate(ensemble["members"])
        ]
        found["ensemble"] = {**ensemble, "members": members}
    if isinstance(arms, Mapping):
        found["arms"] = {name: _of_arm(arm, f"arms.{name}") for name, arm in arms.items()}
    if isinstance(other, Mapping):
        found["without_weights"] = with_references(other)
    return found


def _of_arm(arm: Any, where: str) -> Any:
    """An arm's, whose ``options`` are the sampler's, or those of a pruner that is one alone."""
    found = _split(arm, {"sampler": OPTIONS}, where)
    if not isinstance(found, Mapping):
        return found
    sampler = found.get("sampler")
    alone = not (isinstance(sampler, str) and references.is_reference(sampler))
    found = _split(found, {"pruner": OPTIONS if alone else "pruner_options"}, where)
    keys = found.keys() & {OPTIONS, "pruner_options"}
    return {**found, **{key: _inner(found[key], f"{where}.{key}") for key in keys}}


def _split(section: Any, keys: Mapping[str, str], where: str) -> Any:
    """A section with two keys for each table: the name, and where its options go."""
    if not isinstance(section, Mapping):
        return section
    found = dict(section)
    for name, options in keys.items():
        table = found.get(name)
        if not _is_table(table):
            continue
        found[name] = _reference(table, f"{where}.{name}")
        if found.get(options):
            raise ValueError(
                f"{where}.{name}: is a table with {PATH}, and there is {options}, too; write all "
                f"options as its {ARGUMENTS}"
            )
        if ARGUMENTS in table:
            found[options] = table[ARGUMENTS]
    return found


def _inner(value: Any, where: str) -> Any:
    """Options of a sampler or pruner, among which there may be instances with options."""
    if _is_table(value):
        made = {REFERENCE: _reference(value, where)}
        return made | {OPTIONS: _inner(value[ARGUMENTS], where)} if ARGUMENTS in value else made
    if isinstance(value, Mapping):
        return {name: _inner(inner, f"{where}.{name}") for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_inner(inner, where) for inner in value]
    return value


def _is_table(value: Any) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and (PATH in value or ARGUMENTS in value)


def _reference(table: Mapping[str, Any], where: str) -> str:
    """The reference that a table names: "mynet:Net" of "mynet.Net"."""
    form = f'write {{ {PATH} = "mymodule.Class", {ARGUMENTS} = {{ ... }} }}'
    for key in table:
        if key not in (PATH, ARGUMENTS):
            raise ValueError(f"{where}.{key}: unknown key; {form}")
    path, arguments = table.get(PATH), table.get(ARGUMENTS, {})
    if path is None:
        raise ValueError(f"{where}.{PATH}: is missing; {form}")
    if not isinstance(path, str):
        raise ValueError(f"{where}.{PATH}: {path!r} is no text; {form}")
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{where}.{ARGUMENTS}: {arguments!r} is no table; {form}")
    if not references.is_reference(path):
        module, dot, name = path.rpartition(".")
        if not dot:
            raise ValueError(f'{where}.{PATH}: "{path}" names no module; {form}')
        path = f"{module}:{name}"
    return references.check_class(path, f"{where}.{PATH}")
