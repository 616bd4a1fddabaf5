"""The sections of a study file, each checked by itself; ``file`` checks how they go together."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from functools import partial
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints
from urllib.parse import urlsplit

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from tuneoff.search.spec import own
from tuneoff.search.spec.condition import Condition
from tuneoff.search.spec.section import Choice, Section
from tuneoff.trainer.own.recipe import STOP_SECONDS, OwnTraining
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.registry import COMBINATIONS

HYPERPARAMS = tuple(field.name for field in dataclass_fields(HyperParams))


class DataSpec(Section):
    """[data]: the fields of ``tuneoff.trainer.recipe.DataSource`` but its seed."""

    name: str
    path: str | None = None
    image_size: int | None = None
    validation: float = 0.1
    corrupt: str = "refuse"
    duplicates: str = "keep"
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.source(0)
        return self

    def source(self, split_seed: int) -> DataSource:
        """The images, with the validation split carved out by this seed."""
        return DataSource(**self.model_dump(), split_seed=split_seed)


def _recipe_fields(optional: bool) -> dict[str, Any]:
    """The fields of ``tuneoff.trainer.recipe.Recipe`` but its data, in pydantic's form, and but
    ``metric_as``, which [metric] says.

    Args:
        optional: every field is None unless given; otherwise it has the Recipe's default.
    """
    fields = _fields_of(Recipe())
    del fields["data"], fields["metric_as"]
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
_ChangedFields: Any = create_model(
    "_ChangedFields", __base__=Section, **_recipe_fields(optional=True)
)


class _ChangesSection(_ChangedFields):  # type: ignore[misc]
    """What a later training changes of the trial: fields of Recipe, or with a user's own code
    ``epochs`` and ``params``."""

    params: dict[str, Any] = Field(default_factory=dict)

    def _changes(self, *but: str) -> dict[str, Any]:
        """What is given, without these fields; parameters by their names."""
        given = self.model_dump(exclude={*but, "params"}, exclude_none=True)
        return {**given, **self.params}

    def ours(self) -> list[str]:
        """The fields of our trainer that are given, besides ``epochs``."""
        fields = _ChangedFields.model_fields
        return [n for n in fields if n != "epochs" and getattr(self, n) is not None]


class TrialSpec(_TrialSection):  # type: ignore[misc]
    """[trial]: the short run. Fields of ``Recipe``, and of ``HyperParams`` where not searched.

    With ``trainer`` or ``command`` it is a user's own code that trains: then there are only these,
    ``epochs`` and ``params``.

    Attributes:
        trainer: reference to a Python loop, "module:function".
        command: template of a command.
        params: parameters of that code that are not searched, by name.
        resumable: False for a command that cannot go on from what is in its folder.
        stop_seconds: that a command has to save and end when it is paused or stopped.
    """

    trainer: str | None = None
    command: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    resumable: bool = True
    stop_seconds: float = STOP_SECONDS

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.is_own:
            own.check_trial(self.model_fields_set)
            self.own_training()
        else:
            own.check_no_params(self.params)
            Recipe(**self.recipe_fields())
            self.hyperparams()
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_ours(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return own.serialized(serialize(self), self.is_own)

    @property
    def is_own(self) -> bool:
        """True if it is a user's own code that trains."""
        return self.trainer is not None or self.command is not None

    def own_training(self) -> OwnTraining:
        """What the user's own code trains, before searched values are filled in."""
        return OwnTraining(
            self.epochs,
            self.trainer,
            self.command,
            self.params,
            self.resumable,
            self.stop_seconds,
        )

    def recipe_fields(self) -> dict[str, Any]:
        """What belongs to the Recipe."""
        return dict(self.model_dump(exclude={*HYPERPARAMS, *own.KEYS}))

    def hyperparams(self) -> HyperParams:
        """The optimiser's numbers where they are not searched."""
        return HyperParams(**{name: getattr(self, name) for name in HYPERPARAMS})


class ParamSpec(Section):
    """One searched parameter: a range (``low``, ``high``, ``log``, ``step``) or ``choices``.

    Attributes:
        when: where it plays a part, as ``Condition.parse`` reads it; None for everywhere. Where the
            condition does not hold, training does not hear of the parameter. Samplers see it at the
            middle of its range then, so that runs that differ in nothing else are equal.
        integer: whether a range is one of whole numbers. In a study of a user's own code it is
            where the file writes its ends as such (1, not 1.0); of our trainer's parameters it is
            known which are.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    integer: bool = False
    when: str | None = None
    choices: Annotated[tuple[Choice, ...] | None, Field(strict=False)] = None

    @model_validator(mode="before")
    @classmethod
    def _list_means_choices(cls, values: Any) -> Any:
        return {"choices": values} if isinstance(values, list) else values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.when is not None:
            Condition.parse(self.when)
        if self.choices is not None:
            ends = (self.low, self.high, self.step)
            if any(end is not None for end in ends) or self.log or self.integer:
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


class PromoteSpec(_ChangesSection):
    """[promote]: full training of what the arms found.

    What each arm recommends in each repeat is trained in full with ``seeds`` seeds, with more where
    more repeats of one arm share it, or as [compare] ``epochs`` allows; so are, with ``seeds``
    each, the ``top`` configurations of all arms. The best of all these, which gets ``seeds`` seeds
    if it has fewer, is the study's. A configuration that is wanted more than once is trained once.
    Fields of ``tuneoff.trainer.recipe.Recipe`` are as in the trial unless given.
    """

    top: int = Field(default=3, ge=1, le=1000)
    seeds: int = Field(default=3, ge=1, le=1000)
    epochs: int = Field(gt=0)

    def changes(self) -> dict[str, Any]:
        """The Recipe fields that full training changes."""
        return self._changes("top", "seeds")


class MemberSpec(_ChangesSection):
    """One of the ensemble's models; fields of Recipe are as in full training unless given."""

    def changes(self) -> dict[str, Any]:
        """The Recipe fields that this member changes."""
        return self._changes()


