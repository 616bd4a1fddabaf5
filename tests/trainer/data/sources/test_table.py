"""Data in a CSV file of paths and labels."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneoff.trainer.recipe import DataSource

Table = Callable[..., DataSource]
COUNT = 20


@pytest.fixture
def table(tmp_path: Path, encode: Callable[..., bytes]) -> Table:
    """Writes a CSV file beside 20 images: table(rows, first line)."""
    (tmp_path / "images").mkdir()
    for number in range(COUNT):
        (tmp_path / "images" / f"{number}.jpg").write_bytes(encode(number))

    def write(rows: list[str], head: str = "path,label", **more: Any) -> DataSource:
        path = tmp_path / "photos.csv"
        path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8-sig")
        return DataSource("csv", str(path), **more)

    return write


def row(number: int, label: object, *more: object) -> str:
    return ",".join(map(str, (f"images/{number}.jpg", label, *more)))


def test_classes_by_name_and_by_number(load: Any, table: Table) -> None:
    pack = load(table([row(n, "dog" if n % 2 else "cat") for n in range(COUNT)]))
    assert pack.classes == ("cat", "dog")
    assert pack.labels.tolist() == [0, 1] * 10
    assert np.bincount(pack.labels[pack.test]).tolist() == [2, 2]
    numbered = load(table([row(n, n % 2) for n in range(COUNT)]))
    assert numbered.classes == ("0", "1")
    np.testing.assert_array_equal(numbered.images, pack.images)


def test_a_column_of_splits_quotes_and_other_columns(
    load: Any, table: Table, tmp_path: Path
) -> None:
    (tmp_path / "images" / "0.jpg").rename(tmp_path / "images" / "a, b.jpg")
    rows = [f'"mine","{tmp_path}/images/a, b.jpg",x,train']
    rows += [f"mine,images/{n}.jpg,{'xy'[n % 2]},{'' if n < 15 else 'Test'}" for n in range(1, 20)]
    pack = load(table(rows, "author,path,label,split"))
    assert pack.test.tolist() == [False] * 15 + [True] * 5
    with_validation = [*rows[:-1], rows[-1].replace("Test", "val")]
    pack = load(table(with_validation, "author,path,label,split"))
    assert len(pack.images) == 19
    assert pack.notes[0].startswith("1 validation images are not used")


def test_images_and_tables_that_change_are_read_again(
    load: Any, table: Table, tmp_path: Path, encode: Any
) -> None:
    rows = [row(n, n % 2) for n in range(COUNT)]
    source = table(rows)
    before = load(source).digest
    assert load(source).digest == before
    (tmp_path / "images" / "3.jpg").write_bytes(encode(99))
    after = load(source).digest
    assert after != before
    assert load(table(rows[:-1])).digest not in (before, after)


def test_sizes_and_damaged_images_are_as_in_folders(
    load: Any, refused: Any, table: Table, tmp_path: Path, encode: Any
) -> None:
    rows = [row(n, n % 2) for n in range(COUNT)]
    (tmp_path / "images" / "3.jpg").write_bytes(encode(99, size=(20, 30)))
    refused(table(rows), "photos.csv has images of different sizes.*set image_size")
    assert load(table(rows, image_size=12)).images.shape == (20, 12, 12, 3)
    (tmp_path / "images" / "3.jpg").write_bytes(b"no image")
    refused(table(rows), "photos.csv: images/3.jpg cannot be decoded")
    assert len(load(table(rows, corrupt="skip")).images) == 19


def test_what_is_wrong_with_a_table_is_said_with_the_line(
    refused: Any, table: Table, tmp_path: Path
) -> None:
    good = [row(n, n % 2) for n in range(COUNT)]
    refused(table(good, "file,label"), "no column path; its first line has to name .*not file, la")
    refused(table(good, "path,class"), "has no column label")
    refused(table([], ""), "has no column path; .*not nothing")
    refused(table([]), "has no rows of training images")
    refused(table([*good, "images/3.jpg"]), "photos.csv, line 22: label is empty")
    refused(table([*good, ",a"]), "line 22: path is empty")
    refused(table([*good, row(21, 0)]), "line 22: there is no file images/21.jpg; paths are from")
    refused(table([row(1, 0, "late")], "path,label,split"), "line 2: split is 'late'; write train")
    refused(table([row(n, 1 + n % 2) for n in range(COUNT)]), "no training image has label 0")
    refused(table([row(1, "a"), row(2, "b"), row(3, "a")][:1]), "there is 1 class")
    rows = [row(1, "a", "train"), row(2, "b", "train"), row(3, "c", "test")]
    refused(table(rows, "path,label,split"), "a label is 'c', which is no class of the training")
    source = table(['"images/1.jpg,0'])
    refused(source, "photos.csv is no CSV file in UTF-8")
    (tmp_path / "photos.csv").write_bytes(b"path,label\n\xff\xfe,1\n")
    refused(source, "photos.csv is no CSV file in UTF-8")
    (tmp_path / "photos.csv").unlink()
    refused(source, r"photos.csv cannot be read \(No such file")
    os.mkfifo(tmp_path / "images" / "pipe.jpg")
    refused(table([*good, "images/pipe.jpg,0"]), "line 22: there is no file images/pipe.jpg")
