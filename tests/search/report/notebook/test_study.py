"""A study in a notebook: tables that add up, documented columns, figures, and what is missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from gallery import build, open_gallery
from plotly import graph_objects as go

import tuneoff
from tuneoff import LoadedStudy, StudyResults, UserError
from tuneoff.search.errors import StudyError
from tuneoff.search.report.notebook.columns import COLUMNS
from tuneoff.search.results.compare import compare
from tuneoff.search.results.plain import plain

pd: Any = pytest.importorskip("pandas")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("notebook")
    database = open_gallery(folder)
    for name in ("better", "nothing", "nan", "hostile"):
        build(database, folder, name)
    yield folder
    database.close()


@cache
def load(gallery: Path, name: str, **options: Any) -> LoadedStudy:
    """A study, loaded once for all tests."""
    return tuneoff.load_study(name, f"sqlite:///{gallery / 'gallery.db'}", **options)


class TestResults:
    def test_it_is_what_it_was(self, gallery: Path) -> None:
        """Whoever used the results as they were goes on as before."""
        found = load(gallery, "better")
        assert isinstance(found, StudyResults)
        assert found.name == "better"
        assert compare(found) == found.comparison
        assert set(plain(found)) == {field.name for field in fields(StudyResults)}
        assert found.answer == found.comparison.verdict

    def test_reference(self, gallery: Path) -> None:
        found = load(gallery, "better", reference="hand")
        assert {pair.reference for pair in found.comparison.pairs} == {"hand"}
        assert set(found.pairs()["reference"]) == {"hand"}
        with pytest.raises(StudyError, match="has no arm 'no'"):
            load(gallery, "better", reference="no")

    def test_unknown_study(self, gallery: Path) -> None:
        with pytest.raises(StudyError, match="there is no study digits"):
            load(gallery, "digits")


class TestTables:
    @pytest.mark.parametrize("name", COLUMNS)
    @pytest.mark.parametrize("case", ["better", "nothing", "nan", "hostile"])
    def test_columns_are_those_that_are_documented(
        self, gallery: Path, case: str, name: str
    ) -> None:
        found = load(gallery, case)
        table = getattr(found, name)()
        own = [column for column in table.columns if not column.startswith("params_")]
        assert own == list(found.columns(name))
        assert all(found.columns(name).values())

    def test_they_add_up(self, gallery: Path) -> None:
        found = load(gallery, "better")
        trials, attempts, per_arm = found.trials(), found.attempts(), found.per_arm()
        spent = trials.groupby("arm")["epochs"].sum()
        assert dict(spent) == dict(zip(per_arm["arm"], per_arm["spent"], strict=True))
        searched = attempts[attempts["arm"].isin(found.arms)]
        assert dict(searched.groupby("arm")["epochs"].sum()) == dict(spent)
        assert len(found.epochs()) == sum(len(t.errors) for t in found.report.trials)
        last = found.epochs().groupby(["arm", "repeat", "trial"])["error"].last()
        known = trials[trials["last_epoch"] > 0].set_index(["arm", "repeat", "trial"])["error"]
        pd.testing.assert_series_equal(last.sort_index(), known.sort_index(), check_names=False)

    def test_differences_have_the_mean_of_the_answer(self, gallery: Path) -> None:
        found = load(gallery, "better")
        means = found.differences().groupby("baseline")["difference"].mean()
        for pair in found.comparison.pairs:
            assert means[pair.baseline] == pytest.approx(pair.mean)

    def test_types(self, gallery: Path) -> None:
        found = load(gallery, "better")
        attempts = found.attempts()
        assert str(attempts["started"].dtype).endswith("UTC]")
        assert (attempts["ended"] >= attempts["started"]).all()
        picks = found.picks()
        assert picks["validation_error"].between(0, 1).all()
        assert [column for column in picks if column.startswith("params_")]

    def test_columns_say_what_the_study_measures(self, gallery: Path) -> None:
        found = load(gallery, "better")
        assert found.columns("trials")["best_error"] == "its lowest validation error, 0 to 1"
        assert found.columns("differences")["difference"].endswith("is better; -1 to 1")

    def test_unknown_table(self, gallery: Path) -> None:
        with pytest.raises(StudyError, match="there is no table 'arms'; there are: trials, epochs"):
            load(gallery, "nothing").columns("arms")

    def test_without_pandas_one_line_says_what_to_install(
        self, gallery: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(UserError, match=r'install -c constraints.txt -e "\.\[notebook\]"'):
            load(gallery, "better").trials()


class TestFigures:
    def test_by_name(self, gallery: Path) -> None:
        found = load(gallery, "better")
        figures = found.figures()
        assert {"anytime", "recommendations"} <= set(figures)
        assert all(isinstance(figure, go.Figure) for figure in figures.values())
        assert found.figure("anytime") == figures["anytime"]

    def test_unknown_figure(self, gallery: Path) -> None:
        with pytest.raises(StudyError, match=r"has no figure 'x'; it has: .*anytime"):
            load(gallery, "better").figure("x")
        with pytest.raises(StudyError, match="has no figure 'x'"):
            load(gallery, "nothing").figure("x")


def test_loading_imports_neither_pandas_nor_torch() -> None:
    code = "import sys, tuneoff; tuneoff.load_study; print({'pandas', 'torch'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
