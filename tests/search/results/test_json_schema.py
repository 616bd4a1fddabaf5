"""JSON Schemas of records: types, descriptions, and what cannot be described."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.json_schema import described, schema_of
from tuneoff.search.results.plain import plain


@dataclass(frozen=True)
class Inner:
    """Something within.

    Attributes:
        low, high: two ends.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Outer:
    """A record, for tests.

    Attributes:
        name: what it is called; of any
            length.
        count: how many; share: of how many.
        by_epoch: errors.
    """

    DERIVED: ClassVar = ("twice",)
    NOT_FINITE: ClassVar = ("by_epoch",)

    name: str
    count: int
    share: float | None
    kind: Literal["a", "b"]
    inner: Inner | None
    several: Sequence[Inner]
    pair: tuple[int, str]
    by_epoch: Mapping[int, float]
    free: Mapping[str, Any]

    @property
    def twice(self) -> int:
        """Two times ``count``."""
        return 2 * self.count


def test_descriptions_are_the_docstrings() -> None:
    said = described(Outer)
    assert said["name"] == "what it is called; of any length"
    assert (said["count"], said["share"]) == ("how many", "of how many")
    assert said["twice"] == "Two times ``count``."
    assert said["kind"] == ""
    assert described(Inner) == {"low": "two ends", "high": "two ends"}


inner = st.builds(Inner, st.floats(0, 1), st.floats(0, 1))


@pytest.mark.slow
@given(
    st.builds(
        Outer,
        st.text(),
        st.integers(),
        st.none() | st.floats(-1, 1),
        st.sampled_from(["a", "b"]),
        st.none() | inner,
        st.lists(inner),
        st.tuples(st.integers(), st.text()),
        st.dictionaries(st.integers(), st.floats()),
        st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
    )
)
def test_what_plain_writes_has_the_schema(record: Outer) -> None:
    content = {"schema": "tuneoff/outer/1", **plain(record)}
    jsonschema.validate(content, schema_of(Outer, "tuneoff/outer/1"))


@pytest.mark.parametrize(
    "change", [{"count": 0.5}, {"kind": "c"}, {"pair": [1]}, {"inner": {"low": 1}}, {"schema": "x"},
               {"several": [1]}, {"by_epoch": {"1": "x"}}],
)  # fmt: skip
def test_what_is_wrong_has_not(change: dict[str, Any]) -> None:
    record = Outer("n", 1, None, "a", None, [], (1, ""), {1: math.nan}, {})
    content = {"schema": "tuneoff/outer/1", **plain(record)}
    schema = schema_of(Outer, "tuneoff/outer/1")
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content | change, schema)


def test_a_type_that_is_not_json_is_refused() -> None:
    @dataclass
    class Odd:
        """Odd."""

        what: complex

    with pytest.raises(TypeError, match="complex"):
        schema_of(Odd, "tuneoff/odd/1")
