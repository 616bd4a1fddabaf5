"""Pixels from bytes, the same with and without simplejpeg."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.decode import CannotDecodeError

Encode = Callable[..., bytes]


@pytest.fixture(params=["simplejpeg", "pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test with either decoder."""
    if request.param == "pillow":
        monkeypatch.setattr(decode, "simplejpeg", None)
    else:
        pytest.importorskip("simplejpeg")
    return str(request.param)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("size", [(16, 16), (33, 17), (8, 64)])
def test_jpeg_is_decoded_as_pillow_does(
    decoder: str, encode: Encode, mode: str, size: tuple[int, int]
) -> None:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(encode(3, size))).convert(mode).save(buffer, "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(buffer.getvalue())).convert("RGB"))
    pixels = decode.decode(buffer.getvalue())
    assert pixels.dtype == np.uint8
    assert pixels.shape == (size[1], size[0], 3)
    if mode == "CMYK":
        assert np.abs(pixels.astype(int) - expected).max() <= 2
    else:
        assert np.array_equal(pixels, expected)
    assert decode.size(buffer.getvalue()) == (size[1], size[0])


@pytest.mark.parametrize("format", ["PNG", "BMP", "WEBP", "TIFF", "PPM"])
def test_other_formats(encode: Encode, format: str) -> None:
    assert decode.decode(encode(1, (20, 10), format=format)).shape == (10, 20, 3)


def test_palette_with_transparency() -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([255, 0, 0] * 256)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=bytes(range(256)))
    assert (decode.decode(buffer.getvalue()) == [255, 0, 0]).all()


def test_truncated_jpeg_is_refused(decoder: str, encode: Encode) -> None:
    encoded = encode(0, (64, 64))
    with pytest.raises(CannotDecodeError, match=r"(?i)truncated"):
        decode.decode(encoded[: len(encoded) // 2])


@pytest.mark.parametrize("encoded", [b"", b"hello", b"\xff\xd8", b"\xff\xd8\xff\xe0" + bytes(50)])
def test_junk_is_refused(decoder: str, encoded: bytes) -> None:
    with pytest.raises(CannotDecodeError):
        decode.decode(encoded)
    with pytest.raises(CannotDecodeError):
        decode.size(encoded)


def test_sixteen_bit_images_are_refused_rather_than_clipped() -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(buffer, "PNG")
    with pytest.raises(CannotDecodeError, match="more than 8 bits"):
        decode.decode(buffer.getvalue())


def test_too_many_pixels_are_refused(
    decoder: str, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "LARGEST_IMAGE", 100)
    with pytest.raises(CannotDecodeError, match="16 x 16 pixels are too many"):
        decode.decode(encode(0))


def test_fit_cuts_out_the_middle() -> None:
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 200
    assert (decode.fit(pixels, 10, 10) == 200).all()
    assert decode.fit(pixels, 20, 20).shape == (20, 20, 3)
    assert decode.fit(pixels, 10, 30) is pixels
