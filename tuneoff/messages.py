"""What messages are made of: counts, commands, and foreign text made fit to stand in one."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import category

_SECRETS: Final = (
    # The password of a URL; up to the last "@" of the word, since one in it may not be encoded.
    (re.compile(r"(\w+://[^\s:/?]*:)\S*@"), r"\1***@"),
    # And in a URL's query or a connection string, however it is spelt: pasword, passwd, pwd...
    (re.compile(r"(?i)(\b\w*(?:pass?w?o?r?d|passwd|pwd|secret)\w*\s?=\s?)[^\s&\"']+"), r"\1***"),
)

_JOINERS: Final = "\u200c\u200d"


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its type's name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """A number of things: "1 repeat", "1,200 repeats"; ``nouns`` where the plural is another."""
    return f"{count:,} {noun if count == 1 else nouns or f'{noun}s'}"


def how_to_install(extra: str) -> str:
    """The command that adds one of our optional dependencies, as the README gives it."""
    return f'uv pip install -c constraints.txt -e ".[{extra}]" (in the folder of tuneoff)'


def printable(text: str) -> str:
    r"""``text`` in one line that a terminal shows as it is and takes for no command.

    Control and formatting characters (line ends, ESC, marks that turn the direction of text round)
    and bytes of file names that are not UTF-8 are written as Python writes them: ``\x1b``. Those
    that join letters or keep them apart stay: some languages are not written without them.
    """
    if text.isprintable():
        return text
    return "".join(map(_shown, text))


def without_passwords(text: str) -> str:
    """``text`` with ``***`` for every password in a URL or a connection string in it."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def _shown(character: str) -> str:
    known = character.isprintable() or category(character) == "Zs" or character in _JOINERS
    return character if known else character.encode("unicode_escape").decode()
