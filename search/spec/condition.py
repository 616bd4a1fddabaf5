"""Conditions of searched parameters: "optimizer = 'adamw'" says where one plays a part."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_FORM = re.compile(r"""\s*(?:"([^"]+)"|([\w./-]+))\s*(==?|in\b)\s*(.+?)\s*""")


@dataclass(frozen=True)
class Condition:
    """Where a parameter plays a part: where another one has one of these values.

    Attributes:
        on: the other parameter's name.
        values: its values there.
    """

    on: str
    values: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """A condition as a study file writes it: "NAME = VALUE" or "NAME in [VALUE, ...]", with
        values as in TOML.

        Raises:
            ValueError: it has another form.
        """
        found = _FORM.fullmatch(text)
        values = None if found is None else _values(found[4], is_list=found[3] == "in")
        if found is None or values is None:
            raise ValueError(
                f"when = {text!r} is no condition; write it as \"optimizer = 'adamw'\" or "
                "\"optimizer in ['adamw', 'lion']\""
            )
        return cls(found[1] or found[2], values)

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether it does, for these parameters; of a parameter that they lack it is taken to."""
        return self.on not in params or self._has(params[self.on])

    def _has(self, value: Any) -> bool:
        # 1 and true are equal, but not the same choice.
        return any(value == one and type(value) is type(one) for one in self.values)

    def check(self, choices: Mapping[str, tuple[Any, ...] | None]) -> None:
        """Make sure that it can hold, and can fail to.

        Args:
            choices: of each searched parameter without a condition of its own; None for a range.

        Raises:
            ValueError: it cannot.
        """
        if self.on not in choices:
            raise ValueError(
                f"when: {self.on} is not searched in this study, or has a condition itself; name a "
                "parameter of [space] that has choices, and no condition"
            )
        known = choices[self.on]
        if known is None:
            raise ValueError(f"when: {self.on} is a range; name a parameter that has choices")
        for value in self.values:
            if not Condition(self.on, known)._has(value):
                raise ValueError(
                    f"when: {value!r} is none of the choices of {self.on}: "
                    f"{', '.join(map(repr, known))}"
                )
        if all(self._has(choice) for choice in known):
            raise ValueError("when: holds for every choice; take it out")


def _values(text: str, is_list: bool) -> tuple[Any, ...] | None:
    """What stands after "=" or "in"; None if it is something else than a value or a list."""
    try:
        read = tomllib.loads(f"x = {text}")
    except tomllib.TOMLDecodeError:
        return None
    values = read["x"] if is_list else [read["x"]]
    plain = isinstance(values, list) and all(
        isinstance(value, bool | int | float | str) for value in values
    )
    return tuple(values) if plain and values and list(read) == ["x"] else None
