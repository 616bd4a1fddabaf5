"""The benchmark of reading fills both databases and measures all that it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_everything_is_measured_on_both_databases(script_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    out = tmp_path / "reading.json"
    command = [sys.executable, str(script_folder / "scale_reading.py"), "--trials", "40"]
    command += ["--rounds", "1", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=script_folder.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    start, *rows = json.loads(out.read_text())
    assert set(start["start"]) == {"--version", "--help", "status --help"}
    assert [row["database"] for row in rows] == ["sqlite", "postgres"]
    for row in rows:
        assert row["trials"] == 40
        assert all(row[name][0] > 0 for name in ("status", "compare", "report"))
        assert row["first_claim"] > row["under_the_lock"] > 0
        assert row["dashboard"]["megabytes"] > 0
