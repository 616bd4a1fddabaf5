"""The data sets: labels, splits, and one line for everything that can be wrong with them."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneoff.trainer.contract import Duplicates
from tuneoff.trainer.data import datasets, decode
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import DataSource

Encode = Callable[..., bytes]
Make = Callable[[Path, dict[str, bytes]], Path]


def tiny(path: Path, **more: object) -> DataSource:
    return DataSource("tiny-imagenet", str(path), **more)  # type: ignore[arg-type]


def folder(path: Path, **more: object) -> DataSource:
    return DataSource("folder", str(path), **more)  # type: ignore[arg-type]


@pytest.fixture
def load(tmp_path: Path) -> Callable[[DataSource], Pack]:
    """Loads with a cache of the test's own."""
    return lambda source: datasets.load(source, tmp_path / "cache")


Load = Callable[[DataSource], Pack]


def refused(load: Load, source: DataSource, match: str) -> None:
    with pytest.raises(DataError, match=match) as caught:
        load(source)
    assert "\n" not in str(caught.value)


# digits


def test_digits(load: Load) -> None:
    pack = load(DataSource())
    assert pack.images.shape == (1797, 8, 8, 3)
    assert pack.images.max() == 255
    assert (pack.images[..., 0] == pack.images[..., 2]).all()
    assert pack.classes == tuple("0123456789")
    assert pack.test.sum() == 359
    assert pack.digest == load(DataSource(validation=0.3, split_seed=4)).digest


def test_splits_are_disjoint_complete_stratified_and_reproducible(load: Load) -> None:
    pack = load(DataSource())
    splits = datasets.splits(pack, DataSource())
    together = np.concatenate([splits["train"], splits["validation"], splits["test"]])
    assert sorted(together.tolist()) == list(range(1797))
    for label in range(10):
        of_train = (pack.labels[~pack.test] == label).sum()
        of_validation = (pack.labels[splits["validation"]] == label).sum()
        assert of_validation == round(0.1 * of_train)
    again = datasets.splits(pack, DataSource())
    other = datasets.splits(pack, DataSource(split_seed=1))
    assert np.array_equal(splits["validation"], again["validation"])
    assert not np.array_equal(splits["validation"], other["validation"])
    assert np.array_equal(splits["test"], other["test"])


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.01, 0.99), st.integers(0, 9)
)
def test_stratified_takes_its_share_of_each_class(
    labels: list[int], share: float, seed: int
) -> None:
    array = np.array(labels)
    chosen = datasets.stratified(array, share, "test", seed)
    for label in set(labels):
        of_class = int((array == label).sum())
        taken = int(chosen[array == label].sum())
        assert taken < of_class
        if of_class > 1:
            assert taken >= 1
            assert abs(taken - share * of_class) <= 1


# Tiny ImageNet


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


def test_decoding_happens_once_and_reports_progress(tmp_path: Path, tiny_zip: Path) -> None:
    seen: list[tuple[int, int]] = []
    for _ in range(2):
        datasets.load(tiny(tiny_zip), tmp_path / "cache", lambda a, b: seen.append((a, b)))
    assert seen == [(0, 24), (24, 24)]


def test_a_changed_zip_is_decoded_again(
    load: Load, tiny_zip: Path, tiny_files: dict[str, bytes], make_zip: Make, encode: Encode
) -> None:
    first = load(tiny(tiny_zip))
    files = {**tiny_files, "train/n01/images/n01_0.JPEG": encode(999)}
    make_zip(tiny_zip, files)
    assert load(tiny(tiny_zip)).digest != first.digest


def test_titles_come_from_words(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make, tiny_zip: Path
) -> None:
    assert load(tiny(tiny_zip)).titles == ("n03", "n01", "n02")
    words = b"n00\tentity\nn01\tgoldfish, Carassius auratus\nn03\tbullfrog\n"
    path = make_zip(tmp_path / "x.zip", {**tiny_files, "words.txt": words})
    pack = load(tiny(path))
    assert pack.titles == ("bullfrog", "goldfish, Carassius auratus", "n02")
    assert pack.digest == load(tiny(tiny_zip)).digest


def many_files(encode: Encode) -> dict[str, bytes]:
    """More images than the threads have in hand at once, of several sizes."""
    sizes = [(16, 16), (40, 20), (24, 24)]
    return {
        f"{name}/{number:03d}.jpg": encode(1000 * seed + number, sizes[number % 3])
        for seed, name in enumerate("ab")
        for number in range(150)
    }