class EnsembleSpec(Section):
    """[ensemble]: models trained with the best configuration, and how they are combined."""

    combine: str = "paper"
    members: Annotated[tuple[MemberSpec, ...], Field(strict=False, min_length=1)]

    @field_validator("combine")
    @classmethod
    def _check(cls, value: str) -> str:
        return COMBINATIONS.check(value)


class HorizonSpec(_ChangesSection):
    """[horizon]: a sample of the configurations that the arms tried, trained again for longer.

    May be added to a study that exists. ``epochs`` and ``seeds`` may grow then; the rest may not
    change once the sample is drawn. Fields of ``tuneoff.trainer.recipe.Recipe`` are as in the trial
    unless given.

    Attributes:
        epochs: the horizons, each a training of its own with its own schedule; kept in order.
        configurations: size of the sample. What each arm recommends is always in it, and at least
            half as many as this are drawn besides.
        seeds: trainings of each configuration at each horizon.
    """

    epochs: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False, min_length=2)]
    configurations: int = Field(default=20, ge=4, le=1000)
    seeds: int = Field(default=1, ge=1, le=1000)

    @field_validator("epochs")
    @classmethod
    def _in_order(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("lists a horizon twice; list each of them once")
        return tuple(sorted(value))

    def changes(self, epochs: int) -> dict[str, Any]:
        """The Recipe fields that training to this horizon changes."""
        return self._changes("epochs", "configurations", "seeds") | {"epochs": epochs}


class CompareSpec(Section):
    """[compare]: when two arms are called equal, and for how long evidence is gathered.

    All but ``smallest_effect`` may change while a study runs.

    Attributes:
        smallest_effect: points of error (percent) that are worth choosing an arm for, or in the
            unit of the study's [metric]; a smaller difference is called equivalent. None: as large
            as the noise between seeds of one configuration.
        until: "repeats": the study's ``repeats`` are run, no more. "decided": paired repeats are
            added after them until each pair of arms is decided, or a bound below is reached.
        max_repeats: the most repeats that "decided" comes to.
        max_hours: after so many hours since the study was created, "decided" adds nothing more.
        epochs: the most that full training of the arms' picks may cost, over all seeds and beside
            the [promote] ``top``. Every pick is trained once first, and then again where it makes
            the comparison more certain: at most ``seeds`` times for each repeat that picks it.
            None: every pick is trained with [promote] ``seeds`` seeds, one that more repeats of
            one arm share with as many as those.
    """

    smallest_effect: float | None = Field(default=None, gt=0)
    until: Literal["repeats", "decided"] = "repeats"
    max_repeats: int = Field(default=20, ge=2, le=1000)
    max_hours: float | None = Field(default=None, gt=0, le=10**6)
    epochs: int | None = Field(default=None, gt=0, le=10**9)


Event = Literal["decided", "stalled", "failed"]


class WorkersSpec(Section):
    """[workers]: how long to wait for them. May change while a study runs.

    Attributes:
        grace_seconds: after so long without progress, another worker takes a trial over.
        epoch_seconds: a user's own loop counts as hung once it has neither ended an epoch nor asked
            whether to stop for so long; until then its worker shows signs of life for it.
        max_attempts: after so many attempts that failed or were lost, a trial is told FAIL.
            Failures in one place, a worker or a machine where there are several, count once as
            long as a worker elsewhere has not tried the trial.
        artifacts: URL of the store for checkpoints, see ``tuneoff.search.store.artifacts``;
            without it, workers on different machines must share a folder.
        per_search: how many may be at work at once in a search whose sampler or pruner learns from
            earlier runs (``ArmSpec.learns``). None: one, so that what is tried is a function of the
            file and its seeds; more only while there are more workers than searches.
        threads: CPU threads of each worker that trains on a CPU, on which the last digits of its
            sums depend; None: the cores are shared out, so that it depends on how many there are.
    """

    grace_seconds: float = Field(default=300.0, gt=0, le=10**7)
    epoch_seconds: float = Field(default=7200.0, gt=0, le=10**7)
    max_attempts: int = Field(default=5, ge=1, le=1000)
    artifacts: str | None = None
    per_search: int | None = Field(default=None, ge=1, le=10**6)
    threads: int | None = Field(default=None, ge=1, le=1000)


class NotifySpec(Section):
    """Where one message goes when something becomes of the study.

    Attributes:
        url: gets a JSON message by POST. It is stored in the database, so that one that holds a
            token belongs into ``TUNEOFF_NOTIFY_URL``, which goes before it.
        on: which events are told: see ``report.notify.events``.
        stalled_minutes: of no progress, though there is work to do.
    """

    url: str | None = Field(default=None, max_length=2000)
    on: Annotated[tuple[Event, ...], Field(strict=False, min_length=1)] = get_args(Event)
    stalled_minutes: float = Field(default=30.0, gt=0, le=10**6)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None and (wrong := url_problem(url)):
            raise ValueError(wrong)
        return url


def url_problem(url: str) -> str | None:
    """What is wrong with a webhook's URL, without its path or query; None if nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no URL; write https://HOST/PATH"
    if parts.scheme not in ("http", "https") or not host or any(c <= " " for c in url):
        return "is no address of a web server; write https://HOST/PATH"
    if parts.username is not None or parts.password is not None:
        return "holds a user or a password; leave them out: TUNEOFF_NOTIFY_SECRET signs messages"
    return None
