"""What a command says to tuneoff, through the functions that its code imports."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import tuneoff


@pytest.fixture
def reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "report"
    monkeypatch.setenv("TUNEOFF_REPORT", str(path))
    return path


def see(report: Path, epoch: int) -> None:
    Path(f"{report}.seen").write_text(str(epoch))


def test_a_report_is_a_line_of_json(reported: Path) -> None:
    see(reported, 3)
    tuneoff.report(1, np.float32(0.5))
    tuneoff.report(2, 0.25, test=1)
    tuneoff.report(3, float("nan"))
    assert [json.loads(line) for line in reported.read_text().splitlines()] == [
        {"epoch": 1, "value": 0.5},
        {"epoch": 2, "value": 0.25, "test": 1.0},
        {"epoch": 3, "value": None},
    ]


def test_a_report_waits_until_its_epoch_was_seen(reported: Path) -> None:
    see(reported, 0)
    thread = threading.Thread(target=tuneoff.report, args=(1, 0.5))
    thread.start()
    while not reported.exists():
        time.sleep(0.001)
    thread.join(0.1)
    assert thread.is_alive()
    see(reported, 1)
    thread.join()


def test_of_several_ranks_the_first_one_reports(
    reported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("RANK", "1")
    tuneoff.report(1, 0.5)
    assert not reported.exists()


@pytest.mark.parametrize("epoch", [0, 1.5, -1])
def test_what_is_no_epoch_is_refused(reported: Path, epoch: int) -> None:
    with pytest.raises(ValueError, match="whole numbers from 1 on"):
        tuneoff.report(epoch, 0.5)
    assert not reported.exists()


def test_the_folder_and_the_epoch_are_those_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEOFF_FOLDER", str(tmp_path / "files"))
    monkeypatch.setenv("TUNEOFF_RESUME_EPOCH", "4")
    assert tuneoff.folder() == tmp_path / "files"
    assert tuneoff.resume_epoch() == 4


def test_outside_tuneoff_a_line_is_printed_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    code = """
import sys
from tuneoff import folder, report, resume_epoch
report(1, 0.25)
print(folder("mine"), resume_epoch(), *sorted(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == "not run by tuneoff; epoch 1: 0.25\n"
    assert (tmp_path / "mine").is_dir()
    assert done.stdout.startswith("mine 0 ")
    heavy = {"torch", "numpy", "optuna", "scipy", "tuneoff.search", "tuneoff.trainer", "subprocess"}
    assert not heavy & set(done.stdout.split())
