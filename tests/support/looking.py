"""Looks at pages in a browser as people would, wide and narrow, light and dark, and printed.

To have every page of a gallery looked at, with a picture of each for people to look at themselves:

    .venv/bin/python tests/support/gallery.py /tmp/gallery
    .venv/bin/python tests/support/looking.py /tmp/gallery /tmp/pictures better hostile

This prints what is wrong with each page (sticks out, is cut, cannot be read, ...) with the widths
at which it is ("390d": 390 pixels, dark), and writes /tmp/pictures/CASE-WIDTH.png and CASE.pdf.
Without names it looks at all pages; without the second folder it takes no pictures.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from browser import Browser, Tab

WIDTHS: Final = (1400, 768, 390)
"""Of the window, in CSS pixels: a desktop, a tablet, a phone."""
PRINTED: Final = 718
"""Of a sheet of A4 within Chromium's margins, in CSS pixels."""
_INSPECT: Final = Path(__file__).with_name("inspect_page.js").read_text(encoding="utf-8")
_DRAWN: Final = """[...document.querySelectorAll(".plot")].every((plot) => {
  const drawn = plot.querySelector(".main-svg");
  const hidden = !plot.checkVisibility();
  return hidden || (drawn && Math.abs(drawn.clientWidth - plot.clientWidth) <= 1);
})"""
"""JavaScript: every figure that is shown has been drawn as wide as its place is now."""


def set_window(tab: Tab, width: int, *, dark: bool = False, media: str = "screen") -> None:
    """Show a page so wide, as a desktop or, below 500 pixels, a phone does, and let it be drawn."""
    tab.show(
        width=width, height=900 if width > 500 else 844, dark=dark, media=media, mobile=width < 500
    )
    tab.wait_for(_DRAWN)
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def inspect(tab: Tab, width: int) -> list[str]:
    """What is wrong with how a page looks, in words; ``inspect_page.js`` says what is looked at."""
    found: list[str] = tab.evaluate(f"({_INSPECT})({width})")
    return found


def look(tab: Tab, widths: Sequence[int] = WIDTHS) -> dict[str, list[str]]:
    """What is wrong with a page, and where: "390" or, in dark, "390d"; "print"."""
    found: dict[str, list[str]] = defaultdict(list)
    for width in widths:
        for dark in (False, True):
            set_window(tab, width, dark=dark)
            for fault in inspect(tab, width):
                found[fault].append(f"{width}{'d' * dark}")
    set_window(tab, PRINTED, media="print")
    for fault in inspect(tab, PRINTED):
        found[fault].append("print")
    return dict(found)


def strangers(tab: Tab) -> list[str]:
    """What a page has asked for besides itself and what it carries in it."""
    return [url for url in tab.requests[1:] if not url.startswith(("data:", "blob:"))]


def take_pictures(tab: Tab, folder: Path, name: str) -> None:
    """Write pictures of a page: wide in light and dark, narrow, and as it is printed."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, dark in ((1400, False), (1400, True), (390, False)):
        set_window(tab, width, dark=dark)
        tab.screenshot(folder / f"{name}-{width}{'d' * dark}.png")
    set_window(tab, PRINTED, media="print")
    tab.pdf(folder / f"{name}.pdf")


@click.command()
@click.argument("gallery", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("pictures", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.argument("names", nargs=-1)
def main(gallery: Path, pictures: Path | None, names: Sequence[str]) -> None:
    """Look at the pages of GALLERY, and put pictures of them into PICTURES."""
    there = [path.parent.name for path in sorted(gallery.glob("*/report.html"))]
    temporary = tempfile.TemporaryDirectory(prefix="tuneoff-browser-", ignore_cleanup_errors=True)
    with temporary as home, Browser(Path(home) / "profile") as browser:
        for name in names or there:
            tab = browser.open((gallery / name / "report.html").as_uri())
            said: list[Any] = [*tab.problems, *strangers(tab)]
            said += [f"{fault} ({', '.join(at)})" for fault, at in look(tab).items()]
            click.echo(f"{name}: {len(said) or 'nothing'} to say")
            for line in said:
                click.echo(f"  {line}")
            if pictures is not None:
                take_pictures(tab, pictures, name)
            tab.close()


if __name__ == "__main__":
    main()
