"""The study file: its sections together, read from TOML, with every mistake told in one line."""

from __future__ import annotations

import hashlib
import json
import logging
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field, ValidationError, model_validator

from tuneoff.registry import nearest
from tuneoff.search.errors import SpecError
from tuneoff.search.spec import own
from tuneoff.search.spec.arm_section import OLD_KEYS, ArmSpec
from tuneoff.search.spec.arms_together import check_arms
from tuneoff.search.spec.budget_section import CURRENCIES, BudgetSpec
from tuneoff.search.spec.class_paths import with_references
from tuneoff.search.spec.metric_section import (
    MetricSpec,
    check_effects,
    check_judged,
    check_same_metric,
    metric_as,
    with_named,
)
from tuneoff.search.spec.named_code import named_code
from tuneoff.search.spec.personas import expand_personas, with_both
from tuneoff.search.spec.presets import PRESET, expand
from tuneoff.search.spec.section import Section
from tuneoff.search.spec.sections import (
    CompareSpec,
    DataSpec,
    EnsembleSpec,
    HorizonSpec,
    MemberSpec,
    NotifySpec,
    ParamSpec,
    PromoteSpec,
    TrialSpec,
    WorkersSpec,
)
from tuneoff.search.spec.table_section import TableSpec
from tuneoff.trainer.contract import AnyRecipe
from tuneoff.trainer.limits import shown
from tuneoff.trainer.recipe import LAYER_DECAY, Recipe

log = logging.getLogger(__name__)

RESERVED_ARMS = ("full", "ensemble")  # the names of a study's other searches
HORIZON_ARM = "horizon"  # so is this one, in a study with a [horizon] section

_NAME_RULE = "use at most 64 of a-z, A-Z, 0-9, dots, - and _, and begin with a letter or a digit"

# May change while a study runs.
_NO_IDENTITY: Any = {
    "workers": True,
    "notify": True,
    "data": {"path"},
    "compare": {"until", "max_repeats", "max_hours", "epochs"},
    "horizon": True,  # may be added; ``study.horizon`` checks what may change of it
}


