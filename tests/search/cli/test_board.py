"""The board fits every terminal, and says what matters first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.cli.board import Board, best_words, board_lines, standard_error
from tuneoff.search.results.progress import ArmProgress

arms = st.builds(
    ArmProgress,
    name=st.text(
        st.characters(categories=["L", "N"], max_codepoint=0x24F), min_size=1, max_size=60
    ),
    spent=st.integers(0, 10**6),
    budget=st.integers(0, 10**6),
    best=st.none() | st.floats(0, 1),
    about=st.booleans(),
    live=st.integers(0, 500),
)
boards = st.builds(
    Board,
    title=st.just("digits: 2 workers at work"),
    arms=st.lists(arms, max_size=60),
    images=st.integers(0, 10_000),
    left=st.sampled_from(["", "about 3 min left"]),
    answer=st.sampled_from(["", "The answer comes when all 8 repeats are in: 312 more epochs."]),
)


@pytest.mark.slow
@given(board=boards, width=st.integers(20, 200), height=st.integers(3, 60), plain=st.booleans())
def test_it_is_no_wider_and_no_higher_than_the_terminal(
    board: Board, width: int, height: int, plain: bool
) -> None:
    drawn = board_lines(board, width, height, ascii_only=plain)
    assert len(drawn) < height
    assert all(len(line) <= width for line in drawn)


@pytest.mark.slow
@given(board=boards)
def test_every_arm_is_shown_where_there_is_room(board: Board) -> None:
    drawn = board_lines(board, 200, 100)
    assert len(drawn) >= 1 + len(board.arms)
    for arm, line in zip(board.arms, drawn[1:], strict=False):
        assert line.startswith(arm.name[:8])
        assert f"{arm.spent:,}/" in line
        assert (f"{arm.live} at work" in line) == (arm.live > 0)


def test_of_fifty_arms_those_with_workers_come_first() -> None:
    many = [ArmProgress(f"arm{i:02}", 9 * (i % 2), 9, None, live=int(i == 37)) for i in range(50)]
    drawn = board_lines(Board("s: 1 worker at work", many, 100), 80, 24)
    assert any(line.startswith("arm37") and line.endswith("1 at work") for line in drawn)
    shown = sum(line.startswith("arm") for line in drawn)
    assert drawn[-1].startswith(f"and {50 - shown} more: ")


def test_at_eighty_columns_it_has_bars_and_noise() -> None:
    arm = ArmProgress("bayes", 157, 288, 0.0139, live=2)
    drawn = board_lines(Board("digits: 2 workers at work", [arm], 287, "about 2 min left"), 80, 24)
    assert drawn[1].startswith("bayes     ███████████")
    assert drawn[1].endswith("157/288  1.39% ± 0.69  2 at work")
    assert drawn[2:] == [
        "Lowest validation error ± its standard error on 287 images. About 2 min left."
    ] or drawn[2:] == [
        "Lowest validation error ± its standard error on 287 images.",
        "About 2 min left.",
    ]
    assert "#" in board_lines(Board("digits", [arm], 287), 80, 24, ascii_only=True)[1]


def test_the_noise_is_that_of_the_images() -> None:
    assert standard_error(0.5, 100) == 0.05
    assert standard_error(0.0, 100) == 0.0
    assert standard_error(0.5, 0) == 0.0
    assert best_words(ArmProgress("a", 0, 1, 0.25), 100) == "25.00% ± 4.33"
    assert best_words(ArmProgress("a", 0, 1, None), 100) == ""


def test_of_a_users_own_code_the_noise_is_not_known() -> None:
    assert best_words(ArmProgress("a", 0, 1, 0.25), 0) == "25.00%"
