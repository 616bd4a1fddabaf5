"""What people see on the terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.cli.console import PlainConsole
from tuneoff.search.cli.status_view import print_status, status_screen
from tuneoff.search.results.status import ArmStatus, Busy, Status


def test_status() -> None:
    """Each column says what it has, in eighty columns; foreign text is never mark-up."""
    arms = (
        ArmStatus("bayes", 120, 360, 9.0, {"complete": 7, "paused": 12}, 0.1234, 2),
        ArmStatus("full", 0, 0, 0.0, {}, None, 0),
    )
    busy = Busy("host/7", "cuda:0", "digits/bayes/0#3", 1, 2, 9, 61.0, 4.0)
    status = Status(
        "digits", True, arms, (busy,), 125.0, ("digits/bayes/1#4: no [bold] file",), images=100
    )
    file = StringIO()
    print_status(PlainConsole(file=file, width=80), status)
    lines = [" ".join(line.split()) for line in file.getvalue().splitlines()]
    (bayes,) = (line for line in lines if line.startswith("bayes"))
    assert bayes == "bayes 120/360 12.34% ± 3.29 7 complete, 12 paused 1 2"
    assert "full 0/0 – – –" in lines
    assert "±: standard error on 100 images" in lines
    assert (
        "host/7 on cuda:0: digits/bayes/0#3, epoch 2 of 9, for 61 s (last progress 4 s ago),"
        " attempt 2"
    ) in " ".join(lines)
    assert "About 2 min left at this speed." in lines
    assert "failed digits/bayes/1#4: no [bold] file" in lines


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({"complete": 2, "diverged": 1}, "every trial is finished. `tuneoff compare digits`"),
        ({"complete": 2, "waiting": 1}, "One that starts takes up to a minute"),
        ({"complete": 2, "interrupted": 1}, "One that starts takes up to a minute"),
    ],
)
def test_a_study_at_its_end_awaits_no_worker(states: dict[str, int], said: str) -> None:
    arms = (
        ArmStatus("bayes", 286, 288, 9.0, {"complete": 7, "pruned": 12}, 0.1, 0),
        ArmStatus("full", 18, 18, 9.0, states, 0.1, 0),
    )
    file = StringIO()
    print_status(PlainConsole(file=file, width=80), Status("digits", False, arms, (), None, ()))
    assert said in " ".join(file.getvalue().split())


def test_sentences_are_wrapped_between_words_on_a_narrow_terminal() -> None:
    arms = (ArmStatus("bayes", 1, 9, 9.0, {}, 0.1, 0),)
    sentence = "The bound on full training, epochs in [compare], is too small for every pick."
    status = Status("digits", True, arms, (), None, (), unjudged=sentence, overruns=(sentence,))
    file = StringIO()
    print_status(PlainConsole(file=file, width=40), status)
    assert max(map(len, file.getvalue().splitlines())) <= 40
    text = " ".join(file.getvalue().split())
    assert text.count(sentence) == 2
    assert "Stopped by `tuneoff stop`: workers leave after their trials." in text


@pytest.mark.slow
@given(
    arms=st.integers(1, 60),
    busy=st.integers(0, 60),
    width=st.integers(20, 160),
    height=st.integers(16, 60),
)
@settings(max_examples=25, deadline=None)
def test_a_screen_is_no_wider_than_the_terminal(
    arms: int, busy: int, width: int, height: int
) -> None:
    of = tuple(
        ArmStatus(f"a-rather-long-arm-{i}", 9, 90, 9.0, {"complete": 7, "paused": 2}, 0.1, i % 2)
        for i in range(arms)
    )
    at = tuple(
        Busy(f"host/{i}", "cuda:0", f"s/a-rather-long-arm-{i % arms}/0#3", 0, 2, 9, 61.0, 4.0)
        for i in range(busy)
    )
    file = StringIO()
    console = PlainConsole(file=file, width=width, height=height)
    console.print(status_screen(console, Status("s", False, of, at, 125.0, (), images=100)))
    lines = file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert ("more at work" in file.getvalue()) == (busy > 8)
