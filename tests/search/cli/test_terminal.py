"""What people see on the terminal."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from tuneoff.search.cli.terminal import print_status
from tuneoff.search.results.status import ArmStatus, Busy, Status


def test_status() -> None:
    """Each column says what it has, in eighty columns; foreign text is never mark-up."""
    arms = (
        ArmStatus("bayes", 120, 360, 9.0, {"complete": 7, "paused": 12}, 0.1234, 2),
        ArmStatus("full", 0, 0, 0.0, {}, None, 0),
    )
    busy = Busy("host/7", "cuda:0", "digits/bayes/0#3", 1, 2, 9, 61.0, 4.0)
    status = Status("digits", True, arms, (busy,), 125.0, ("digits/bayes/1#4: no [bold] file",))
    file = StringIO()
    print_status(Console(file=file, width=80), status)
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    headings = [line.strip("┃").split("┃") for line in lines if line.startswith("┃")]
    assert [" ".join(words).split() for words in zip(*headings, strict=True)] == [
        [],
        ["Epochs", "spent", "/", "budget"],
        ["Best", "error"],
        ["Trials"],
        ["Lost", "attempts"],
    ]
    assert "│ bayes │ 120 / 360 │ 12.34% │ 7 complete, 12 paused │ 2 │" in lines
    assert "│ full │ 0 / 0 │ - │ │ 0 │" in lines
    (worker,) = (line for line in lines if line.startswith("host/7"))
    assert worker == (
        "host/7 on cuda:0: digits/bayes/0#3, epoch 2 of 9, for 61 s (last progress 4 s ago), "
        "attempt 2"
    )
    assert "About 2 min left at this speed." in lines
    assert "failed digits/bayes/1#4: no [bold] file" in lines
