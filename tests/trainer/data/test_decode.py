"""Pixels from bytes, the same with and without simplejpeg."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tuneoff.trainer.data import decode
from tuneoff.trainer.data.decode import CannotDecodeError
from tuneoff.trainer.data.formats import FORMATS
from tuneoff.trainer.data.room import Room

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


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_every_format(encode: Encode, format: str) -> None:
    encoded = encode(1, (20, 10), format=format)
    assert decode.size(encoded) == (10, 20)
    pixels = decode.decode(encoded).astype(int)
    whole = decode.decode(encode(1, (20, 10), format="PNG"))
    assert np.abs(pixels - whole).mean() < 12  # a palette or a quality of 75 keep this much


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("format", FORMATS)
def test_what_is_truncated_is_refused_whatever_its_format(
    encode: Encode, format: str, mode: str
) -> None:
    encoded = encode(1, (40, 30), mode, format)
    with decode.quiet():
        for length in range(0, len(encoded) * 9 // 10, max(1, len(encoded) // 20)):
            with pytest.raises(CannotDecodeError) as caught:
                decode.decode(encoded[:length])
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
def test_damage_is_one_kind_of_error_whatever_the_format(encode: Encode, format: str) -> None:
    encoded = encode(1, (40, 30), format=format)
    rng = np.random.default_rng(0)
    with decode.quiet():
        for _ in range(60):
            damaged = bytearray(encoded)
            for place in rng.integers(0, min(64, len(encoded)), 3):
                damaged[place] = rng.integers(256)
            for work in (decode.decode, decode.size):
                with contextlib.suppress(CannotDecodeError):
                    work(bytes(damaged))


def test_postscript_is_not_read(encode: Encode) -> None:
    with pytest.raises(CannotDecodeError, match="not an image"):
        decode.decode(encode(0, format="EPS"))


def test_of_several_frames_the_first_is_taken() -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert (decode.decode(buffer.getvalue()) == [255, 0, 0]).all()


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
    monkeypatch.setattr(decode, "LARGE_IMAGE", 50)
    monkeypatch.setattr(decode, "LARGEST_IMAGE", 100)
    with pytest.raises(CannotDecodeError, match="16 x 16 pixels, more than"):
        decode.decode(encode(0))


@pytest.mark.slow
def test_a_bomb_is_named_by_the_limit() -> None:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    for work in (decode.decode, decode.size):
        with pytest.raises(CannotDecodeError, match="more than 64 million, the limit"):
            work(buffer.getvalue())


@pytest.mark.parametrize("format", ["PNG", "BMP", "WEBP", "JPEG2000"])
def test_large_images_come_out_like_small_ones(
    encode: Encode, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    encoded = encode(1, (200, 120), format=format)
    small = decode.decode(encoded, (16, 16))
    assert np.array_equal(small, decode.fit(decode.decode(encoded), 16, 16))
    monkeypatch.setattr(decode, "LARGE_IMAGE", 100)
    assert np.array_equal(decode.decode(encoded, (16, 16)), small)
    assert np.array_equal(decode.decode(encoded), decode.decode(encoded))


def test_large_jpeg_files_are_scaled_while_they_are_decoded(
    decoder: str, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encode(1, (400, 300))
    exact = decode.decode(encoded, (16, 16)).astype(int)
    monkeypatch.setattr(decode, "LARGE_IMAGE", 100)
    seen = []
    resize = Image.Image.resize

    def resized(image: Image.Image, *to: Any, **more: Any) -> Image.Image:
        seen.append(image.size)
        return resize(image, *to, **more)

    monkeypatch.setattr(Image.Image, "resize", resized)
    assert np.abs(decode.decode(encoded, (16, 16)) - exact).max() <= 3
    assert seen == [(50, 38)]  # an eighth, which is more than twice the size
    assert decode.decode(encoded).shape == (300, 400, 3)


def test_large_images_wait_for_room(encode: Encode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LARGE_IMAGE", 100)
    monkeypatch.setattr(decode, "_room", Room(2 * 16 * 16))
    at_once, most = 0, 0
    lock, pixels = Lock(), decode._pixels

    def counted(image: Image.Image, *to: Any) -> decode.Pixels:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.002)
        try:
            return pixels(image, *to)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(decode, "_pixels", counted)
    encoded = [encode(n, format="PNG") for n in range(30)]
    encoded[7] = encoded[7][:200]  # one that fails leaves its room to others

    def decoded(one: bytes) -> bool:
        with contextlib.suppress(CannotDecodeError):
            return decode.decode(one).shape == (16, 16, 3)
        return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(decoded, encoded)) == 29
    assert most == 2


def test_fit_cuts_out_the_middle() -> None:
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 200
    assert (decode.fit(pixels, 10, 10) == 200).all()
    assert decode.fit(pixels, 20, 20).shape == (20, 20, 3)
    assert decode.fit(pixels, 10, 30) is pixels
