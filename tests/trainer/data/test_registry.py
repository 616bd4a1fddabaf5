"""The names of data sets: written once, and asked by everything that takes or shows one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tuneoff.trainer.data.registry import DATASETS
from tuneoff.trainer.recipe import DataSource


@pytest.mark.parametrize("name", DATASETS.names)
def test_every_name_can_be_loaded_and_is_described(name: str) -> None:
    assert callable(DATASETS.load(name))
    assert DATASETS.about(name)


@pytest.mark.parametrize("name", DATASETS.names)
def test_a_path_is_asked_for_where_it_is_needed(name: str) -> None:
    entry = DATASETS.entry(name)
    assert DataSource(name, "somewhere").name == name
    if not entry.needs_path:
        assert DataSource(name).path is None
        return
    with pytest.raises(
        ValueError, match=f"path is missing: data '{name}' needs {entry.kind}"
    ) as caught:
        DataSource(name)
    assert ("data prepare" in str(caught.value)) == (entry.remote is not None)


def test_the_file_of_tiny_imagenet_keeps_its_name() -> None:
    remote = DATASETS.entry("tiny-imagenet").remote
    assert remote is not None
    assert remote.file_name == "tiny-imagenet-200.zip"


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        ValueError, match="unknown data set 'mnist'; choose one of: digits, trashnet"
    ):
        DataSource("mnist")


def test_the_table_of_study_files_has_every_name() -> None:
    table = Path(__file__).parents[3] / "studies" / "README.md"
    (row,) = [line for line in table.read_text().splitlines() if line.startswith("| `[data]`")]
    assert [name for name in DATASETS if f"`{name}`" not in row] == []


def test_names_are_checked_without_numpy_or_torch() -> None:
    code = (
        "import sys, tuneoff.trainer.recipe as r; r.DataSource('digits');"
        "print([name for name in ('numpy', 'torch', 'PIL') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
