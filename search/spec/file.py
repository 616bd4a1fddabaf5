"""The study file: what it may say, checked before anything is written or trained."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields as dataclass_fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from tuneoff.search.errors import SpecError
from tuneoff.trainer.recipe import COMBINATIONS, PRESETS, DataSource, HyperParams, Recipe

SAMPLERS = ("curve-gp", "gp", "tpe", "random", "quasi-random", "grid")
PRUNERS = ("none", "median", "hyperband", "successive-halving")
RESERVED_ARMS = ("full", "ensemble")

# May change while a study runs.
_NO_IDENTITY: Any = {"workers": True, "data": {"path"}}

Choice = str | int | float | bool


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSpec(_Section):
    """[data]: see ``tuneoff.trainer.contract.DataSource``."""

    name: str
    path: str | None = None
    image_size: int | None = None
    validation: float = 0.1
    corrupt: str = "refuse"
    duplicates: str = "keep"

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.source(0)
        return self

    def source(self, split_seed: int) -> DataSource:
        """The images, with the validation split carved out by this seed."""
        return DataSource(**self.model_dump(), split_seed=split_seed)


def _recipe_fields(optional: bool) -> dict[str, Any]:
    """The fields of ``tuneoff.trainer.contract.Recipe`` but its data, as pydantic has them."""
    hints = get_type_hints(Recipe)
    default = Recipe()
    return {
        field.name: (hints[field.name] | None, None)
        if optional
        else (hints[field.name], Field(default_factory=partial(getattr, default, field.name)))
        for field in dataclass_fields(Recipe)
        if field.name != "data"
    }


_RecipeSection: Any = create_model("_RecipeSection", __base__=_Section, **_recipe_fields(False))
_ChangesSection: Any = create_model("_ChangesSection", __base__=_Section, **_recipe_fields(True))


class TrialSpec(_RecipeSection):  # type: ignore[misc]
    """[trial]: the short run. Fields of ``Recipe``, and fixed HyperParams."""

    lr: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4

    @model_validator(mode="after")
    def _check(self) -> Self:
        Recipe(**self.recipe_fields())
        self.hyperparams()
        return self

    def recipe_fields(self) -> dict[str, Any]:
        """What belongs to the Recipe."""
        return dict(self.model_dump(exclude={"lr", "momentum", "weight_decay"}))

    def hyperparams(self) -> HyperParams:
        """What holds where it is not searched."""
        return HyperParams(self.lr, self.momentum, self.weight_decay)


class ParamSpec(_Section):
    """One searched parameter: a range (``low``, ``high``, ``log``, ``step``) or ``choices``."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: Annotated[tuple[Choice, ...] | None, Field(strict=False)] = None

    @model_validator(mode="before")
    @classmethod
    def _list_means_choices(cls, values: Any) -> Any:
        return {"choices": values} if isinstance(values, list) else values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.step is not None:
                raise ValueError("has choices and a range; keep one of them")
            if len(self.choices) < 2:
                raise ValueError("has fewer than two choices; add one or take it out of [space]")
            if len(set(self.choices)) < len(self.choices):  # 1, 1.0 and true are equal
                raise ValueError("names a choice twice; each may stand once")
            return self
        if self.low is None or self.high is None:
            raise ValueError("is an empty range; write { low = ..., high = ... } or a list")
        if self.low >= self.high:
            raise ValueError(f"has low = {self.low:g} >= high = {self.high:g}; low must be smaller")
        if self.log and self.low <= 0:
            raise ValueError(f"has log = true and low = {self.low:g}; a log range starts above 0")
        if self.step is not None and (self.log or self.step <= 0):
            raise ValueError("has a bad step; it must be above 0, and goes with log = false")
        return self


class BudgetSpec(_Section):
    """[budget]: epochs of training that each arm may spend in each repeat."""

    epochs: int = Field(gt=0)


class ArmSpec(_Section):
    """[arms.NAME]: a sampler and a pruner, or a list of hand-tuned configurations.

    Attributes:
        sampler: curve-gp, which pauses and resumes runs itself, unless given.
        startup: trials before a model-based sampler (curve-gp, gp, tpe) starts to model, or the
            median pruner to prune; 5, or 8 for curve-gp, whose first ones are short.
        min_epochs: epochs before a run may be stopped or paused; 1, or for curve-gp a
            seventeenth of a full run.
        reduction: one run in so many passes each rung (successive-halving, hyperband); the ratio
            of one rung to the one before (curve-gp).
        start_from, believe: curve-gp: the name of a hand-tuned arm, whose configurations are run
            first, at this arm's cost, or taken as a hint where the optimum lies.
        points: grid: values of each range, evenly spaced on its scale.
    """

    sampler: str | None = None
    pruner: str = "none"
    configs: Annotated[tuple[Mapping[str, Choice], ...] | None, Field(strict=False)] = None
    startup: int | None = Field(default=None, ge=1)
    min_epochs: int | None = Field(default=None, ge=1)
    reduction: int = Field(default=3, ge=2)
    points: int = Field(default=3, ge=1)
    start_from: str | None = None
    believe: str | None = None

    @property
    def method(self) -> str | None:
        """The sampler; None for a list of configurations."""
        return None if self.configs is not None else self.sampler or "curve-gp"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sampler is not None and self.configs is not None:
            raise ValueError(
                "has a sampler and configs = [...] (hand-tuned); give one of them, not both"
            )
        if self.configs is not None and not self.configs:
            raise ValueError("has no configs; list at least one, or take the arm out")
        if self.sampler is not None:
            _known(self.sampler, SAMPLERS, "sampler")
        _known(self.pruner, PRUNERS, "pruner")
        if self.method == "curve-gp" and self.pruner != "none":
            raise ValueError("curve-gp pauses weak runs itself; take the pruner out")
        if self.method != "curve-gp" and (self.start_from or self.believe):
            raise ValueError('start_from and believe are for sampler = "curve-gp"')
        return self