class StudySpec(Section):
    """A whole study file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(default=0, ge=0, lt=2**32)
    repeats: int = Field(default=6, ge=1, le=1000)
    data: DataSpec | None = None  # only with code of the user's own
    trial: TrialSpec = TrialSpec()
    metric: MetricSpec = MetricSpec()
    space: dict[str, ParamSpec] = Field(min_length=1)
    budget: BudgetSpec
    arms: dict[str, ArmSpec] = Field(min_length=1)
    promote: PromoteSpec | None = None
    ensemble: EnsembleSpec | None = None
    horizon: HorizonSpec | None = None
    compare: CompareSpec = CompareSpec()
    workers: WorkersSpec = WorkersSpec()
    notify: NotifySpec | None = None
    table: TableSpec | None = None
    without_weights: dict[str, Any] = Field(default_factory=dict)  # see ``without_weights``

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return expand_personas(expand(with_named(own.with_integers(with_references(values)))))

    @model_validator(mode="after")
    def _check(self) -> Self:
        own.check_together(self)
        budget = self.budget.epochs
        if budget is not None and budget < self.trial.epochs:
            raise ValueError(
                f"budget.epochs = {budget} is smaller than one trial "
                f"(trial.epochs = {self.trial.epochs}); raise the one or lower the other"
            )
        rule = self.budget.stop_rule
        if rule and budget and not self.trial.epochs <= rule.epochs <= budget:
            ahead = "1 epoch" if rule.epochs == 1 else f"{rule.epochs} epochs"
            raise ValueError(
                f"budget.stop_when: looks {ahead} ahead; give at least one trial "
                f"(trial.epochs = {self.trial.epochs}) and at most the budget ({budget})"
            )
        check_effects(self.metric.metric(), self.compare, self.budget)
        check_judged(self.trial, self.metric)
        reserved = RESERVED_ARMS if self.horizon is None else (*RESERVED_ARMS, HORIZON_ARM)
        check_arms(self.arms, self.trial.epochs, budget, reserved)
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
                check_same_metric(changes)
                recipe.override(changes)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def later_changes(self) -> dict[str, dict[str, Any]]:
        """What full training, each ensemble member and each horizon change, by section."""
        found: dict[str, dict[str, Any]] = {}
        if self.promote is not None:
            found["promote"] = self.full_changes()
        for i, changes in enumerate(self.member_changes()):
            found[f"ensemble.members.{i}"] = changes
        if self.horizon is not None:
            for epochs in self.horizon.epochs:
                found[f"horizon.epochs = {epochs}"] = self.horizon.changes(epochs)
        return found

    def full_changes(self) -> dict[str, Any]:
        """What full training changes of the trial; that has all images unless it says else."""
        if self.promote is None:
            return {}
        every = {"images": 0} if self.trial.images and not self.is_own else {}
        return every | self.promote.changes()

    def member_changes(self) -> tuple[dict[str, Any], ...]:
        """What each of the ensemble's members changes of the trial's recipe."""
        if self.promote is None or self.ensemble is None:
            return ()
        full = self.full_changes()
        return tuple(full | member.changes() for member in self.ensemble.members)

    @property
    def is_own(self) -> bool:
        """True if it is a user's own code that trains."""
        return self.trial.is_own

    def recipe(self) -> AnyRecipe:
        """The short trial's recipe, before searched fields are filled in."""
        return self.trial.own_training() if self.is_own else self.our_recipe()

    def our_recipe(self) -> Recipe:
        """As ``recipe``, for what only our trainer can do (SpecError with a user's own code)."""
        if self.data is None:
            raise SpecError(
                f"study {self.name} is trained by {self.trial.own_training().code}, and this is "
                "for studies of tuneoff's own trainer"
            )
        how = metric_as(self.trial.metric, self.metric.metric())
        fields = self.trial.recipe_fields() | {"metric_as": how}
        return Recipe(data=self.data.source(self.seed), **fields)

    def full_recipe(self) -> AnyRecipe:
        """Full training's recipe (SpecError without a [promote] section)."""
        if self.promote is None:
            raise SpecError(f"study {self.name}: there is no [promote] section; add one")
        return self.recipe().override(self.full_changes())

    def member_recipes(self) -> tuple[AnyRecipe, ...]:
        """The ensemble members' recipes; empty without an [ensemble] section."""
        return tuple(self.recipe().override(changes) for changes in self.member_changes())

    def references(self) -> tuple[str, ...]:
        """The code of a user's own that the file names, as ``tuneoff.references.allow`` takes it.

        Workers run it only where that was allowed.
        """
        found = (*named_code(self.model_dump(mode="json")), *named_code(self.without_weights))
        return tuple(dict.fromkeys(found))

    def identity(self) -> dict[str, Any]:
        """What may not change once the study exists.

        That is all but where data lies, [workers], [notify], [horizon], and how long [compare]
        gathers evidence.
        """
        return self.model_dump(mode="json", exclude=_NO_IDENTITY)

    def digest(self) -> str:
        """SHA-256 of ``identity``, hexadecimal.

        Values that are the default are left out, and a key that has another name today goes by its
        first one: so the digest of a study stays the same in later versions.
        """
        said = self.model_dump(
            mode="json", exclude=_NO_IDENTITY, exclude_defaults=True, by_alias=True
        )
        said = {key: value for key, value in said.items() if value != {}}  # nothing of it counts
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def differences(self, other: StudySpec) -> list[str]:
        """Lines "FIELD: mine here, theirs there" for each field of ``identity`` that differs."""
        mine, theirs = dict(_leaves(self.identity())), dict(_leaves(other.identity()))
        return [
            f"{key} is {mine.get(key)!r}, not {theirs.get(key)!r}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]

    def changed(self, changes: Sequence[str]) -> StudySpec:
        """This file with some values changed, checked as a whole.

        Args:
            changes: "dotted.key=VALUE" as from ``--set``, VALUE in TOML.

        Raises:
            SpecError: one line that names the field and the fix.
        """
        values = self.model_dump(mode="json")
        for arm in values["arms"].values():
            if arm["persona"] is not None:
                arm["configs"] = None  # another persona, or other parameters, make another list
        for change in changes:
            _apply(values, change)
        _check_lists(values, f"study {self.name}")
        return self.parse(values, f"study {self.name}") if changes else self

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
            # Editors on Windows begin a file with a byte order mark.
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise SpecError(f"{path}: cannot be read ({error.strerror}); check the path") from None
        except UnicodeDecodeError:
            raise SpecError(f"{path}: is not text in UTF-8; save it as UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{path}: is not valid TOML: {error}") from None
        for change in changes:
            _apply(values, change)
        _check_lists(values, str(path))
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


def _check_lists(values: Mapping[str, Any], where: str) -> None:
    """SpecError for an arm with two lists of settings."""
    if (arm := with_both(values)) is not None:
        raise SpecError(f"{where}: arms.{arm}: has a persona and configs = [...]; keep one of them")


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
    except (ValueError, RecursionError):
        value = text.strip()  # a bare word is a string: --set trial.model=resnet18
    *parents, last = _keys(key.strip())
    table = values
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise SpecError(f"--set {change}: {parent} is not a table in this study file")
    table[last] = value
    if parents == ["budget"] and last in CURRENCIES:
        for other in CURRENCIES:
            if other != last:
                table.pop(other, None)


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
    # A key that is misspelt is missing, too, under its right name: its spelling is what to mend.
    first, *others = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in first["loc"])
    kind, given = first["type"], _short(first.get("input"))
    if kind == "extra_forbidden":
        what = f"unknown key; {_instead(first['loc'])}"
    elif kind == "missing":
        what = "is missing; add it"
    elif kind == "value_error":
        what = str(first["ctx"]["error"])
    elif kind == "too_short":
        least, there = first["ctx"]["min_length"], first["ctx"]["actual_length"]
        what = f"{f'has {there}' if there else 'is empty'}; give at least {least}"
    elif kind == "tuple_type":
        what = f"{given} has the wrong type: write a list, as in [VALUE, VALUE]"
    elif kind in ("model_type", "dict_type"):
        table = "{ low = ..., high = ... } or a list of choices"
        table = table if first["loc"][0] == "space" else "a table, as in { KEY = VALUE }"
        what = f"{given} has the wrong type: write {table}"
    elif kind.endswith(("_type", "_parsing")):
        what = f"{given} has the wrong type: {_uncapitalised(first['msg'])}"
    elif first["loc"] == ("name",):
        what = f"{given} is refused: {_NAME_RULE}"
    else:
        what = f"{given} is refused: {_uncapitalised(first['msg'])}"
    more = f" (and {len(others)} more)" if others else ""
    return (f"{where}: {what}" if where else what) + more


