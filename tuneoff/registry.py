"""Names that a study file may use, and the code that each one stands for."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar


@dataclass(frozen=True)
class Entry:
    """What a name stands for. A registry may have entries of a subclass that says more.

    Attributes:
        target: "module:attribute", imported when it is first used.
        about: one line for help texts and tables.
    """

    target: str
    about: str


E = TypeVar("E", bound=Entry)


class Registry(Generic[E]):
    """All names of one kind of thing, written here and nowhere else.

    Checks of study files, ``--help`` and the README's tables ask it. No module of an entry is
    imported before ``load``, so that a check of names costs nothing.
    """

    def __init__(self, kind: str, entries: Mapping[str, E]) -> None:
        """
        Args:
            kind: as messages call it: "sampler".
            entries: by name, in the order in which they are shown.
        """
        self.kind = kind
        self._entries = dict(entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in order."""
        return tuple(self._entries)

    def entry(self, name: str) -> E:
        """All that is written about a name (ValueError as ``check``)."""
        return self._entries[self.check(name)]

    def about(self, name: str) -> str:
        """The line that describes a name (ValueError as ``check``)."""
        return self.entry(name).about

    def check(self, name: str) -> str:
        """The name itself.

        Raises:
            ValueError: there is no such name; the message lists those that there are.
        """
        return check_name(self.kind, name, self._entries)

    def load(self, name: str) -> Any:
        """The object that a name stands for, its module imported (ValueError as ``check``)."""
        module, _, attribute = self.entry(name).target.partition(":")
        return getattr(import_module(module), attribute)


def check_name(kind: str, name: str, known: Collection[str]) -> str:
    """The name itself, if it is among those that are known.

    Args:
        kind: as the message calls it: "sampler".

    Raises:
        ValueError: it is not; the message lists those that are known.
    """
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean {near!r}? " if near else ""
        raise ValueError(f"unknown {kind} {name!r}; {hint}choose one of: {', '.join(known)}")
    return name


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: alike in spelling, or begun by ``name``; any case."""
    by_lower = {each.lower(): each for each in known}
    alike = difflib.get_close_matches(name.lower(), by_lower, n=1)
    begun = [each for each in by_lower if len(name) > 2 and each.startswith(name.lower())]
    return by_lower[(alike or begun)[0]] if alike or begun else None
