"""Figures in the terminal: no wider than it, without colours, and a line where there is nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.search.cli.main import main
from tuneoff.search.cli.plotting import CHARTS, Chart, Series, drawn
from tuneoff.search.work.worker import work

values = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 3))
series = st.builds(
    lambda name, points, joined: Series(
        name, sorted(x for x, _ in points), [y for _, y in points], joined
    ),
    name=st.text(max_size=40),
    points=st.lists(st.tuples(values, values), min_size=1, max_size=30),
    joined=st.booleans(),
)


@pytest.mark.slow
@given(
    many=st.lists(series, min_size=1, max_size=12),
    width=st.integers(40, 160),
    plain=st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_a_chart_fits_and_commands_nothing(many: list[Series], width: int, plain: bool) -> None:
    lines = drawn(Chart("t\x1b[2J", "x", "y", many), width, 24, ascii_only=plain)
    assert all(len(line) <= width for line in lines)
    assert not any("\x1b" in line for line in lines)
    if plain:
        assert "┤" not in "".join(lines)


def test_an_axis_is_logarithmic_where_values_are_far_apart() -> None:
    points = Series("a", [1e-4, 1e-2, 1.0], [1.0, 2.0, 3.0], joined=False)
    last = drawn(Chart("t", "x", "y", [points]), 80, 24)[-1].split()
    assert float(last[0]) == pytest.approx(1e-4)
    assert float(last[len(last) // 2]) == pytest.approx(1e-2)


@pytest.mark.slow
@pytest.mark.parametrize("figure", list(CHARTS))
def test_a_study_is_drawn_from_its_first_moment_on(
    figure: str, sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    url = sqlite_database.url.render_as_string(hide_password=False)
    monkeypatch.setenv("TUNEOFF_STORAGE", url)
    arms = {"bayes": {"sampler": "random"}, "hand": {"configs": [{"lr": 0.1}]}}
    study = make_study(sqlite_database, arms=arms, repeats=2)

    def said() -> str:
        with pytest.raises(SystemExit) as ended:
            main(["plot", study.name, figure])
        assert ended.value.code == 0
        return capsys.readouterr().out

    assert said() == f"{study.name}: there is nothing to draw yet.\n"
    work(study, study.arms, make_trainer(), me, never)
    assert "┤" in said()


def test_a_figure_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["plot", "digits", "nothing"])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
