"""`tuneoff data`: its help has every data set, and what is unknown is refused with their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from tuneoff.search.cli.data import data
from tuneoff.search.errors import UserError
from tuneoff.trainer.data.registry import DATASETS


@pytest.mark.parametrize("command", ["prepare", "info"])
def test_help_describes_every_data_set(command: str) -> None:
    said = CliRunner().invoke(data, [command, "--help"], terminal_width=200)
    assert said.exit_code == 0
    for name in DATASETS:
        assert f"{name:<14} {DATASETS.about(name)}" in said.output


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
    assert "did you mean 'digits'? choose one of: digits, tiny-imagenet" in str(said.exception)
