"""Tiny ImageNet: where its labels come from, and one line for all that can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.load import load as load_data
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.recipe import DataSource

Encode = Callable[..., bytes]
Make = Callable[[Path, dict[str, bytes]], Path]
Load = Callable[[DataSource], Pack]
Refused = Callable[[DataSource, str], None]


def tiny(path: Path, **more: object) -> DataSource:
    return DataSource("tiny-imagenet", str(path), **more)  # type: ignore[arg-type]


def test_tiny_imagenet_labels_come_from_the_lists(load: Load, tiny_zip: Path) -> None:
    pack = load(tiny(tiny_zip))
    assert pack.classes == ("n03", "n01", "n02")
    assert pack.images.shape == (24, 16, 16, 3)
    assert np.bincount(pack.labels[~pack.test]).tolist() == [6, 6, 6]
    # val files are named against the order of the labels; sorted names give labels 2, 2, 1, ...
    assert pack.labels[pack.test].tolist() == [2, 2, 1, 1, 0, 0]


def test_tiny_imagenet_pixels_belong_to_their_labels(
    load: Load, tiny_zip: Path, tiny_files: dict[str, bytes]
) -> None:
    pack = load(tiny(tiny_zip))
    for label, wnid in enumerate(pack.classes):
        expected = {
            decode.decode(data).tobytes()
            for name, data in tiny_files.items()
            if name.startswith(f"train/{wnid}/images/")
        }
        chosen = pack.images[(pack.labels == label) & ~pack.test]
        assert {image.tobytes() for image in chosen} == expected


def test_grey_images_become_rgb(load: Load, tiny_zip: Path) -> None:
    pack = load(tiny(tiny_zip))
    grey = [(image[..., 0] == image[..., 1]).all() for image in pack.images]
    assert sum(grey) == 3


def test_zip_folder_and_its_parent_give_the_same_pack(
    load: Load, tiny_zip: Path, tiny_folder: Path
) -> None:
    packs = [load(tiny(path)) for path in (tiny_zip, tiny_folder, tiny_folder.parent)]
    assert len({pack.digest for pack in packs}) == 1


def test_a_zip_without_the_top_folder_will_do(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make
) -> None:
    assert len(load(tiny(make_zip(tmp_path / "flat.zip", tiny_files))).images) == 24


def test_titles_come_from_words(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make, tiny_zip: Path
) -> None:
    assert load(tiny(tiny_zip)).titles == ("n03", "n01", "n02")
    words = b"n00\tentity\nn01\tgoldfish, Carassius auratus\nn03\tbullfrog\n"
    path = make_zip(tmp_path / "x.zip", {**tiny_files, "words.txt": words})
    pack = load(tiny(path))
    assert pack.titles == ("bullfrog", "goldfish, Carassius auratus", "n02")
    assert pack.digest == load(tiny(tiny_zip)).digest


def test_not_tiny_imagenet(refused: Refused, tmp_path: Path, make_zip: Make) -> None:
    path = make_zip(tmp_path / "other.zip", {"readme.txt": b"hello"})
    refused(tiny(path), r"other\.zip has no wnids\.txt: it is not Tiny ImageNet; give")


def test_missing_path(refused: Refused, tmp_path: Path) -> None:
    refused(tiny(tmp_path / "nothing.zip"), r"nothing\.zip does not exist; check")


def test_a_class_without_images(
    refused: Refused, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make
) -> None:
    files = {n: d for n, d in tiny_files.items() if not n.startswith("train/n01/images")}
    refused(tiny(make_zip(tmp_path / "x.zip", files)), "class n01 has no training images")


def test_a_class_that_is_not_listed(
    refused: Refused, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make, encode: Encode
) -> None:
    files = {**tiny_files, "train/n09/images/x.JPEG": encode()}
    refused(tiny(make_zip(tmp_path / "x.zip", files)), r"class n09 is not in wnids\.txt")


def test_annotations_that_miss_an_image(
    refused: Refused, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make
) -> None:
    name = "val/val_annotations.txt"
    files = {**tiny_files, name: tiny_files[name].replace(b"val_3.JPEG", b"val_33.JPEG")}
    refused(tiny(make_zip(tmp_path / "x.zip", files)), r"gives val/images/val_3\.JPEG no cl")
    del files[name]
    refused(tiny(make_zip(tmp_path / "y.zip", files)), r"has no val/val_annotations\.txt")


def test_an_image_of_another_size(
    refused: Refused, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make, encode: Encode
) -> None:
    files = {**tiny_files, "train/n01/images/n01_2.JPEG": encode(0, (32, 16))}
    refused(tiny(make_zip(tmp_path / "x.zip", files)), r"n01_2\.JPEG has 32 x 16 pixels")


def test_the_real_tiny_imagenet(shared_data: Path, session_cache: Path) -> None:
    pack = load_data(tiny(shared_data / "tiny-imagenet-20.zip"), session_cache)
    assert pack.images.shape == (4000, 64, 64, 3)
    assert len(pack.classes) == 20
    assert np.bincount(pack.labels[~pack.test]).tolist() == [150] * 20
    assert np.bincount(pack.labels[pack.test]).tolist() == [50] * 20
