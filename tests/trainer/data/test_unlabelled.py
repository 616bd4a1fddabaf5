"""Images without labels: which they are, and in which order."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.unlabelled import unlabelled
from tuneoff.trainer.errors import DataError

Encode = Callable[..., bytes]
Make = Callable[[Path, dict[str, bytes]], Path]


def test_tiny_imagenet_test_images_in_natural_order(
    tiny_zip: Path, tiny_folder: Path, tiny_files: dict[str, bytes]
) -> None:
    for path in (tiny_zip, tiny_folder, tiny_folder.parent):
        found = unlabelled(path)
        assert [Path(name).name for name in found.names] == [f"test_{i}.JPEG" for i in range(12)]
        images = list(found.images(16, 16))
        expected = decode.decode(tiny_files["test/images/test_10.JPEG"])
        assert np.array_equal(images[10], expected)


def test_an_image_or_a_folder_of_images(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    path = make_folder(tmp_path / "x", {"b.png": encode(1, format="PNG"), "a/c.jpg": encode(2)})
    assert unlabelled(path).names == ("a/c.jpg", "b.png")
    one = unlabelled(path / "b.png")
    assert one.names == ("b.png",)
    assert np.array_equal(next(iter(one.images(16, 16))), decode.decode(encode(1, format="PNG")))


def test_nothing_to_predict(tmp_path: Path, make_folder: Make) -> None:
    with pytest.raises(DataError, match="has no images to predict"):
        unlabelled(make_folder(tmp_path / "x", {"a.txt": b""}))
    with pytest.raises(DataError, match="does not exist"):
        unlabelled(tmp_path / "nothing.jpg")
    path = make_folder(tmp_path / "y", {"a.jpg": b"junk"})
    with pytest.raises(DataError, match=r"a\.jpg cannot be decoded"):
        list(unlabelled(path).images(8, 8))


def test_images_are_scaled_and_cropped(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    encoded = encode(3, (60, 20), format="PNG")
    (image,) = unlabelled(make_folder(tmp_path / "x", {"a.png": encoded})).images(8, 16)
    assert np.array_equal(image, decode.fit(decode.decode(encoded), 8, 16))


def test_links_are_followed(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    make_folder(tmp_path / "elsewhere", {"b.jpg": encode(1)})
    path = make_folder(tmp_path / "x", {"a.jpg": encode(2)})
    (path / "linked").symlink_to(tmp_path / "elsewhere")
    assert unlabelled(path).names == ("a.jpg", "linked/b.jpg")


def test_names_are_a_line_each(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    names = ["two\nlines.jpg", os.fsdecode(b"caf\xe9.jpg")]
    path = make_folder(tmp_path / "x", {name: encode(n) for n, name in enumerate(names)})
    found = unlabelled(path)
    assert found.names == (r"caf\udce9.jpg", r"two\nlines.jpg")
    assert len(list(found.images(8, 8))) == 2
    assert unlabelled(path / names[0]).names == (r"two\nlines.jpg",)


def test_digits_of_any_kind_and_number_can_be_sorted(
    tmp_path: Path, encode: Encode, make_zip: Make
) -> None:
    names = ["1²3.jpg", "02.jpg", "10.jpg", f"{'9' * 5000}.jpg"]
    path = make_zip(tmp_path / "x.zip", {name: encode(0) for name in reversed(names)})
    assert unlabelled(path).names == tuple(names)


def test_formats_that_cannot_be_decoded_are_refused(
    tmp_path: Path, encode: Encode, make_folder: Make
) -> None:
    path = make_folder(tmp_path / "x", {"a.jpg": encode(0), "b.HEIC": b"x", "c.heic": b"x"})
    with pytest.raises(DataError, match=r"2 images in formats that cannot .* as b\.HEIC; convert"):
        unlabelled(path)
    with pytest.raises(DataError, match=r"c\.heic cannot be decoded here; convert it to JPEG"):
        unlabelled(path / "c.heic")


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, make_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_folder(tmp_path / "x", {"a.png": bytes(2000)})
    monkeypatch.setattr("tuneoff.trainer.data.files.LARGEST_FILE", 1000)
    for images in (path, path / "a.png"):
        with pytest.raises(DataError, match=r"a\.png cannot be decoded \(.* has 2,000 bytes"):
            list(unlabelled(images).images(8, 8))
