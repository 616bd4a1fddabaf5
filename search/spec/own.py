"""What a study file of a user's own training may say, and where everything else belongs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tuneoff.trainer.own import template
from tuneoff.trainer.own.recipe import check_name

if TYPE_CHECKING:
    from tuneoff.search.spec.file import StudySpec

MODEL_OPTIONS = "model_options."
KEYS = ("trainer", "command", "params", "resumable", "stop_seconds")
"""Of [trial], besides ``epochs``."""

_WHERE = (
    "is for tuneoff's own trainer, and this study's code is your own: what that is to be given "
    "goes into [trial.params], as in [trial.params] {name} = ..."
)


def check_trial(given: Iterable[str]) -> None:
    """ValueError if [trial] has, beside own code, a field of our trainer."""
    for name in given:
        if name not in (*KEYS, "epochs"):
            raise ValueError(f"{name} {_WHERE.format(name=name)}")


def check_together(spec: StudySpec) -> None:
    """Make sure that a file's sections are those of our trainer, or those of own code.

    Raises:
        ValueError: they are not; the message begins with the field.
    """
    members = () if spec.ensemble is None else spec.ensemble.members
    later = {f"ensemble.members.{i}": member for i, member in enumerate(members)}
    sections = {"promote": spec.promote, "horizon": spec.horizon, **later}
    if not spec.is_own:
        if spec.data is None:
            raise ValueError("data: is missing; add it")
        for where, member in later.items():
            if member.model is None:
                raise ValueError(f"{where}.model: is missing; add it")
        for where, section in sections.items():
            if section is not None and section.params:
                name = next(iter(section.params))
                raise ValueError(
                    f"{where}.params: is for code of your own; write {name} = ... without params"
                )
        for name, param in spec.space.items():
            if param.integer and not name.startswith(MODEL_OPTIONS):
                raise ValueError(f"space.{name}.integer: is for code of your own; take it out")
        return
    if spec.data is not None:
        raise ValueError(
            "data: is for tuneoff's own trainer; code of your own reads its data itself, and is "
            "told in [trial.params] what it needs for that"
        )
    if spec.table is not None:
        raise ValueError("table: is for tuneoff's own trainer; take it out")
    if spec.without_weights:
        raise ValueError("without_weights: is for tuneoff's own trainer; take it out")
    for arm, settings in spec.arms.items():
        if settings.persona is not None:
            raise ValueError(
                f"arms.{arm}.persona: its settings are for tuneoff's own trainer; list your own "
                "as configs = [...]"
            )
    for where, section in sections.items():
        if section is not None:
            _check_changes(section.ours(), where)
            _check_names(section.params, f"{where}.params")
    _check_names(spec.space, "space")
    if spec.trial.command is not None:
        _check_command(spec, spec.trial.command)


def _check_command(spec: StudySpec, command: str) -> None:
    """ValueError if a command cannot be filled in, or does not hear of what is searched."""
    known = {**spec.trial.params, **spec.space}
    changed = [section.params for section in (spec.promote, spec.horizon) if section is not None]
    for params in changed:
        known |= params
    try:
        template.check(command, list(known), list(spec.space))
    except template.BadTemplate as error:
        raise ValueError(f"trial.command: {error}") from None
    for name in template.parameters_in(command):
        if name in spec.space and spec.space[name].when is not None:
            raise ValueError(
                f"space.{name}: has a condition, and where it does not hold {{{name}}} of "
                "[trial] command would stand for nothing; pass all parameters by ${args} there"
            )
    grace = spec.workers.grace_seconds
    if spec.trial.stop_seconds >= grace:
        raise ValueError(
            f"trial.stop_seconds = {spec.trial.stop_seconds:g} must be less than "
            f"workers.grace_seconds = {grace:g}, after which another worker takes the trial over"
        )


def _check_changes(given: Iterable[str], where: str) -> None:
    """ValueError if a later training changes a field of our trainer, beside own code."""
    for name in given:
        raise ValueError(
            f"{where}.{name}: is for tuneoff's own trainer; with code of your own a section "
            f"changes epochs and params, as in params = {{ {name} = ... }}"
        )


def check_no_params(params: Mapping[str, Any]) -> None:
    """ValueError if there are parameters of own code, and no such code."""
    if params:
        raise ValueError(
            "params is for code of your own, which trainer or command names; tuneoff's own "
            f"trainer has fields instead: write {next(iter(params))} = ... without params, if it "
            "is one of them"
        )


def _check_names(names: Iterable[str], where: str) -> None:
    """ValueError if a parameter of own code has a name that clashes."""
    for name in names:
        try:
            check_name(name)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None


def serialized(values: dict[str, Any], is_own: bool) -> dict[str, Any]:
    """[trial] as it is stored and shown: with own code without the fields of our trainer."""
    if not is_own:
        return values
    kept = {name: value for name, value in values.items() if name in (*KEYS, "epochs")}
    if values.get("command") is None:
        for name in ("resumable", "stop_seconds"):  # which are left out where they are defaults
            kept.pop(name, None)
    return kept


def with_integers(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A study file in which each range of own code, or of an option of a model, says whether it is
    one of whole numbers.

    It is if both ends, and the step if there is one, are written as whole numbers: 1, not 1.0.
    """
    trial, space = values.get("trial"), values.get("space")
    if not isinstance(trial, Mapping) or not isinstance(space, Mapping):
        return values
    is_own = trial.get("trainer") is not None or trial.get("command") is not None
    said = {
        name: {"integer": True, **param}
        if (is_own or name.startswith(MODEL_OPTIONS)) and _is_whole(param)
        else param
        for name, param in space.items()
    }
    return {**values, "space": said} if said != space else values


def _is_whole(param: Any) -> bool:
    if not isinstance(param, Mapping) or param.get("choices") is not None:
        return False
    ends = [param.get("low"), param.get("high"), param.get("step", 1)]
    return all(type(end) is int for end in ends)
