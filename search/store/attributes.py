"""What we store with Optuna's trials and studies, besides parameters and values: one schema.

An attribute that is renamed, or whose values change, needs a revision in ``migrations``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from optuna.trial import FrozenTrial
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python

from tuneoff.search.errors import StudyError

T = TypeVar("T")

PREFIX = "tuneoff/"
"""Of every name, so that none is taken for one of another program's in optuna-dashboard."""


class Owner(Protocol):
    """What has user attributes: an ``optuna.Study`` or a trial of it."""

    @property
    def user_attrs(self) -> Mapping[str, Any]:
        """By name, as plain JSON values."""


class Attribute(Generic[T]):
    """A named value of one type, stored with a trial or a study as JSON.

    Attributes:
        name: the key in Optuna's tables, as optuna-dashboard shows it.
    """

    # It is no key: ``attribute in trial.user_attrs`` would be False for ever.
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str, kind: type[T]) -> None:
        """
        Args:
            name: without ``PREFIX``.
            kind: any type of plain values, or a dataclass of such.
        """
        self.name = PREFIX + name
        self._kind, self._adapter = kind, TypeAdapter(kind)

    def __repr__(self) -> str:
        return f"Attribute({self.name!r})"

    def is_set(self, owner: Owner) -> bool:
        """True if the owner has this attribute."""
        return self.name in owner.user_attrs

    def get(self, owner: Owner) -> T | None:
        """The owner's value; None if it has none.

        Raises:
            StudyError: what is stored is of another type.
        """
        return self._read(owner.user_attrs, owner)

    def of(self, owner: Owner) -> T:
        """The value of an owner that must have one (StudyError if not, or as ``get``)."""
        value = self.get(owner)
        if value is None:
            raise StudyError(f"{_named(owner)} has no attribute {self.name!r}; was it deleted?")
        return value

    def item(self, value: T) -> tuple[str, Any]:
        """The name and the plain value to store: ``set_user_attr(*attribute.item(value))``.

        Raises:
            TypeError: the value is of another type.
        """
        plain = to_jsonable_python(value)
        try:
            self._adapter.validate_json(to_json(plain), strict=True)
        except ValidationError:
            raise TypeError(f"{self.name!r} cannot be {value!r}: it is a {self._kind}") from None
        return self.name, plain

    def entry(self, value: T) -> dict[str, Any]:
        """The attributes of an owner that has only this one (TypeError as ``item``)."""
        return dict([self.item(value)])

    def _read(self, stored: Mapping[str, Any], owner: Owner) -> T | None:
        if self.name not in stored:
            return None
        value = stored[self.name]
        try:
            return self._adapter.validate_json(to_json(value), strict=True)
        except ValidationError:
            raise StudyError(
                f"{_named(owner)}: its attribute {self.name!r} is {value!r}, which tuneoff never "
                "writes; put back what it was"
            ) from None


class SystemAttribute(Attribute[T]):
    """An attribute of a trial that optuna-dashboard does not show."""

    def get(self, owner: Owner) -> T | None:
        """See ``Attribute.get``."""
        assert isinstance(owner, FrozenTrial)
        return self._read(owner.system_attrs, owner)


def _named(owner: Owner) -> str:
    if isinstance(owner, FrozenTrial):
        return f"trial {owner.number}"
    return f"study {getattr(owner, 'study_name', '')}"


# Of every trial.

UNTIL = SystemAttribute("until epoch", int)
"""Where the first attempt is to stop: a worker may die before it enters that attempt."""
DIVERGED = Attribute("diverged epoch", int)
"""The epoch, from 1, in which the loss became non-finite."""
FAILURE = Attribute("failure", str)
"""Why the trial was told FAIL."""
ACCUMULATION = Attribute("accumulation", int)
"""Parts into which a batch was split because it did not fit in memory; unset if as asked for."""

# Of trials in an arm.

FIXED_INDEX = Attribute("fixed configuration", int)
"""Which of the arm's ``configs`` it is, from 0."""
NOTE = Attribute("note", str)
"""What somebody wrote beside a configuration."""
ENTERED = Attribute("entered", str)
"""When somebody entered the configuration by hand, UTC in ISO 8601."""
CHOSEN_BY = Attribute("chosen by", str)
"""How curve-gp chose this configuration: one of the following."""
START = "start"  # one of those to begin with
MODEL = "curve model"  # the best by the model, given all runs
FULL_RUNS_ONLY = "given full runs only"  # the best by the model, given full runs only
QUASI_RANDOM = "quasi-random"  # a point of the Sobol sequence

# Of full training, and of the ensemble's members.

SEED = Attribute("seed", tuple[int, int, int])
"""``RunSeed``: study, trial, replica."""
RECIPE_CHANGES = Attribute("recipe changes", dict[str, Any])
"""Fields in which the recipe differs from the short trial's."""
REPLICA = Attribute("replica", int)
"""Full training: which seed of its configuration, from 0."""
MEMBER = Attribute("member", int)
"""The ensemble: which of [ensemble] ``members``, from 0."""
MEMBER_KEY = Attribute("member key", str)
"""The ensemble: parameters, recipe changes and seed; unset in studies of earlier versions."""
TEST_ERROR = Attribute("test error", float)
"""0 to 1, on the test split."""
RECIPE = Attribute("recipe", dict[str, Any])
"""Every field of the recipe with which it was trained."""
ENVIRONMENT = Attribute("environment", dict[str, str])
"""Where it was trained: ``Trainer.describe``."""

# Of the study NAME/ensemble.


@dataclass(frozen=True)
class StoredMember:
    """A member of the ensemble, its errors 0 to 1."""

    model: str
    validation_error: float
    test_error: float
    weight: float


@dataclass(frozen=True)
class StoredEnsemble:
    """The ensemble as it was combined.

    Attributes:
        how: the combination's name.
        test_error: 0 to 1.
        trials: numbers of the members' trials; None in studies of earlier versions.
    """

    how: str
    members: tuple[StoredMember, ...]
    test_error: float
    trials: tuple[int, ...] | None = None


ENSEMBLE = Attribute("ensemble", StoredEnsemble)
