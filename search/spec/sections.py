"""The sections of a study file, each checked by itself; ``file`` checks how they go together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from functools import partial
from typing import Annotated, Any, Self, get_type_hints

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    create_model,
    field_validator,
    model_validator,
)

from tuneoff.search.spec.registry import DEFAULT_SAMPLER, NO_PRUNER, PRUNERS, SAMPLERS
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.registry import COMBINATIONS

Choice = str | int | float | bool

HYPERPARAMS = tuple(field.name for field in dataclass_fields(HyperParams))

CONFIG_NOTE = "note"  # a key beside a configuration's parameters: what somebody wrote about it
OLD_KEYS = {"believe": "prior_from"}  # of [arms.NAME]: names that are still read, and today's


class Section(BaseModel):
    """A table of the study file: no unknown keys, no conversion of types, no change once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataSpec(Section):
    """[data]: the fields of ``tuneoff.trainer.recipe.DataSource`` but its seed."""

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
    """The fields of ``tuneoff.trainer.recipe.Recipe`` but its data, in pydantic's form.

    Args:
        optional: every field is None unless given; otherwise it has the Recipe's default.
    """
    fields = _fields_of(Recipe())
    del fields["data"]
    return {name: (kind | None, None) for name, (kind, _) in fields.items()} if optional else fields


def _fields_of(default: Recipe | HyperParams) -> dict[str, Any]:
    """The fields of a dataclass in pydantic's form, with the values that they have here."""
    hints = get_type_hints(type(default))
    return {
        field.name: (
            hints[field.name],
            Field(default_factory=partial(getattr, default, field.name)),
        )
        for field in dataclass_fields(default)
    }


_TrialSection: Any = create_model(
    "_TrialSection", __base__=Section, **_recipe_fields(optional=False), **_fields_of(HyperParams())
)
_ChangesSection: Any = create_model(
    "_ChangesSection", __base__=Section, **_recipe_fields(optional=True)
)


class TrialSpec(_TrialSection):  # type: ignore[misc]
    """[trial]: the short run. Fields of ``Recipe``, and of ``HyperParams`` where not searched."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        Recipe(**self.recipe_fields())
        self.hyperparams()
        return self

    def recipe_fields(self) -> dict[str, Any]:
        """What belongs to the Recipe."""
        return dict(self.model_dump(exclude=set(HYPERPARAMS)))

    def hyperparams(self) -> HyperParams:
        """The optimiser's numbers where they are not searched."""
        return HyperParams(**self.model_dump(include=set(HYPERPARAMS)))


class ParamSpec(Section):
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
                raise ValueError("lists a choice twice; list each of them once")
            return self
        if self.low is None or self.high is None:
            raise ValueError(
                "needs a low and a high end; write { low = ..., high = ... } or a list of choices"
            )
        if self.low >= self.high:
            raise ValueError(f"has low = {self.low:g} >= high = {self.high:g}; low must be smaller")
        if self.log and self.low <= 0:
            raise ValueError(f"has log = true and low = {self.low:g}; a log range starts above 0")
        if self.step is not None and (self.log or self.step <= 0):
            raise ValueError(
                f"has step = {self.step:g}; a step must be above 0, and needs log = false"
            )
        return self


class BudgetSpec(Section):
    """[budget]: epochs of training that each arm may spend in each repeat."""

    epochs: int = Field(gt=0)