def test_the_threads_change_nothing(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    source = folder(make_folder(tmp_path / "x", many_files(encode)), image_size=16)
    packs = [datasets.load(source, tmp_path / str(n), threads=n) for n in (1, 2, 7)]
    assert len({pack.digest for pack in packs}) == 1
    assert len({pack.hashes.tobytes() for pack in packs}) == 1


@pytest.mark.parametrize("threads", [1, 7])
def test_of_several_bad_images_the_first_is_named(
    tmp_path: Path, encode: Encode, make_zip: Make, threads: int
) -> None:
    files = many_files(encode)
    for name in ("a/149.jpg", "b/000.jpg", "b/149.jpg"):
        files[name] = files[name][:100]
    path = make_zip(tmp_path / "x.zip", files)
    with pytest.raises(DataError, match=r"a/149\.jpg cannot be decoded"):
        datasets.load(folder(path, image_size=16), tmp_path / "cache", threads=threads)
    skipping = folder(path, image_size=16, corrupt="skip")
    pack = datasets.load(skipping, tmp_path / "cache", threads=threads)
    assert len(pack.images) == 297


def test_a_damaged_zip_names_the_first_member(
    tmp_path: Path, encode: Encode, make_zip: Make
) -> None:
    files = many_files(encode)
    path = make_zip(tmp_path / "x.zip", files)
    content = bytearray(path.read_bytes())
    for name in (b"b/100.jpg", b"b/030.jpg"):
        content[content.index(name) + len(name) + 50] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.zip is damaged at b/030\.jpg; fetch it again"):
        datasets.load(folder(path, image_size=16), tmp_path / "cache", threads=3)


def test_not_tiny_imagenet(load: Load, tmp_path: Path, make_zip: Make) -> None:
    path = make_zip(tmp_path / "other.zip", {"readme.txt": b"hello"})
    refused(load, tiny(path), r"other\.zip has no wnids\.txt: it is not Tiny ImageNet; give")


def test_missing_path(load: Load, tmp_path: Path) -> None:
    refused(load, tiny(tmp_path / "nothing.zip"), r"nothing\.zip does not exist; check")


def test_a_class_without_images(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make
) -> None:
    files = {n: d for n, d in tiny_files.items() if not n.startswith("train/n01/images")}
    refused(load, tiny(make_zip(tmp_path / "x.zip", files)), "class n01 has no training images")


def test_a_class_that_is_not_listed(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make, encode: Encode
) -> None:
    files = {**tiny_files, "train/n09/images/x.JPEG": encode()}
    refused(load, tiny(make_zip(tmp_path / "x.zip", files)), r"class n09 is not in wnids\.txt")


def test_annotations_that_miss_an_image(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make
) -> None:
    name = "val/val_annotations.txt"
    files = {**tiny_files, name: tiny_files[name].replace(b"val_3.JPEG", b"val_33.JPEG")}
    refused(load, tiny(make_zip(tmp_path / "x.zip", files)), r"gives val/images/val_3\.JPEG no cl")
    del files[name]
    refused(load, tiny(make_zip(tmp_path / "y.zip", files)), r"has no val/val_annotations\.txt")


def test_an_image_of_another_size(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make, encode: Encode
) -> None:
    files = {**tiny_files, "train/n01/images/n01_2.JPEG": encode(0, (32, 16))}
    refused(load, tiny(make_zip(tmp_path / "x.zip", files)), r"n01_2\.JPEG has 32 x 16 pixels")


def test_a_corrupt_image_is_refused_or_skipped(
    load: Load,
    tmp_path: Path,
    tiny_files: dict[str, bytes],
    make_zip: Make,
    caplog: pytest.LogCaptureFixture,
) -> None:
    name = "train/n01/images/n01_2.JPEG"
    files = {**tiny_files, name: tiny_files[name][:100]}
    path = make_zip(tmp_path / "x.zip", files)
    refused(load, tiny(path), rf"{name} cannot be decoded .*; fix or remove it, or set corrupt")
    with caplog.at_level(logging.WARNING):
        pack = load(tiny(path, corrupt="skip"))
    assert len(pack.images) == 23
    assert caplog.messages == [
        f"{path}: 1 of 24 images cannot be decoded and are left out; the first is {name}"
    ]


def test_the_real_tiny_imagenet(shared_data: Path, session_cache: Path) -> None:
    pack = datasets.load(tiny(shared_data / "tiny-imagenet-20.zip"), session_cache)
    assert pack.images.shape == (4000, 64, 64, 3)
    assert len(pack.classes) == 20
    assert np.bincount(pack.labels[~pack.test]).tolist() == [150] * 20
    assert np.bincount(pack.labels[pack.test]).tolist() == [50] * 20


# Folders


def image_files(encode: Encode, *folders: str, count: int = 5) -> dict[str, bytes]:
    """``count`` images below each folder."""
    return {
        f"{folder}/{number}.jpg": encode(zlib.crc32(f"{folder}/{number}".encode()))
        for folder in folders
        for number in range(count)
    }


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_folder_with_a_test_split(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make, test_name: str
) -> None:
    files = image_files(encode, "train/dog", "train/cat", f"{test_name}/cat", f"{test_name}/dog")
    pack = load(folder(make_folder(tmp_path / "pets", files)))
    assert pack.classes == ("cat", "dog")
    assert pack.labels.tolist() == [0] * 5 + [1] * 5 + [0] * 5 + [1] * 5
    assert pack.test.tolist() == [False] * 10 + [True] * 10


def test_folder_without_a_test_split_is_carved(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make, make_zip: Make
) -> None:
    files = image_files(encode, "cat", "dog", count=10)
    pack = load(folder(make_folder(tmp_path / "pets", files)))
    assert np.bincount(pack.labels[pack.test]).tolist() == [2, 2]
    inside = {f"pets/{name}": data for name, data in files.items()}
    assert load(folder(make_zip(tmp_path / "pets.zip", inside))).digest == pack.digest


def test_train_only_folder_has_no_test_images(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    files = image_files(encode, "train/a", "train/b")
    assert not load(folder(make_folder(tmp_path / "x", files))).test.any()


def test_images_of_different_sizes_need_image_size(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    files = image_files(encode, "a", "b")
    files["a/wide.png"] = encode(1, (40, 20), format="PNG")
    path = make_folder(tmp_path / "x", files)
    refused(load, folder(path), "different sizes, such as 16 x 16 and 40 x 20 pixels; set image_s")
    assert load(folder(path, image_size=24)).images.shape == (11, 24, 24, 3)


def test_images_of_one_size_are_kept_as_they_are(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    path = make_folder(tmp_path / "x", image_files(encode, "a", "b"))
    assert load(folder(path, image_size=64)).images.shape[1:3] == (16, 16)


def test_an_empty_class_folder(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    path = make_folder(tmp_path / "x", image_files(encode, "train/a", "train/b"))
    (path / "train" / "c").mkdir()
    refused(load, folder(path), "class folder train/c has no images; add some or remove it")


def test_a_test_class_without_training_images(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    files = image_files(encode, "train/a", "train/b", "test/c")
    refused(load, folder(make_folder(tmp_path / "x", files)), "class c is in test/ but not in tra")


@pytest.mark.parametrize("files", [(), ("a",), ("train/a",)])
def test_fewer_than_two_classes(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make, files: tuple[str, ...]
) -> None:
    path = make_folder(tmp_path / "x", image_files(encode, *files))
    path.mkdir(exist_ok=True)
    refused(load, folder(path), r"has \d class folders with images; it needs at least two")


def test_nothing_that_decodes(load: Load, tmp_path: Path, make_folder: Make) -> None:
    files = {"a/1.jpg": b"x", "b/1.jpg": b"y"}
    refused(load, folder(make_folder(tmp_path / "x", files)), r"a/1\.jpg is not an image")


def test_a_class_that_loses_all_images_is_named(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    files = {**image_files(encode, "train/a", "train/b"), "train/c/1.jpg": b"x"}
    source = folder(make_folder(tmp_path / "x", files), corrupt="skip")
    pack = load(source)
    with pytest.raises(DataError, match="class c has no training images"):
        datasets.splits(pack, source)


def test_too_few_images_to_split(
    load: Load, tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    source = folder(make_folder(tmp_path / "x", image_files(encode, "train/a", "train/b", count=1)))
    with pytest.raises(DataError, match="the validation split has 0 images; add images"):
        datasets.splits(load(source), source)


# Duplicates


Images = dict[str, tuple[str, int, bool]]
"""Names of images, each with its pixels, label, and whether it is in test."""


def pack_of(images: Images) -> Pack:
    rows = list(images.values())
    hashes = np.array([zlib.crc32(pixels.encode()) for pixels, _, _ in rows], dtype=np.uint64)
    labels = np.array([label for _, label, _ in rows])
    test = np.array([test for _, _, test in rows])
    pixels = np.zeros((len(rows), 1, 1, 3), dtype=np.uint8)
    return Pack(pixels, labels, test, ("a", "b"), "", hashes, ("a", "b"))


def splits_of(images: Images, duplicates: str) -> dict[str, list[str]]:
    source, names = DataSource(validation=0.25, duplicates=duplicates), list(images)
    found = datasets.splits(pack_of(images), source)
    return {split: [names[i] for i in where] for split, where in found.items()}


def test_dropping_duplicates() -> None:
    images = {
        f"{name}{n}": (f"{name}{n}", label, n >= 16)
        for label, name in enumerate("ab")
        for n in range(20)
    }
    where = splits_of(images, "keep")
    a, b = ([n for n in where["train"] if n.startswith(name)] for name in "ab")
    va, vb = ([n for n in where["validation"] if n.startswith(name)] for name in "ab")

    def copy(of: str, *names: str) -> None:
        for name in names:
            images[name] = (images[of][0], *images[name][1:])

    copy("a16", a[0])  # train and test
    copy("a17", va[0])  # validation and test
    copy("a18", a[1], va[1])  # all three
    copy(vb[0], b[0])  # train and validation
    copy(a[2], a[3])  # twice in train, of one label: both stay
    copy(a[4], b[1])  # train, conflicting: neither stays
    copy(va[2], vb[1])  # validation, conflicting: both stay
    gone = {a[0], va[0], a[1], va[1], b[0], a[4], b[1]}

    assert splits_of(images, "keep") == where
    left = {split: [n for n in names if n not in gone] for split, names in where.items()}
    assert splits_of(images, "drop") == left
    for how, dropped in (("keep", 0), ("drop", len(gone))):
        source = DataSource(validation=0.25, duplicates=how)
        assert datasets.duplicates(pack_of(images), source) == Duplicates(7, 4, 2, dropped)


def test_dropping_all_of_a_class_says_what_to_do() -> None:
    images = {str(n): ("same" if n % 2 else str(n), n % 2, n >= 20) for n in range(40)}
    with pytest.raises(DataError, match=r'class b has no training.* or set duplicates = "keep"'):
        splits_of(images, "drop")


def test_duplicates_of_files_are_found(
    load: Load, tmp_path: Path, tiny_files: dict[str, bytes], make_zip: Make
) -> None:
    files = dict(tiny_files)
    files["val/images/val_0.JPEG"] = files["train/n01/images/n01_0.JPEG"]
    source = tiny(make_zip(tmp_path / "x.zip", files))
    assert datasets.duplicates(load(source), source) == Duplicates(1, 1, 1, 0)


def test_the_real_duplicates(shared_data: Path, session_cache: Path) -> None:
    source = tiny(shared_data / "tiny-imagenet-20.zip", duplicates="drop")
    pack = datasets.load(source, session_cache)
    found = datasets.duplicates(pack, source)
    assert len(pack.hashes) - len(np.unique(pack.hashes)) >= found.groups
    splits = datasets.splits(pack, source)
    assert not np.isin(pack.hashes[splits["train"]], pack.hashes[splits["test"]]).any()


# Images without labels


def test_tiny_imagenet_test_images_in_natural_order(
    tiny_zip: Path, tiny_folder: Path, tiny_files: dict[str, bytes]
) -> None:
    for path in (tiny_zip, tiny_folder, tiny_folder.parent):
        found = datasets.unlabelled(path)
        assert [Path(name).name for name in found.names] == [f"test_{i}.JPEG" for i in range(12)]
        images = list(found.images())
        expected = decode.decode(tiny_files["test/images/test_10.JPEG"])
        assert np.array_equal(images[10], expected)


def test_an_image_or_a_folder_of_images(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    path = make_folder(tmp_path / "x", {"b.png": encode(1, format="PNG"), "a/c.jpg": encode(2)})
    assert datasets.unlabelled(path).names == ("a/c.jpg", "b.png")
    one = datasets.unlabelled(path / "b.png")
    assert one.names == ("b.png",)
    assert np.array_equal(next(iter(one.images())), decode.decode(encode(1, format="PNG")))


def test_nothing_to_predict(tmp_path: Path, make_folder: Make) -> None:
    with pytest.raises(DataError, match="has no images to predict"):
        datasets.unlabelled(make_folder(tmp_path / "x", {"a.txt": b""}))
    with pytest.raises(DataError, match="does not exist"):
        datasets.unlabelled(tmp_path / "nothing.jpg")
    path = make_folder(tmp_path / "y", {"a.jpg": b"junk"})
    with pytest.raises(DataError, match=r"a\.jpg cannot be decoded"):
        list(datasets.unlabelled(path).images())


def test_the_decoder_does_not_change_the_digest(
    load: Load, tiny_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    first = load(tiny(tiny_zip))
    monkeypatch.setattr(decode, "simplejpeg", None)
    assert datasets.load(tiny(tiny_zip), tmp_path / "other").digest == first.digest
