"""The shell's Tab key: commands, options and names of studies, at once, and no errors."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tuneoff.search.cli.main import COMMANDS, main
from tuneoff.search.store.database import Database
from tuneoff.search.study.study import Study


@pytest.fixture
def complete(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], list[str]]:
    """What bash is offered after these words."""

    def ask(line: str) -> list[str]:
        monkeypatch.setenv("_TUNEOFF_COMPLETE", "bash_complete")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        with pytest.raises(SystemExit) as ended:
            main([])
        assert ended.value.code == 0
        said = capsys.readouterr()
        assert said.err == ""
        return [offer.partition(",")[2] for offer in said.out.splitlines() if offer]

    return ask


def test_commands_and_options(complete: Callable[[str], list[str]]) -> None:
    assert complete("tuneoff ") == list(COMMANDS)
    assert complete("tuneoff sta") == ["status"]
    assert "--watch" in complete("tuneoff status --")


def test_names_of_studies(
    complete: Callable[[str], list[str]],
    database: Database,
    make_study: Callable[..., Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(database)
    url = database.url.render_as_string(hide_password=False)
    assert study.name in complete(f"tuneoff compare --storage {url} ")
    monkeypatch.setenv("TUNEOFF_STORAGE", url)
    assert complete(f"tuneoff status {study.name}") == [study.name]
    assert complete("tuneoff status nosuch") == []
    assert study.name in complete("tuneoff worker ")


def test_an_odd_file_name_and_the_one_in_this_folder(
    complete: Callable[[str], list[str]],
    make_study: Callable[..., Study],
    sqlite_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    study = make_study(sqlite_database)
    source = Path(sqlite_database.url.database or "")
    (tmp_path / "odd % ?#.db").symlink_to(source)
    (tmp_path / "tuneoff.db").symlink_to(source)
    monkeypatch.setenv("TUNEOFF_STORAGE", f"sqlite:///{quote(str(tmp_path / 'odd % ?#.db'))}")
    assert complete(f"tuneoff status {study.name}") == [study.name]
    monkeypatch.delenv("TUNEOFF_STORAGE")
    monkeypatch.chdir(tmp_path)
    assert complete(f"tuneoff status {study.name}") == [study.name]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nosuch/folder/x.db",
        "sqlite:///README.md",
        "sqlite://",
        "nonsense",
        "postgresql://127.0.0.1:1/nosuch",
        "postgresql://[::1",
    ],
)
def test_whatever_is_wrong_is_not_said(
    complete: Callable[[str], list[str]],
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "README.md").write_text("no database")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUNEOFF_STORAGE", url)
    assert complete("tuneoff status ") == []
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def test_nothing_slow_is_imported(
    make_study: Callable[..., Study], sqlite_database: Database
) -> None:
    study = make_study(sqlite_database)
    code = (
        "import sys\n"
        "from tuneoff.search.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*{'sqlalchemy', 'optuna', 'numpy', 'pydantic', 'torch', 'rich'} & set(sys.modules))"
    )
    words = {"COMP_WORDS": f"tuneoff status {study.name}", "COMP_CWORD": "2"}
    asked = {"_TUNEOFF_COMPLETE": "bash_complete", "TUNEOFF_STORAGE": str(sqlite_database.url)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **words, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n") == [f"plain,{study.name}", "", ""]
