"""What is installed: every module under one import name, and a face that costs nothing."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import tuneoff

ROOT = Path(__file__).parents[1]
FOLDERS = {"search": "tuneoff/search", "trainer": "tuneoff/trainer", "tuneoff": "tuneoff"}
"""A folder of the project -> where its files are in an installation."""

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def sources() -> dict[str, Path]:
    """Every file that belongs into an installation, by its name there."""
    found = {}
    for folder, inside in FOLDERS.items():
        for parent, folders, files in os.walk(ROOT / folder):
            # The links in tuneoff/ show type checkers the other two folders.
            folders[:] = [
                f for f in folders if f != "__pycache__" and not Path(parent, f).is_symlink()
            ]
            for file in files:
                path = Path(parent, file)
                found[f"{inside}/{path.relative_to(ROOT / folder).as_posix()}"] = path
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of the project."""
    copy = tmp_path_factory.mktemp("project")
    for name in (*FOLDERS, "pyproject.toml", "README.md", "LICENSE"):
        path = ROOT / name
        if path.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, copy / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(path, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)],
        cwd=copy,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_has_every_file_and_no_other(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == set(sources())


@pytest.mark.slow
def test_the_wheel_runs_without_the_project(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    program = "import tuneoff.search.cli.main as m; print(m.__file__); m.main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    where, version = done.stdout.splitlines()
    assert where.startswith(str(tmp_path / "site"))
    assert version == f"tuneoff, version {tuneoff.__version__}"


@pytest.mark.parametrize("name", tuneoff.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(tuneoff, name) is not None
    assert name in dir(tuneoff)


def test_the_public_names_are_written_alike() -> None:
    homes = tuneoff._HOMES
    assert sorted({*homes, "__version__"}) == sorted(tuneoff.__all__)
    for name, module in homes.items():
        assert getattr(importlib.import_module(f"tuneoff.{module}"), name) is getattr(tuneoff, name)


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = tuneoff.nothing


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["tuneoff", "tuneoff.trainer.recipe", "tuneoff.trainer.contract"]
)
def test_what_should_be_cheap_imports_no_torch(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert not {"torch", "optuna", "scipy", "plotly", "sqlalchemy"} & set(done.stdout.split())
