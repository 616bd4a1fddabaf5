"""The report's figures as files, PNG or SVG, for slides and papers."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from plotly import graph_objects as go

from tuneoff.files import make_folder, replacing
from tuneoff.search.errors import SearchError, UserError
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.figures import all_panels
from tuneoff.search.report.figures.base import Panels, shown
from tuneoff.search.report.figures.why import why_panels

FORMATS: Final = ("png", "svg")
FOLDER: Final = "figures"
"""Within the report's folder."""
_BROWSERS: Final = (
    *("chromium", "chromium-browser"),
    *("google-chrome", "google-chrome-stable", "chrome"),
)
_WIDTH: Final = (900, 520)  # pixels: of a figure that stands alone, and of one in a grid
_SCALE: Final = 2  # PNG pixels for each


def check_pictures(formats: Sequence[str]) -> None:
    """Make sure that figures can be written as files, before anything is written.

    Raises:
        UserError: a format is unknown, or what draws them is not installed.
    """
    for one in formats:
        if one not in FORMATS:
            raise UserError(f"--figures {one}: choose from {', '.join(FORMATS)}, as in png,svg")
    if find_spec("kaleido") is None:
        raise UserError('--figures needs the extra "images": uv pip install "tuneoff[images]"')
    if _browser() is None:
        raise UserError(
            "--figures needs Chrome or Chromium, which draws them: install one, or set BROWSER_PATH"
            " to where it is"
        )


def write_pictures(data: ReportData, out: Path, formats: Sequence[str]) -> list[Path]:
    """Write every figure into ``out``/figures, each in every format; see ``check_pictures``.

    Returns:
        The files' paths; their names are those of the panels.

    Raises:
        SearchError: the browser could not draw them, or they cannot be written.
    """
    folder = out / FOLDER
    figures = list(_figures([*why_panels(data), *all_panels(data)]))
    try:
        make_folder(folder)
        return asyncio.run(_write(figures, folder, formats))
    except OSError as error:
        why = error.strerror or error
        raise SearchError(f"{folder}: figures cannot be written ({why})") from error


def _figures(panels: Sequence[Panels]) -> Iterator[tuple[str, go.Figure]]:
    """Every figure by its file's name: with a title, on white."""
    for one in panels:
        for i, figure in enumerate(one.figures):
            several = len(one.figures) > 1
            copied = go.Figure(figure)
            margin = copied.layout.margin
            copied.update_layout(
                title={"text": shown(one.title), "x": 0.02, "font": {"size": 15}},
                paper_bgcolor="white",
                plot_bgcolor="white",
                font={"color": "#1f2328", "family": "DejaVu Sans, Arial, sans-serif"},
                margin={"t": (margin.t or 34) + 44},
                width=_WIDTH[several],
                height=(copied.layout.height or 420) + 44,
            )
            yield (f"{one.name}-{i}" if several else one.name), copied


async def _write(
    figures: Sequence[tuple[str, go.Figure]], folder: Path, formats: Sequence[str]
) -> list[Path]:
    import kaleido
    import plotly

    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    written = []
    # Nothing is fetched: without these two it would ask a network for its scripts.
    async with kaleido.Kaleido(mathjax=False, plotlyjs=script, path=_browser()) as drawing:
        for name, figure in figures:
            for form in dict.fromkeys(formats):
                options = {
                    "format": form,
                    "width": figure.layout.width,
                    "height": figure.layout.height,
                    "scale": _SCALE if form == "png" else 1,
                }
                drawn = await drawing.calc_fig(figure, opts=options)
                path = folder / f"{name}.{form}"
                with replacing(path) as file:
                    file.write(drawn)
                written.append(path)
    return written


def _browser() -> str | None:
    if said := os.environ.get("BROWSER_PATH"):
        return shutil.which(said)
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)
