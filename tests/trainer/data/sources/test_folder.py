"""Folders of images: their classes and splits, and one line for all that can be wrong with them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.splits import describe
from tuneoff.trainer.recipe import DataSource

Encode = Callable[..., bytes]
Make = Callable[[Path, dict[str, bytes]], Path]
Load = Callable[[DataSource], Pack]
Refused = Callable[[DataSource, str], None]
ImageFiles = Callable[..., dict[str, bytes]]


def folder(path: Path, **more: object) -> DataSource:
    return DataSource("folder", str(path), **more)  # type: ignore[arg-type]


NAMES = [
    *[("train", name) for name in ("test", "val", "valid", "validation", "dev", "testing")],
    *[("Train", "Test"), ("training", "testing"), ("Training", "Validation"), ("TRAIN", "VAL")],
    *[("training_set", "test_set"), ("train2017", "val2017"), ("train-images", "Test Data")],
]


@pytest.mark.slow
@pytest.mark.parametrize(("train", "test_name"), NAMES)
def test_folder_with_a_test_split(
    load: Load,
    tmp_path: Path,
    make_folder: Make,
    train: str,
    test_name: str,
    image_files: ImageFiles,
) -> None:
    files = image_files(f"{train}/dog", f"{train}/cat", f"{test_name}/cat", f"{test_name}/dog")
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
    path = make_folder(tmp_path / "x", files)
    pack = load(folder(path))
    assert not pack.test.any()
    assert pack.notes == ()
    assert describe(pack, folder(path)).notes[0].startswith("there is no test split: arms will be")


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


def test_tiny_imagenet_under_another_name(
    refused: Refused, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = image_files("train/a/images", "train/b/images", "val/images")
    path = make_folder(tmp_path / "x", files)
    (path / "wnids.txt").write_text("a\nb\n")
    refused(folder(path), 'set name = "tiny-imagenet"')


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


@pytest.mark.parametrize(
    "names", [("test", "val"), ("Test", "validation"), ("dev",), ("test_set",)]
)
def test_splits_are_never_taken_for_classes(
    refused: Refused,
    tmp_path: Path,
    make_folder: Make,
    image_files: ImageFiles,
    names: tuple[str, ...],
) -> None:
    files = image_files(*(f"{name}/{c}" for name in names for c in "ab"))
    refused(folder(make_folder(tmp_path / "x", files)), "but no train/; name the folder of the")
    flat = make_folder(tmp_path / "y", image_files(*names))
    refused(folder(flat), "but no train/; name the folder of the")


def test_a_split_beside_classes(
    load: Load, refused: Refused, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = image_files("cat", "dog", "test/cat", "test/dog")
    path = make_folder(tmp_path / "x", files)
    refused(folder(path), "has test/, with folders in it, beside cat/; put the folders of the tr")
    # Without folders in it, it is a class like any other.
    flat = make_folder(tmp_path / "y", image_files("control", "test"))
    assert load(folder(flat)).classes == ("control", "test")


def test_names_that_only_begin_like_splits_are_classes(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    names = ("dev1", "devil", "test tube", "trainer", "valley")
    assert load(folder(make_folder(tmp_path / "x", image_files(*names)))).classes == names


def test_two_folders_for_one_split(
    refused: Refused, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    classes = [f"{split}/{c}" for split in ("train", "Training", "val", "dev") for c in "ab"]
    path = make_folder(tmp_path / "x", image_files(*classes))
    refused(folder(path), r"several folders of training images \(Training/, train/\); keep one")
    shutil.rmtree(path / "Training")
    refused(folder(path), r"several folders of test images \(dev/, val/\); keep one")


@pytest.mark.parametrize("unlabelled", ["test", "test/images"])
def test_test_images_without_labels_leave_the_validation_images_for_the_test(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles, unlabelled: str
) -> None:
    files = image_files("train/a", "train/b", "val/a", "val/b", unlabelled)
    pack = load(folder(make_folder(tmp_path / "x", files)))
    assert pack.test.sum() == 10
    assert pack.notes == (
        "not used: test/ (5 images): it has no folders named as those of the classes",
    )


def test_what_is_left_over_is_said(
    load: Load, tmp_path: Path, make_folder: Make, make_zip: Make, image_files: ImageFiles
) -> None:
    files = image_files("train/a", "train/b", "test/a", "test/b", "val/a", "extra", count=3)
    files |= image_files("train/deep", "train/a/deeper", count=1)
    files["train/deep/0.jpg"], files["train/loose.jpg"] = (files["train/deep/0.jpg"],) * 2
    files |= {"train/a/1.HEIC": b"", "train/b/2.heic": b"", "train/b/3.dng": b"", "README": b""}
    files |= {"train/a/labels.txt": b"", "train/b/labels.txt": b"", "old/a.csv": b"", ".git/x": b""}
    expected = [
        "1 of 3 classes have no test images, so that the test error says nothing about them: deep",
        "not used: extra/ (3 images): its name is not that of a split",
        "not used: old/ (1 file): its name is not that of a split",
        "not used: val/ (3 images): validation images are carved out of train/",
        "not used: 1 image outside of class folders; the first is train/loose.jpg",
        "not used: 3 images in formats that cannot be decoded here (2 .heic, 1 .dng), the first "
        "train/a/1.HEIC; convert them to JPEG or PNG",
        "not used: 3 files whose names do not end as those of images do (2 .txt, 1 without an "
        "ending)",
    ]
    pack = load(folder(make_folder(tmp_path / "x", files)))
    assert list(pack.notes) == expected
    assert len(pack.images) == 14
    inside = {f"top/{name}": data for name, data in files.items()}
    zipped = load(folder(make_zip(tmp_path / "x.zip", inside)))
    assert [note.replace("top/", "") for note in zipped.notes] == expected
    assert zipped.digest == pack.digest


def test_files_beside_the_folder_that_holds_everything(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = {**image_files("pets/cat", "pets/dog"), "README.txt": b"x"}
    path = make_folder(tmp_path / "x", files)
    (path / "docs").mkdir()
    pack = load(folder(path))
    assert pack.classes == ("cat", "dog")
    assert pack.notes == (
        "not used: docs/ (0 images): it is empty",
        "not used: 1 file whose names do not end as those of images do (1 .txt)",
    )


def test_nothing_left_over_is_no_note(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = image_files("train/a", "train/b", "test/a", "test/b")
    path = make_folder(tmp_path / "x", files)
    assert load(folder(path)).notes == ()
    assert describe(load(folder(path)), folder(path)).notes == ()


def test_every_ending_of_image_files_is_read(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    formats = {"jpe": "JPEG", "JFIF": "JPEG", "gif": "GIF", "tga": "TGA", "avif": "AVIF"}
    files = {
        f"{name}/{n}.{end}": encode(n, format=format)
        for name in "ab"
        for n, (end, format) in enumerate(formats.items())
    }
    pack = load(folder(make_folder(tmp_path / "x", files)))
    assert (len(pack.images), pack.notes) == (10, ())


def test_a_class_of_images_that_cannot_be_decoded_here(
    refused: Refused, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = {**image_files("a", "b"), "c/1.heic": b"", "c/2.heic": b""}
    refused(
        folder(make_folder(tmp_path / "x", files)),
        r"class folder c has no images but 2 that cannot be decoded here, such as c/1\.heic; conv",
    )


def test_linked_folders_are_like_others(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    files = image_files("train/a/deep", "train/b", "test/a", "test/b", "val/a", "val/b")
    plain = make_folder(tmp_path / "plain", files)
    linked = tmp_path / "linked"
    (linked / "train" / "a").mkdir(parents=True)
    (linked / "train" / "a" / "deep").symlink_to(plain / "train" / "a" / "deep")
    (linked / "train" / "b").symlink_to(plain / "train" / "b")
    for split in ("test", "val"):
        (linked / split).symlink_to(plain / split)
    pack = load(folder(linked))
    assert pack.digest == load(folder(plain)).digest
    assert pack.test.sum() == 10


def test_a_linked_train_folder_beside_a_real_val_folder(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    make_folder(tmp_path / "elsewhere", image_files("a", "b", count=7))
    path = make_folder(tmp_path / "x", image_files("val/a", "val/b", count=3))
    (path / "train").symlink_to(tmp_path / "elsewhere")
    pack = load(folder(path))
    assert (int((~pack.test).sum()), int(pack.test.sum())) == (14, 6)


def test_an_image_to_which_several_links_lead_is_a_duplicate(
    load: Load, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    path = make_folder(tmp_path / "x", image_files("train/a", "train/b", "test/a", "test/b"))
    (path / "test" / "a" / "linked.jpg").symlink_to(path / "train" / "a" / "0.jpg")
    (path / "train" / "b" / "linked.jpg").symlink_to(path / "train" / "a" / "1.jpg")
    source = folder(path, duplicates="drop", validation=0.2)
    found = describe(load(source), source).duplicates
    assert found is not None
    assert (found.groups, found.crossing, found.conflicting, found.dropped) == (2, 1, 1, 3)


def test_class_names_that_are_no_text(
    load: Load, refused: Refused, tmp_path: Path, make_folder: Make, image_files: ImageFiles
) -> None:
    odd = os.fsdecode(b"caf\xe9")
    path = make_folder(tmp_path / os.fsdecode(b"\xff"), image_files(odd, "two\nlines", "\x1b[2J"))
    pack = load(folder(path))
    assert pack.classes == (r"\x1b[2J", r"caf\udce9", r"two\nlines")
    "".join((*pack.classes, *pack.titles)).encode()
    make_folder(path, image_files(r"caf\udce9"))
    refused(folder(path), r"two class folders whose names are both printed as caf\\udce9; rename")


@pytest.mark.parametrize(("train", "test"), [("cat", "Cat"), ("caf\u00e9", "cafe\u0301")])
def test_classes_that_are_spelt_otherwise_in_another_split(
    refused: Refused,
    tmp_path: Path,
    make_folder: Make,
    image_files: ImageFiles,
    train: str,
    test: str,
) -> None:
    files = image_files(f"train/{train}", "train/dog", f"test/{test}", "test/dog")
    refused(
        folder(make_folder(tmp_path / "x", files)),
        f"class {test} is in test/ but not in train/; name it as there, {train}",
    )


def test_a_pack_is_made_again_when_the_rules_of_reading_change(
    load: Load,
    tmp_path: Path,
    make_folder: Make,
    image_files: ImageFiles,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = make_folder(tmp_path / "x", image_files("a", "b"))

    def cached() -> set[Path]:
        return {entry for entry in (tmp_path / "cache").iterdir() if entry.is_dir()}

    load(folder(path))
    first = cached()
    load(folder(path))
    assert cached() == first
    monkeypatch.setattr("tuneoff.trainer.data.sources.base.READING", 10_000)
    load(folder(path))
    second = cached()
    assert len(second) == 2
    # Another installation of Pillow may decode other formats.
    monkeypatch.setattr("tuneoff.trainer.data.sources.base.decodable", lambda: (".jpg",))
    load(folder(path))
    assert len(cached()) == 3


def test_nothing_that_decodes(refused: Refused, tmp_path: Path, make_folder: Make) -> None:
    files = {"a/1.jpg": b"x", "b/1.jpg": b"y"}
    refused(folder(make_folder(tmp_path / "x", files)), r"a/1\.jpg is not an image")