class ArmSpec(Section):
    """[arms.NAME]: a sampler and a pruner, or a list of hand-tuned configurations.

    Attributes:
        sampler: a name from ``tuneoff.search.spec.registry.SAMPLERS``; without it and without
            ``configs``, the first of them.
        pruner: a name from ``tuneoff.search.spec.registry.PRUNERS``.
        configs: hand-tuned configurations, in the order in which they are run; each has a value
            for every searched parameter, and may have a "note".
        startup: trials before a model-based sampler (curve-gp, gp, tpe) starts to model, or the
            median pruner to prune; 5, or 8 for curve-gp, whose first ones are short.
        min_epochs: epochs before a run may be stopped or paused; 1, or for curve-gp a
            seventeenth of a full run.
        reduction: one run in so many passes each rung (successive-halving, hyperband); the ratio
            of one rung to the one before (curve-gp).
        points: grid: values of each range, evenly spaced on its scale.
        start_from: curve-gp: the name of a hand-tuned arm whose configurations are run first, at
            this arm's cost.
        prior_from: curve-gp: the name of a hand-tuned arm around whose configurations the optimum
            is expected.
    """

    sampler: str | None = None
    pruner: str = NO_PRUNER
    configs: Annotated[tuple[Mapping[str, Choice], ...] | None, Field(strict=False)] = None
    startup: int | None = Field(default=None, ge=1)
    min_epochs: int | None = Field(default=None, ge=1)
    reduction: int = Field(default=3, ge=2)
    points: int = Field(default=3, ge=1)
    start_from: str | None = None
    # ``digest`` serialises by alias, so that studies from before the key's new name keep theirs.
    prior_from: str | None = Field(
        default=None,
        validation_alias=AliasChoices("prior_from", "believe"),
        serialization_alias="believe",
    )

    @property
    def method(self) -> str | None:
        """The sampler; None for a list of configurations."""
        return None if self.configs is not None else self.sampler or DEFAULT_SAMPLER

    @model_validator(mode="before")
    @classmethod
    def _one_name_a_key(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            for old, new in OLD_KEYS.items():
                if old in values and new in values:
                    raise ValueError(f"has {new} and {old}, its old name; take {old} out")
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.sampler is not None and self.configs is not None:
            raise ValueError(
                "has a sampler and configs = [...] (hand-tuned); give one of them, not both"
            )
        if self.configs is not None and not self.configs:
            raise ValueError("has no configs; list at least one, or take the arm out")
        sampler = SAMPLERS.entry(self.method) if self.method is not None else None
        pruner = PRUNERS.entry(self.pruner)
        if sampler and sampler.stops_runs and pruner.stops_runs:
            raise ValueError(f"{self.method} pauses weak runs itself; take the pruner out")
        if (self.start_from or self.prior_from) and not (sampler and sampler.takes_hand_tuned):
            able = [f'"{name}"' for name in SAMPLERS if SAMPLERS.entry(name).takes_hand_tuned]
            raise ValueError(
                f"start_from and prior_from are for sampler = {' or '.join(able)}; "
                "take them out, or change the sampler"
            )
        return self


def without_note(config: Mapping[str, Choice]) -> dict[str, Choice]:
    """The parameters of a hand-tuned configuration alone."""
    return {name: value for name, value in config.items() if name != CONFIG_NOTE}


class PromoteSpec(_ChangesSection):  # type: ignore[misc]
    """[promote]: full training of what the arms found.

    What each arm recommends in each repeat is trained in full once. Besides, the ``top``
    configurations of all arms are trained with ``seeds`` seeds each, and the best on average
    is the study's. Fields of ``tuneoff.trainer.recipe.Recipe`` are as in the trial unless given.
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


class EnsembleSpec(Section):
    """[ensemble]: models trained with the best configuration, and how they are combined."""

    combine: str = "paper"
    members: Annotated[tuple[MemberSpec, ...], Field(strict=False, min_length=1)]

    @field_validator("combine")
    @classmethod
    def _check(cls, value: str) -> str:
        return COMBINATIONS.check(value)


class WorkersSpec(Section):
    """[workers]: how long to wait for them. May change while a study runs.

    Attributes:
        grace_seconds: after so long without progress, another worker takes a trial over.
        max_attempts: after so many attempts that failed or were lost, a trial is told FAIL.
        artifacts: URL of the store for checkpoints, see ``tuneoff.search.store.artifacts``;
            without it, workers on different machines must share a folder.
    """

    grace_seconds: float = Field(default=300.0, gt=0)
    max_attempts: int = Field(default=5, ge=1)
    artifacts: str | None = None