class PromoteSpec(_ChangesSection):  # type: ignore[misc]
    """[promote]: full training of what the arms found.

    Every arm's pick of every repeat is trained in full once; besides, the ``top`` configurations
    of all arms are trained with ``seeds`` seeds each, and the best of them on average is the
    study's. Fields of ``tuneoff.trainer.contract.Recipe`` are as in the trial unless given.
    """

    top: int = Field(default=3, ge=1)
    seeds: int = Field(default=3, ge=1)
    epochs: int = Field(gt=0)

    def changes(self) -> dict[str, Any]:
        """The Recipe fields that full training changes."""
        return dict(self.model_dump(exclude={"top", "seeds"}, exclude_none=True))


class MemberSpec(_ChangesSection):  # type: ignore[misc]
    """One of the ensemble's models; fields of Recipe are as in full training unless given."""

    model: str

    def changes(self) -> dict[str, Any]:
        """The Recipe fields that this member changes."""
        return dict(self.model_dump(exclude_none=True))


class EnsembleSpec(_Section):
    """[ensemble]: models trained with the best configuration, and how they are combined."""

    combine: str = "paper"
    members: Annotated[tuple[MemberSpec, ...], Field(strict=False, min_length=1)]

    @field_validator("combine")
    @classmethod
    def _check(cls, value: str) -> str:
        return _known(value, COMBINATIONS, "combine")


class WorkersSpec(_Section):
    """[workers]: how patient we are with them. May change while a study runs.

    Attributes:
        grace_seconds: an attempt that shows no progress for so long is taken over.
        max_attempts: a trial whose attempts failed or were lost so often is told FAIL.
        artifacts: URL of the store for checkpoints, see ``search.store.artifacts``;
            without it, workers on different machines must share a folder.
    """

    grace_seconds: float = Field(default=300.0, gt=0)
    max_attempts: int = Field(default=5, ge=1)
    artifacts: str | None = None


class StudySpec(_Section):
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
        return _expanded(values) if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.budget.epochs < self.trial.epochs:
            raise ValueError(
                f"budget.epochs = {self.budget.epochs} is smaller than one trial "
                f"(trial.epochs = {self.trial.epochs}); raise the one or lower the other"
            )
        for arm, settings in self.arms.items():
            for other in filter(None, (settings.start_from, settings.believe)):
                if other not in self.arms or self.arms[other].configs is None:
                    raise ValueError(f"arms.{arm}: {other!r} is no arm with configs")
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
        """Full training's recipe. Only with a [promote] section."""
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
        """SHA-256 of ``identity`` without what has its default, hexadecimal: a study stays the same
        when a later version has more fields."""
        said = self.model_dump(mode="json", exclude=_NO_IDENTITY, exclude_defaults=True)
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
            SpecError: with one line that names the field and how to fix it.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SpecError(f"{path}: cannot be read ({error.strerror}); check the path") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SpecError(f"{path}: is not valid TOML: {error}") from None
        for change in changes:
            _apply(values, change)
        return cls.parse(values, str(path))

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> StudySpec:
        """A checked spec (SpecError that starts with ``where``)."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SpecError(f"{where}: {_one_line(error)}") from None


def _known(value: str, known: Sequence[str], what: str) -> str:
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {what} {value!r}; {hint}choose one of: {', '.join(known)}")
    return value


def _expanded(values: Mapping[str, Any]) -> dict[str, Any]:
    """A study file's values, each "preset" replaced by what it stands for where nothing is given.

    The trial's preset says how large images are, too: that is the same for all runs of a study.
    """
    found = dict(values)
    trial = found.get("trial")
    data = found.get("data", {})
    if isinstance(trial, Mapping) and "preset" in trial and isinstance(data, Mapping):
        found["data"] = {"image_size": _preset(trial, "trial")["image_size"]} | dict(data)
    ensemble = found.get("ensemble")
    if isinstance(ensemble, Mapping) and isinstance(ensemble.get("members"), list):
        members = [
            _with_preset(member, f"ensemble.members.{i}")
            for i, member in enumerate(ensemble["members"])
        ]
        found["ensemble"] = dict(ensemble) | {"members": members}
    for section in ("trial", "promote"):
        if section in found:
            found[section] = _with_preset(found[section], section)
    return found


def _with_preset(section: Any, where: str) -> Any:
    if not isinstance(section, Mapping) or "preset" not in section:
        return section
    given = {key: value for key, value in section.items() if key != "preset"}
    stands_for = {k: v for k, v in _preset(section, where).items() if k != "image_size"}
    return stands_for | given


def _preset(section: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    try:
        return PRESETS[_known(str(section["preset"]), tuple(PRESETS), "preset")]
    except ValueError as error:
        raise ValueError(f"{where}.preset: {error}") from None


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
    """The first of pydantic's complaints, as FIELD: what is wrong; how to fix it."""
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
    preset = ["preset"] if model in (TrialSpec, PromoteSpec, MemberSpec) else []
    return [*model.model_fields, *preset]
