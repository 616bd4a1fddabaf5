"""Passwords on the command line of a process that others can look at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tuneoff.search.cli import arguments
from tuneoff.search.cli.arguments import hide_passwords
from tuneoff.search.errors import UserError

SECRET = "open-sesame"

CODE = """
import sys
from tuneoff.search.cli import main

main.cli.main = lambda *args, **kwargs: sys.stdin.read()  # a command that takes long
main.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["launch", "digits", "--storage", f"postgresql://me:{SECRET}@db/x"],
        ["launch", f"--storage=postgresql://me:{SECRET}@db/x"],
        ["launch", "--storage", f"postgresql://me:p@ {SECRET}@db/x"],
        ["launch", "--storage", f"postgresql://me@db/x?pasword={SECRET}"],
        ["status", "digits", f"postgresql://me:{SECRET}@db/x"],
    ],
)
def test_no_other_process_sees_a_password(words: list[str]) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TUNEOFF_STORAGE"}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    seen = " ".join(psutil.Process(process.pid).cmdline())
    process.communicate("", timeout=60)
    assert SECRET not in seen
    assert seen.startswith("tuneoff ")
    assert "***" in seen
    assert "set TUNEOFF_STORAGE" in said
    assert SECRET not in said
    assert process.returncode == 0


def test_where_it_cannot_be_hidden_it_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    word = f"postgresql://me:{SECRET}@db/x"
    seen = tmp_path / "cmdline"
    seen.write_text(f"tuneoff\0status\0--storage\0{word}\0")
    monkeypatch.setattr(arguments, "_COMMAND_LINE", seen)
    monkeypatch.setattr("setproctitle.setproctitle", lambda title: None)
    with pytest.raises(UserError, match=r"set TUNEOFF_STORAGE.*~/\.pgpass") as caught:
        hide_passwords(["status", "--storage", word])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("words", [["status", "--storage", "postgresql://me@db/x"], ["--version"]])
def test_without_a_password_nothing_is_changed_or_said(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "setproctitle", raising=False)
    hide_passwords(words)
    assert "setproctitle" not in sys.modules
    assert capsys.readouterr().err == ""
