"""Folders of images: their classes and splits, and one line for all that can be wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.recipe import DataSource

Encode = Callable[..., bytes]
Make = Callable[[Path, dict[str, bytes]], Path]
Load = Callable[[DataSource], Pack]
Refused = Callable[[DataSource, str], None]
ImageFiles = Callable[..., dict[str, bytes]]


def folder(path: Path, **more: object) -> DataSource:
    return DataSource("folder", str(path), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_folder_with_a_test_split(
    load: Load, tmp_path: Path, make_folder: Make, test_name: str, image_files: ImageFiles
) -> None:
    files = image_files("train/dog", "train/cat", f"{test_name}/cat", f"{test_name}/dog")
    pack = load(folder(make_folder(tmp_path / "pets", files)))
    assert pack.classes == ("cat", "dog")
    assert pack.labels.tolist() == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5
    assert pack.test.tolist() == [False] * 10 + [True] * 10


def test_folder_without_a_test_split_is_carved(
    load: Load, tmp_path: Path, make_folder: Make, make_zip: Make, image_files: ImageFiles
) -> None:
    files = image_files("cat", "dog", count=10)
    pack = load(folder(make_folder(tmp_path / "pets", files)))
    assert np.bincount(pack.labels[pack.test]).tolist() == [2, 2]
    inside = {f"pets/{name}": data for name, data in files.items()}
    assert load(folder(make_zip(tmp_path / "pets.zip", inside))).digest == pack.digest


def test_train_only_folder_has_no_test_images(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = image_files("train/a", "train/b")
    assert not load(folder(make_folder(tmp_path / "x", files))).test.any()


def test_images_of_different_sizes_need_image_size(
    load: Load,
    refused: Refused,
    tmp_path: Path,
    encode: Encode,
    make_folder: Make,
    image_files: ImageFiles,
) -> None:
    files = image_files("a", "b")
    files["a/wide.png"] = encode(1, (40, 20), format="PNG")
    path = make_folder(tmp_path / "x", files)
    refused(folder(path), "different sizes, such as 16 x 16 and 40 x 20 pixels; set image_s")
    assert load(folder(path, image_size=24)).images.shape == (11, 24, 24, 3)


def test_images_of_one_size_are_kept_as_they_are(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    path = make_folder(tmp_path / "x", image_files("a", "b"))
    assert load(folder(path, image_size=64)).images.shape[1:3] == (16, 16)


def test_an_empty_class_folder(
    refused: Refused, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    path = make_folder(tmp_path / "x", image_files("train/a", "train/b"))
    (path / "train" / "c").mkdir()
    refused(folder(path), "class folder train/c has no images; add some or remove it")


def test_a_test_class_without_training_images(
    refused: Refused, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = image_files("train/a", "train/b", "test/c")
    refused(folder(make_folder(tmp_path / "x", files)), "class c is in test/ but not in tra")


@pytest.mark.parametrize("files", [(), ("a",), ("train/a",)])
def test_fewer_than_two_classes(
    refused: Refused,
    tmp_path: Path,
    make_folder: Make,
    files: tuple[str, ...],
    image_files: ImageFiles,
) -> None:
    path = make_folder(tmp_path / "x", image_files(*files))
    path.mkdir(exist_ok=True)
    refused(folder(path), r"has \d class folders with images; it needs at least two")


def test_nothing_that_decodes(refused: Refused, tmp_path: Path, make_folder: Make) -> None:
    files = {"a/1.jpg": b"x", "b/1.jpg": b"y"}
    refused(folder(make_folder(tmp_path / "x", files)), r"a/1\.jpg is not an image")
