"""`tuneoff data`: its help has every data set, and what is unknown is refused with their names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from tuneoff import references
from tuneoff.search.cli.data import data
from tuneoff.search.errors import UserError
from tuneoff.trainer.data.registry import DATASETS


@pytest.mark.parametrize("command", ["prepare", "info"])
def test_help_describes_every_data_set(command: str) -> None:
    said = CliRunner().invoke(data, [command, "--help"], terminal_width=200)
    assert said.exit_code == 0
    for name in DATASETS:
        assert f"{name:<14} {DATASETS.about(name)}" in said.output
    assert "MODULE:FUNCTION  of your own" in said.output


@pytest.mark.parametrize("command", ["prepare", "info"])
def test_packs_are_verified_whole(command: str, tmp_path: Path) -> None:
    words = [command, "digits", "--work", str(tmp_path)]
    first = CliRunner().invoke(data, words, catch_exceptions=False)
    (images,) = tmp_path.glob("cache/*/images.npy")
    content, before = images.read_bytes(), images.stat()
    images.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(images, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = CliRunner().invoke(data, words, catch_exceptions=False)
    assert first.exit_code == again.exit_code == 0
    assert images.read_bytes() == content


@pytest.mark.parametrize("command", ["prepare", "info"])
def test_an_unknown_data_set_is_refused_with_the_names(command: str) -> None:
    said = CliRunner().invoke(data, [command, "digit"])
    assert isinstance(said.exception, UserError)
    assert "did you mean 'digits'? choose one of: digits, trashnet" in str(said.exception)


@pytest.mark.parametrize("command", ["prepare", "info"])
def test_what_is_not_used_is_said_every_time(command: str, tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "old"):
        (tmp_path / "x" / name).mkdir(parents=True)
        for number in range(9):
            image = Image.new("L", (8, 8), 20 * number + len(name))
            image.save(tmp_path / "x" / name / f"{number}.png")
    words = [command, "folder", "--path", str(tmp_path / "x"), "--work", str(tmp_path)]
    for _ in range(2):
        said = CliRunner().invoke(data, words, catch_exceptions=False).output
        assert "Note: not used: old/ (9 images): its name is not that of a split\n" in said
        assert "Note: there is no test split: arms will be compared by the validation err" in said
    if command == "info":
        said = CliRunner().invoke(data, [*words, "--json"], catch_exceptions=False).output
        assert [note[:13] for note in json.loads(said)["notes"]] == [
            "not used: old",
            "there is no t",
        ]


def test_a_function_of_ones_own_is_read_as_its_name_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(references, "_allowed", set())
    (tmp_path / "typed_data.py").write_text(
        "import numpy as np\ndef load():\n    labels = np.arange(40) % 2\n"
        "    return np.full((40, 8, 8), labels[:, None, None], np.uint8), labels\n"
    )
    said = CliRunner().invoke(
        data, ["prepare", "typed_data:load", "--work", str(tmp_path)], catch_exceptions=False
    )
    assert "typed_data:load: 28 train, 4 validation, 8 test images" in said.output
