"""Figures as files: every one in every format, on white; one line where they cannot be drawn."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tuneoff.search.cli.main import main
from tuneoff.search.errors import UserError
from tuneoff.search.report.data import read_report_data
from tuneoff.search.report.figures import all_panels
from tuneoff.search.report.figures.why import why_panels
from tuneoff.search.report.pictures import check_pictures, write_pictures
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.worker import work


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_every_figure_is_drawn_on_white(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any, tmp_path: Path
) -> None:
    arms = {"bayes": {"sampler": "random"}, "hand": {"configs": [{"lr": 0.1}]}}
    study = make_study(sqlite_database, arms=arms, repeats=2)
    work(study, study.arms, make_trainer(), me, never)
    data = read_report_data(Snapshot.of(study))
    written = write_pictures(data, tmp_path, ["png", "svg", "png"])
    panels = [*why_panels(data), *all_panels(data)]
    assert len(written) == len(set(written)) == 2 * sum(len(one.figures) for one in panels) > 8
    for path in written:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
                assert len(image.convert("RGB").getcolors(10**7) or ()) > 20
        else:
            assert path.read_text().startswith("<svg")


def test_a_format_that_there_is_not_is_one_line() -> None:
    with pytest.raises(UserError, match="--figures gif: choose from png, svg"):
        check_pictures(["png", "gif"])


@pytest.mark.parametrize(
    "environment",
    [{"PATH": "/nowhere", "BROWSER_PATH": ""}, {"BROWSER_PATH": "/nowhere/chrome"}],
)
def test_without_a_browser_nothing_is_written(
    environment: dict[str, str], sqlite_database: Any, make_study: Any, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    study = make_study(sqlite_database)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TUNEOFF_STORAGE", sqlite_database.url.render_as_string(False))
    with pytest.raises(SystemExit) as ended:
        main(["report", study.name, "-o", str(tmp_path / "out"), "--figures", "png"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "--figures needs Chrome or Chromium" in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
