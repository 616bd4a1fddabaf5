"""`report` of several studies, and `compare --json --summary`, on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from documents import check_document
from gallery import build, open_gallery

from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.study.opening import open_study

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A gallery with two studies that have an answer, and one in which nothing has run."""
    place = tmp_path_factory.mktemp("several")
    database = open_gallery(place)
    for name in ("better", "worse", "nothing"):
        build(database, place, name)
    yield place
    database.close()


@pytest.fixture
def tuneoff(folder: Path, monkeypatch: pytest.MonkeyPatch, command_line: Run) -> Run:
    """Runs a command line on the gallery: its exit code, and what it said."""
    monkeypatch.setenv("TUNEOFF_STORAGE", f"sqlite:///{folder / 'gallery.db'}")
    monkeypatch.setenv("TUNEOFF_WORK", str(folder / "work"))
    monkeypatch.setenv("COLUMNS", "80")
    return command_line


@pytest.mark.slow
class TestSeveral:
    def test_one_page(self, tuneoff: Run, tmp_path: Path) -> None:
        code, said = tuneoff("report", "better", "worse", "nothing", "-o", str(tmp_path / "out"))
        assert code == 0, said
        assert all(len(line) <= 80 for line in said.splitlines() if "Report:" not in line)
        assert "Over 2 studies" in " ".join(said.split())
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "studies.html", "studies.md", "studies.json",
        }  # fmt: skip
        content = json.loads((tmp_path / "out" / "studies.json").read_text())
        check_document("studies", content)
        assert [row["name"] for row in content["rows"]] == ["better", "worse", "nothing"]

    def test_a_name_twice_counts_once(self, tuneoff: Run, tmp_path: Path) -> None:
        out = tmp_path / "out"
        code, said = tuneoff("report", "better", "better", "--no-publish", "-o", str(out))
        assert code == 0
        assert "better is named 2 times; it counts once" in said
        assert (out / "report.html").exists()

    def test_an_unknown_name(self, tuneoff: Run, tmp_path: Path) -> None:
        code, said = tuneoff("report", "better", "bettr", "-o", str(tmp_path / "out"))
        assert code == 2
        assert said.startswith("Error: there is no study bettr in ")
        assert not (tmp_path / "out").exists()

    def test_an_unknown_reference(self, tuneoff: Run, tmp_path: Path) -> None:
        code, said = tuneoff("report", "better", "worse", "--reference", "no", "-o", str(tmp_path))
        assert (code, said.partition(";")[0]) == (2, "Error: no study has an arm 'no'")

    def test_into_the_work_folder_by_default(self, tuneoff: Run, folder: Path) -> None:
        code, _ = tuneoff("report", "better", "worse")
        assert code == 0
        assert (folder / "work" / "side-by-side" / "studies.html").exists()

    def test_nothing_to_pool(self, tuneoff: Run, tmp_path: Path) -> None:
        code, said = tuneoff("report", "better", "nothing", "-o", str(tmp_path))
        assert code == 0
        assert "cannot be pooled: only 1 of 2 studies, better, has" in " ".join(said.split())


@pytest.mark.slow
class TestSummary:
    def test_is_short_and_whole(self, tuneoff: Run) -> None:
        code, said = tuneoff("compare", "better", "--json", "--summary")
        assert code == 0
        content = json.loads(said)
        check_document("summary", content)
        assert content["pairs"][0]["outcome"] == "better"
        command = content["settings"]["command"]
        assert command.startswith("tuneoff export better --storage sqlite:///")
        assert " -o best.toml && tuneoff train best.toml --work " in command

    def test_the_long_form_has_its_schema(self, tuneoff: Run) -> None:
        _, said = tuneoff("compare", "better", "--json")
        check_document("compare", json.loads(said))

    def test_without_json(self, tuneoff: Run) -> None:
        assert tuneoff("compare", "better", "--summary") == (
            2, "Error: --summary goes with --json; add that, or leave it out\n",
        )  # fmt: skip


@pytest.mark.slow
class TestList:
    def test_the_answer_of_the_last_comparison(self, tuneoff: Run) -> None:
        for name in ("better", "worse", "nothing"):
            assert tuneoff("compare", name)[0] == 0
        code, said = tuneoff("list")
        assert code == 0
        assert all(len(line) <= 80 for line in said.splitlines())
        rows = {
            line.split()[0]: " ".join(line.split()) for line in said.splitlines() if line.split()
        }
        assert "bayes better than" in " ".join(said.split())
        assert rows["nothing"].startswith("nothing not begun")
        lines = {line["name"]: line for line in json.loads(tuneoff("list", "--json")[1])}
        assert lines["better"]["answer"].startswith("bayes better than hand (+")
        assert lines["worse"]["answer"].startswith("bayes worse than hand (-")
        assert (lines["nothing"]["answer"], lines["nothing"]["is_early"]) == ("", False)
        assert lines["better"]["arms"][:2] == ["bayes", "hand"]

    def test_a_study_that_has_gone_on(
        self, tuneoff: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert tuneoff("compare", "worse")[0] == 0
        database = open_gallery(folder)
        study = open_study(database, "worse", folder / "work")
        attempt = attempts.insert(database, Worker.here("cpu"), study.arms[0].name, 0, 99, 0, 3)
        attempts.close(database, attempt, "released")
        database.close()
        _, said = tuneoff("list")
        assert "so far: bayes worse" in said, said

    def test_another_reference_is_not_kept(self, tuneoff: Run) -> None:
        assert tuneoff("compare", "better")[0] == 0
        before = tuneoff("list", "--json")
        assert tuneoff("compare", "better", "--reference", "hand")[0] == 0
        assert tuneoff("list", "--json") == before
