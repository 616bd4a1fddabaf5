"""Foreign text on the console, in every command's output: never mark-up, never a command."""

from __future__ import annotations

import ast
import io
import logging
import re
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.table import Table

import tuneoff.search.cli
from tuneoff.search.cli.console import PlainConsole, lines, print_data, styled
from tuneoff.search.cli.failures import code_of
from tuneoff.search.cli.main import _OneLine
from tuneoff.search.cli.status_view import print_status
from tuneoff.search.errors import SearchError
from tuneoff.search.results.status import ArmStatus, Busy, Status
from tuneoff.search.store.workers import Failing

HOSTILE = "[/mnt/x.png] [enforce fail at x] :smile: \x1b[2J\x07\r\u202e\udce9"


def printed(*objects: object, terminal: bool = False) -> str:
    """What a console prints of these, its own colours taken out again."""
    file = io.StringIO()
    PlainConsole(file=file, width=1000, force_terminal=terminal).print(*objects, soft_wrap=True)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()) if terminal else file.getvalue()


@given(st.text(st.characters()), st.booleans())
@example(HOSTILE, True)
@example("[/]", False)
@example("[bold", False)
@example("[@click=f()]x[/]", True)
def test_any_string_can_be_printed_and_none_is_a_command(text: str, terminal: bool) -> None:
    table = Table("", text, title=text, caption=text)
    table.add_row(text, styled(text, "red"))
    for shown in (
        printed(text, terminal=terminal),
        printed(styled(text, "red"), terminal=terminal),
    ):
        assert shown.removesuffix("\n").isprintable() or "\xa0" in text or not text.isascii()
        assert shown.count("\n") == 1
    shown = printed(table, lines(text, text), terminal=terminal)
    assert not set(map(chr, [*range(10), *range(11, 32), *range(127, 160)])) & set(shown)
    shown.encode()


def test_brackets_are_shown() -> None:
    assert printed("[/mnt/x.png] [red]x[/] :smile: 1") == "[/mnt/x.png] [red]x[/] :smile: 1\n"


def test_a_status_with_hostile_names_shows_them() -> None:
    arms = (ArmStatus(HOSTILE, 1, 2, 9.0, {HOSTILE: 7}, 0.1, 2),)
    busy = Busy(HOSTILE, HOSTILE, HOSTILE, 1, 2, 9, 61.0, 4.0)
    file = io.StringIO()
    failing = (Failing(HOSTILE, HOSTILE, 5, 4, HOSTILE),)
    status = Status(HOSTILE, True, arms, (busy,), 125.0, (HOSTILE,), failing)
    print_status(PlainConsole(file=file, width=1000), status)
    assert (
        r"failed [/mnt/x.png] [enforce fail at x] :smile: \x1b[2J\x07\r\u202e\udce9"
        in file.getvalue()
    )
    assert "\x1b" not in file.getvalue()


def test_an_error_with_a_hostile_name_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise SearchError(HOSTILE + "\nError: all is well")

    assert code_of(fail) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert r"\x1b[2J\x07" in said
    assert "\x1b" not in said


def test_a_log_record_with_a_hostile_name_is_one_line() -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s\n at x://a:b@c", (HOSTILE,), None)
    said = _OneLine("%(message)s").format(record)
    assert "\n" not in said
    assert "\x1b" not in said
    assert "x://a:***@c" in said


@pytest.mark.parametrize("terminal", [False, True])
def test_data_commands_no_terminal_and_reaches_a_program_as_it_is(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    print_data("image,class\n\x1b[2J.png,cat\n")
    shown = r"\x1b[2J.png" if terminal else "\x1b[2J.png"
    assert capsys.readouterr().out == f"image,class\n{shown},cat\n"


@pytest.mark.parametrize("columns", ["0", "1", "19"])
def test_a_terminal_that_does_not_know_its_width_is_written_to(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    file = io.StringIO()
    PlainConsole(file=file).print("the best error is 1.74%")
    assert file.getvalue() == "the best error is 1.74%\n"


def test_no_other_module_makes_styled_text() -> None:
    """So that nobody gives rich a foreign string as mark-up, or without its commands taken out."""
    for file in Path(tuneoff.search.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and file.name != "console.py":
                assert node.module not in ("rich", "rich.style", "rich.text", "rich.markup"), file
                if node.module == "rich.console":  # these leave each string to the console
                    assert {name.name for name in node.names} <= {"Group", "RenderableType"}, file
