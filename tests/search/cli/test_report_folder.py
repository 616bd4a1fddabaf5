"""Where a report is written to: folders that cannot be used, and what is in them meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from gallery import build

from tuneoff.search.cli.main import main
from tuneoff.search.store.database import Database
from tuneoff.search.study.study import Study

FILES = ["report.html", "report.json", "report.md"]


@pytest.fixture(scope="module")
def study(sqlite_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A small study with a finished trial."""
    return build(sqlite_database, tmp_path_factory.mktemp("gallery"), "one-trial")


@pytest.fixture
def report(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Writes a report into a folder; the lines on standard error of the expected exit code."""
    monkeypatch.setenv("TUNEOFF_STORAGE", str(study.database))
    monkeypatch.setenv("TUNEOFF_WORK", str(study.work))

    def run(out: Path | str, code: int = 0) -> list[str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["report", study.name, "--no-publish", "-o", str(out)])
        said = capsys.readouterr().err
        assert ended.value.code == code, said
        return said.splitlines()

    return run


def in_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "out",
    [
        "a file",
        "a file/inside",
        "loop",
        "loop/inside",
        "nowhere",
        f"{'x' * 300}",
        "/dev/full",
        "/dev/full/inside",
        "/proc/report",
    ],
)
def test_what_is_no_folder(
    out: str, report: Callable[..., list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("not there/at all")
    before = sorted(path.name for path in tmp_path.iterdir())
    (line,) = report(out, code=2)
    assert line.startswith("Error: ")
    assert out[:60] in line
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "a file").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "with spaces and 'quotes'",
        "[bold]rich[/bold] <b>",
        "line\nend",
        "grün 漢字",
        "-o",
        "not\udcffutf-8",
    ],
)
def test_any_name_of_a_folder_will_do(
    name: str, report: Callable[..., list[str]], tmp_path: Path
) -> None:
    report(tmp_path / name / "deep")
    assert sorted(in_folder(tmp_path / name / "deep")) == FILES


@pytest.mark.slow
def test_a_link_to_a_folder_is_that_folder(
    report: Callable[..., list[str]], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    report(tmp_path / "link")
    assert sorted(in_folder(tmp_path / "there")) == FILES


@pytest.mark.slow
def test_a_folder_where_a_file_goes(report: Callable[..., list[str]], tmp_path: Path) -> None:
    """All stays as it was, the other files too."""
    report(tmp_path)
    (tmp_path / "report.html").unlink()
    (tmp_path / "report.html").mkdir()
    (tmp_path / "report.md").write_text("older")
    (line,) = report(tmp_path, code=2)
    assert "cannot write the report into" in line
    assert (tmp_path / "report.md").read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


@pytest.mark.slow
def test_a_disk_that_becomes_full_leaves_the_old_report_whole(
    report: Callable[..., list[str]], make_disk: Callable[[str, str], Path]
) -> None:
    """At every size at which the new one does not fit, however much of it does."""
    disk = make_disk("disk", "12m")
    out = disk / "report"
    report(out)
    before = in_folder(out)
    size = sum(map(len, before.values()))
    for room in (0, 4096, size // 2, size - 8192):
        (disk / "fill").unlink(missing_ok=True)
        with pytest.raises(OSError, match="No space left"):
            (disk / "fill").write_bytes(bytes(12 * 2**20))
        with (disk / "fill").open("r+b") as file:
            file.truncate((disk / "fill").stat().st_size - room)
        (line,) = report(out, code=2)
        assert "No space left" in line
        assert in_folder(out) == before
    (disk / "fill").unlink()
    report(out)
    assert sorted(in_folder(out)) == FILES


@pytest.mark.slow
def test_a_disk_that_is_read_only_keeps_its_report(
    report: Callable[..., list[str]], make_disk: Callable[[str, str], Path]
) -> None:
    disk = make_disk("disk", "12m")
    report(disk)
    before = in_folder(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=30)
    (line,) = report(disk, code=2)
    assert "Read-only" in line
    (line,) = report(disk / "new", code=2)
    assert "Read-only" in line
    assert in_folder(disk) == before


@pytest.mark.slow
def test_two_at_once_leave_one_whole_report(study: Study, tmp_path: Path) -> None:
    out = tmp_path / "report"
    words = ["report", study.name, "--no-publish", "-o", str(out)]
    words += ["--storage", str(study.database), "--work", str(study.work)]
    command = [sys.executable, "-P", "-m", "tuneoff", *words]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [process.wait(120) for process in both] == [0, 0, 0]
    assert sorted(in_folder(out)) == FILES
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>")
    assert json.loads((out / "report.json").read_text(encoding="utf-8"))["results"]
