"""The example notebook, run by a real Jupyter kernel on a real study."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gallery import build, open_gallery

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
NotebookClient(notebook, timeout=240, kernel_name="python3").execute(cwd=".")
nbformat.write(notebook, sys.argv[2])
"""


def test_it_is_stored_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_every_cell_runs(tmp_path: Path) -> None:
    for package in ("pandas", "nbclient", "ipykernel"):
        pytest.importorskip(package)
    database = open_gallery(tmp_path)
    build(database, tmp_path, "better")
    database.close()
    own = {
        "TUNEOFF_NAME": "better",
        "TUNEOFF_STORAGE": f"sqlite:///{tmp_path / 'gallery.db'}",
        # Jupyter's files belong into the test's folder, and not into the user's.
        **{f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("DATA", "CONFIG", "RUNTIME")},
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", RUN, str(NOTEBOOK), str(tmp_path / "done.ipynb")],
        cwd=tmp_path,
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    notebook = json.loads((tmp_path / "done.ipynb").read_text(encoding="utf-8"))
    outputs = [
        output
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
        for output in cell["outputs"]
    ]
    said = ["".join(one["text"]) for one in outputs if one.get("name") == "stdout"]
    assert "finds better settings" in said[0]
    kinds = [kind for output in outputs for kind in output.get("data", ())]
    assert kinds.count("text/html") >= 6  # tables
    assert kinds.count("application/vnd.plotly.v1+json") == 2