def _short(given: Any) -> str:
    """What was given, as Python writes it, or the beginning of it."""
    text = shown(given) if isinstance(given, int) else repr(given)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _uncapitalised(text: str) -> str:
    """``text`` for the middle of a sentence; what it quotes stays as it is."""
    return text[:1].lower() + text[1:]


def _instead(loc: Sequence[int | str]) -> str:
    """What to do about an unknown key."""
    if loc[:2] == ("space", LAYER_DECAY.rstrip(".")):
        return f'write the whole name in quotes: "{LAYER_DECAY}{loc[-1]}" = {{ low = ... }}'
    near = nearest(str(loc[-1]), _siblings(loc))
    return f"did you mean {near!r}?" if near else "take it out"


def _siblings(loc: Sequence[int | str]) -> list[str]:
    """The keys that may stand where the unknown key ``loc[-1]`` does."""
    named: dict[int | str, type[BaseModel]] = {
        "arms": ArmSpec,
        "space": ParamSpec,
        "data": DataSpec,
        "trial": TrialSpec,
        "metric": MetricSpec,
        "budget": BudgetSpec,
        "promote": PromoteSpec,
        "ensemble": EnsembleSpec,
        "horizon": HorizonSpec,
        "compare": CompareSpec,
        "workers": WorkersSpec,
        "notify": NotifySpec,
        "table": TableSpec,
    }
    model = named[loc[0]] if len(loc) > 1 else StudySpec
    if loc[:2] == ("ensemble", "members"):
        model = MemberSpec
    preset = [PRESET] if model in (TrialSpec, PromoteSpec, MemberSpec, HorizonSpec) else []
    return [*model.model_fields, *preset]
