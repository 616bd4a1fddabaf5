"""The benchmark of scale runs both sides, and loses no trial of many workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_both_sides_run_all_their_trials(script_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    out = tmp_path / "scale.json"
    command = [sys.executable, str(script_folder / "scale.py"), "--sizes", "5,12", "--trials", "10"]
    command += ["--workers", "3", "--rounds", "2", "--epoch-seconds", "0.01", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=script_folder.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert [row["finished"] for row in found["cost"]] == [5, 12]
    assert all(row["ratio"] > 0 and row["ours_ms"] > 0 for row in found["cost"])
    assert [row["side"] for row in found["many"]] == ["ours", "bare"]
    for row in found["many"]:
        assert (row["trials"], row["errors"]) == (6, [])
        assert row["connections"] >= 3
