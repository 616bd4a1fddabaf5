"""The benchmarks are scripts beside each other, found as Python finds a script's neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def script_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the benchmarks, from which their modules can be imported."""
    folder = ROOT / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture(scope="session")
def lcbench_data() -> Path:
    """The folder of the learning curves' surrogate, ../shared/lcbench."""
    path = ROOT.parent / "shared" / "lcbench"
    if not path.is_dir():
        pytest.skip(f"there is no {path}")
    return path
