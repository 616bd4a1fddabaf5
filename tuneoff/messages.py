"""Messages of foreign errors, made short enough to stand in one of ours."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its type's name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
