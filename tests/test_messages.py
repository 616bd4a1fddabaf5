"""Counts, and foreign text, in our messages."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuneoff.messages import counted, first_line, printable, without_passwords


@given(st.text(st.characters()))
@example("\x1b]0;title\x07")
@example("caf\udce9.png")
@example("abc\u202egnp.exe")
@example("two\nlines\u2028three")
def test_printable_text_is_one_line_and_holds_no_command(text: str) -> None:
    shown = printable(text).replace("\u200c", "").replace("\u200d", "")
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    shown.encode()


@pytest.mark.parametrize(
    "text", ["Ärger 図 1\xa0%", r"C:\new [bold]", "", "می\u200cخواهم", "👩\u200d🚀"]
)
def test_what_is_printable_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:pw@db/x", "postgresql://me:***@db/x"),
        ("at postgresql://me:p@s:w/d@db/x; fix", "at postgresql://me:***@db/x; fix"),
        ("postgresql://me@db/x?pasword=pw&sslmode=off", "postgresql://me@db/x?pasword=***&sslmode=off"),
        ("host=db password=pw user=me", "host=db password=*** user=me"),
        ("http://127.0.0.1:8080/ is open", "http://127.0.0.1:8080/ is open"),
        ("no password supplied", "no password supplied"),
    ],
)  # fmt: skip
def test_passwords_are_hidden(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_an_error_without_words_is_called_by_its_type() -> None:
    assert (first_line(ValueError(" a\nb")), first_line(EOFError())) == ("a", "EOFError")


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("repeat",), "0 repeats"),
        (1, ("repeat",), "1 repeat"),
        (1_200, ("repeat",), "1,200 repeats"),
        (1, ("search", "searches"), "1 search"),
        (2, ("search", "searches"), "2 searches"),
    ],
)
def test_things_are_counted(count: int, words: tuple[str, ...], said: str) -> None:
    assert counted(count, *words) == said
