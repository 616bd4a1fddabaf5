"""What Pillow says of a JPEG file that is scaled while it is decoded."""

from __future__ import annotations

import io

from PIL import Image


def test_a_draft_gives_the_part_of_its_pixels_that_counts() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300)).save(buffer, "JPEG")
    with Image.open(buffer, formats=["JPEG"]) as image:
        drafted = image.draft(None, (32, 32))
        assert drafted is not None
        assert drafted[1] == (0, 0, 50, 37.5)
        assert image.size == (50, 38)


def test_other_formats_have_no_draft() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300)).save(buffer, "PNG")
    with Image.open(buffer) as image:
        assert image.draft(None, (32, 32)) is None
        assert image.size == (400, 300)
