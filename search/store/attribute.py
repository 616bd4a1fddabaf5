"""A named, typed value that is stored with one of Optuna's trials or studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python

from tuneoff.search.errors import StudyError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

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
        except ValueError:  # of another type, or text that is not Unicode
            raise StudyError(
                f"{_named(owner)}: its attribute {self.name!r} is {value!r}, which tuneoff never "
                "writes; put back what it was"
            ) from None


class SystemAttribute(Attribute[T]):
    """An attribute of a trial that optuna-dashboard does not show."""

    def get(self, owner: Owner) -> T | None:
        """See ``Attribute.get``."""
        return self._read(cast("FrozenTrial", owner).system_attrs, owner)


def _named(owner: Owner) -> str:
    # By what only one of them has: to import their classes takes Optuna a second.
    number: int | None = getattr(owner, "number", None)
    return f"study {getattr(owner, 'study_name', '')}" if number is None else f"trial {number}"
