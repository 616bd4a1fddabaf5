"""What every page needs to be filled in: escaping templates, and figures packed into the page."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape
from plotly.io import to_json

from tuneoff.messages import printable
from tuneoff.search.report.figures.base import Panels


def environment() -> jinja2.Environment:
    """Of the templates beside this module: every text that they insert is escaped."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["code"] = _with_code
    return found


def element_names(panels: Panels) -> list[tuple[str, int]]:
    """For each figure: the id of the element in which plotly draws it, and its height in pixels."""
    return [
        (f"figure-{panels.name}-{i}", figure.layout.height or 420)
        for i, figure in enumerate(panels.figures)
    ]


def figures_json(panels: Sequence[Panels]) -> str:
    """All figures, by the ids of their elements, as JSON."""
    entries = [
        f'"{name}": {to_json(figure)}'
        for one in panels
        for (name, _), figure in zip(element_names(one), one.figures, strict=True)
    ]
    return f"{{{', '.join(entries)}}}"


def packed(text: str) -> Markup:
    """Compressed, and in letters that mean nothing in HTML: plotly.js alone has five megabytes."""
    return Markup(base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode())


def source(name: str) -> Markup:
    """A style sheet or script beside this module, as it is put into a page."""
    return Markup((Path(__file__).parent / name).read_text(encoding="utf-8"))


def script_hash(text: str) -> str:
    """What a Content-Security-Policy calls a script that stands in the page."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _with_code(text: str) -> Markup:
    """A sentence in which what stands between backticks is a command."""
    parts = [escape(printable(part)) for part in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(printable(text))
    marked = (
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )
    return Markup("").join(marked)


def _shown(value: object) -> object:
    """What a template inserts: of text, no character that controls or turns what follows."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value)
