"""The study file: its sections together, read from TOML, with every mistake told in one line."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.presets import PRESET, expand
from tuneoff.search.spec.sections import (
    OLD_KEYS,
    ArmSpec,
    BudgetSpec,
    DataSpec,
    EnsembleSpec,
    MemberSpec,
    ParamSpec,
    PromoteSpec,
    Section,
    TrialSpec,
    WorkersSpec,
)
from tuneoff.trainer.recipe import Recipe

log = logging.getLogger(__name__)

RESERVED_ARMS = ("full", "ensemble")  # the names of a study's other searches

# May change while a study runs.
_NO_IDENTITY: Any = {"workers": True, "data": {"path"}}


class StudySpec(Section):
    """A whole study file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(default=0, ge=0, lt=2**32)
    repeats: int = Field(default=6, ge=1)
    data: DataSpec
    trial: TrialSpec = TrialSpec()
    space: dict[str, ParamSpec] = Field(min_length=1)
    budget: BudgetSpec
    arms: dict[str, ArmSpec] = Field(min_length=1)
    promote: PromoteSpec | None = None
    ensemble: EnsembleSpec | None = None
    workers: WorkersSpec = WorkersSpec()

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, values: Any) -> Any:
        return expand(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.budget.epochs < self.trial.epochs:
            raise ValueError(
                f"budget.epochs = {self.budget.epochs} is smaller than one trial "
                f"(trial.epochs = {self.trial.epochs}); raise the one or lower the other"
            )
        for arm, settings in self.arms.items():
            for key in ("start_from", "prior_from"):
                other = getattr(settings, key)
                if other and (other not in self.arms or self.arms[other].configs is None):
                    raise ValueError(
                        f"arms.{arm}: {key} = {other!r} is not an arm with configs = [...]; "
                        "name a hand-tuned arm"
                    )
            if arm in RESERVED_ARMS or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", arm):
                raise ValueError(
                    f"arms.{arm}: this name cannot be used; use at most 64 of a-z, A-Z, 0-9, -, _, "
                    f"and neither {' nor '.join(RESERVED_ARMS)}"
                )
        if self.ensemble and not self.promote:
            raise ValueError("ensemble: needs a [promote] section, which chooses its configuration")
        self._check_recipes()
        return self

    def _check_recipes(self) -> None:
        """ValueError for changes of a recipe that are wrong, or do not go with the rest of it."""
        where = "trial"
        try:
            recipe = self.recipe()
            for where, changes in self.later_changes().items():  # noqa: B007 - the message has it
                recipe.override(changes)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def later_changes(self) -> dict[str, dict[str, Any]]:
        """What full training and each of the ensemble's members change, by section."""
        if self.promote is None:
            return {}
        members = enumerate(self.member_changes())
        return {"promote": self.promote.changes()} | {
            f"ensemble.members.{i}": changes for i, changes in members
        }

    def member_changes(self) -> tuple[dict[str, Any], ...]:
        """What each of the ensemble's members changes of the trial's recipe."""
        if self.promote is None or self.ensemble is None:
            return ()
        full = self.promote.changes()
        return tuple(full | member.changes() for member in self.ensemble.members)

    def recipe(self) -> Recipe:
        """The short trial's recipe, before searched fields are filled in."""
        return Recipe(data=self.data.source(self.seed), **self.trial.recipe_fields())

    def full_recipe(self) -> Recipe:
        """Full training's recipe (SpecError without a [promote] section)."""
        if self.promote is None:
            raise SpecError(f"study {self.name}: there is no [promote] section; add one")
        return self.recipe().override(self.promote.changes())

    def member_recipes(self) -> tuple[Recipe, ...]:
        """The ensemble members' recipes; empty without an [ensemble] section."""
        return tuple(self.recipe().override(changes) for changes in self.member_changes())

    def identity(self) -> dict[str, Any]:
        """What may not change once the study exists: all but where data lies and [workers]."""
        return self.model_dump(mode="json", exclude=_NO_IDENTITY)

    def digest(self) -> str:
        """SHA-256 of ``identity``, hexadecimal.

        Values that are the default are left out, and a key that has another name today goes by its
        first one: so the digest of a study stays the same in later versions.
        """
        said = self.model_dump(
            mode="json", exclude=_NO_IDENTITY, exclude_defaults=True, by_alias=True
        )
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def differences(self, other: StudySpec) -> list[str]:
        """Lines "FIELD: mine here, theirs there" for each field of ``identity`` that differs."""
        mine, theirs = dict(_leaves(self.identity())), dict(_leaves(other.identity()))
        return [
            f"{key} is {mine.get(key)!r}, not {theirs.get(key)!r}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]

    @classmethod
    def load(cls, path: Path, changes: Sequence[str] = ()) -> StudySpec:
        """Read a TOML study file.

        Args:
            path: the file.
            changes: "dotted.key=VALUE" as from ``--set``, VALUE in TOML.

        Raises:
            SpecError: one line that names the file, the field and the fix.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SpecError(f"{path}: cannot be read ({error.strerror}); check the path") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: is not valid TOML: {error}") from None
        for change in changes:
            _apply(values, change)
        spec = cls.parse(values, str(path))
        for old, new in _old_keys(values):
            log.warning("%s: %s is called %s now; the old name still works", path, old, new)
        return spec

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> StudySpec:
        """The spec of these values, be they a file's or stored ones.

        Raises:
            SpecError: one line that starts with ``where`` and names the field and the fix.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpecError(f"{where}: {_one_line(error)}") from None


def _old_keys(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that have another name today, and that name, with the sections that they stand in."""
    for arm, settings in values["arms"].items():
        for old in OLD_KEYS.keys() & settings.keys():
            yield f"arms.{arm}.{old}", f"arms.{arm}.{OLD_KEYS[old]}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _apply(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise SpecError(f"--set {change}: write it as --set budget.epochs=20")
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except ValueError:
        value = text.strip()  # a bare word is a string: --set trial.model=resnet18
    *parents, last = _keys(key.strip())
    table = values
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise SpecError(f"--set {change}: {parent} is not a table in this study file")
    table[last] = value


def _keys(dotted: str) -> list[str]:
    """The parts of a dotted key; one in quotes may have dots of its own, as in TOML."""
    try:
        table: Any = tomllib.loads(f"{dotted} = 0")
    except ValueError:
        return dotted.split(".")
    keys: list[str] = []
    while isinstance(table, dict):
        ((key, table),) = table.items()
        keys.append(key)
    return keys


def _one_line(error: ValidationError) -> str:
    """The first of pydantic's errors, as "FIELD: what is wrong; how to fix it"."""
    first, *others = error.errors()
    where = ".".join(str(part) for part in first["loc"])
    kind, given = first["type"], first.get("input")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), _siblings(first["loc"]), n=1)
        what = "unknown key; " + (f"did you mean {near[0]!r}?" if near else "take it out")
    elif kind == "missing":
        what = "is missing; add it"
    elif kind == "value_error":
        what = str(first["ctx"]["error"])
    elif kind.endswith(("_type", "_parsing")):
        what = f"{given!r} has the wrong type: {first['msg'].lower()}"
    else:
        what = f"{given!r} is refused: {first['msg'].lower()}"
    more = f" (and {len(others)} more)" if others else ""
    return (f"{where}: {what}" if where else what) + more


def _siblings(loc: Sequence[int | str]) -> list[str]:
    """The keys that may stand where the unknown key ``loc[-1]`` does."""
    named: dict[int | str, type[BaseModel]] = {
        "arms": ArmSpec,
        "space": ParamSpec,
        "data": DataSpec,
        "trial": TrialSpec,
        "budget": BudgetSpec,
        "promote": PromoteSpec,
        "ensemble": EnsembleSpec,
        "workers": WorkersSpec,
    }
    model = named[loc[0]] if len(loc) > 1 else StudySpec
    if loc[:2] == ("ensemble", "members"):
        model = MemberSpec
    preset = [PRESET] if model in (TrialSpec, PromoteSpec, MemberSpec) else []
    return [*model.model_fields, *preset]
