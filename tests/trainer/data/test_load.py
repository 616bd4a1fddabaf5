"""A data set is decoded once, and again when its files change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tuneoff.trainer.data.load import load as load_data
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.recipe import DataSource

Encode = Callable[..., bytes]
Make = Callable[[Path, dict[str, bytes]], Path]
Load = Callable[[DataSource], Pack]


def tiny(path: Path, **more: object) -> DataSource:
    return DataSource("tiny-imagenet", str(path), **more)  # type: ignore[arg-type]


def test_decoding_happens_once_and_reports_progress(tmp_path: Path, tiny_zip: Path) -> None:
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        load_data(tiny(tiny_zip), tmp_path / "cache", lambda a, b: seen.append((a, b)))
    assert seen == [(0, 24), (24, 24)]


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_a_second_load_opens_none_of_the_files(
    load: Load,
    tiny_zip: Path,
    tiny_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    source = tiny(tiny_zip if kind == "zip" else tiny_folder)
    first = load(source)

    def refuse(*_: object) -> None:
        pytest.fail("the files were listed again")

    monkeypatch.setattr("tuneoff.trainer.data.files.Zip.__init__", refuse)
    monkeypatch.setattr("tuneoff.trainer.data.files.Folder.__init__", refuse)
    assert load(source).digest == first.digest


def test_a_changed_zip_is_decoded_again(
    load: Load, tiny_zip: Path, tiny_files: dict[str, bytes], make_zip: Make, encode: Encode
) -> None:
    first = load(tiny(tiny_zip))
    files = {**tiny_files, "train/n01/images/n01_0.JPEG": encode(999)}
    make_zip(tiny_zip, files)
    assert load(tiny(tiny_zip)).digest != first.digest
