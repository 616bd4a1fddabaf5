"""Images without labels: which they are, and in which order."""

from __future__ import annotations

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
        images = list(found.images())
        expected = decode.decode(tiny_files["test/images/test_10.JPEG"])
        assert np.array_equal(images[10], expected)


def test_an_image_or_a_folder_of_images(tmp_path: Path, encode: Encode, make_folder: Make) -> None:
    path = make_folder(tmp_path / "x", {"b.png": encode(1, format="PNG"), "a/c.jpg": encode(2)})
    assert unlabelled(path).names == ("a/c.jpg", "b.png")
    one = unlabelled(path / "b.png")
    assert one.names == ("b.png",)
    assert np.array_equal(next(iter(one.images())), decode.decode(encode(1, format="PNG")))


def test_nothing_to_predict(tmp_path: Path, make_folder: Make) -> None:
    with pytest.raises(DataError, match="has no images to predict"):
        unlabelled(make_folder(tmp_path / "x", {"a.txt": b""}))
    with pytest.raises(DataError, match="does not exist"):
        unlabelled(tmp_path / "nothing.jpg")
    path = make_folder(tmp_path / "y", {"a.jpg": b"junk"})
    with pytest.raises(DataError, match=r"a\.jpg cannot be decoded"):
        list(unlabelled(path).images())
