"""Fixtures of the data sets' tests: loading, refusing, and folders of images."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tuneoff.trainer.data import load as loading
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

Load = Callable[[DataSource], Pack]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a data set with a cache of the test's own."""
    return lambda source: loading.load(source, tmp_path / "cache")


@pytest.fixture
def refused(load: Load) -> Callable[[DataSource, str], None]:
    """Asserts that a data set is refused, with one line that matches."""

    def check(source: DataSource, match: str) -> None:
        with pytest.raises(DataError, match=match) as caught:
            load(source)
        assert "\n" not in str(caught.value)

    return check


@pytest.fixture(scope="session")
def image_files(encode: Callable[..., bytes]) -> Callable[..., dict[str, bytes]]:
    """Makes ``count`` images below each folder: image_files(*folders, count=5)."""

    def make(*folders: str, count: int = 5) -> dict[str, bytes]:
        return {
            f"{folder}/{number}.jpg": encode(zlib.crc32(os.fsencode(f"{folder}/{number}")))
            for folder in folders
            for number in range(count)
        }

    return make
