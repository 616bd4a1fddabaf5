"""The report's HTML: one page, one stylesheet, tables and figures; every text is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

from plotly import graph_objects as go
from plotly.io import to_html
from plotly.offline import get_plotlyjs

# Plotly writes its text colour into each element; only !important reaches past that, and it is
# what lets one figure serve a light and a dark page.
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --page: #ffffff;
  --panel: #f6f8fa; --line: #d8dee4; --good: #0072b2; --thin: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa4ae; --page: #0f141a;
  --panel: #181f27; --line: #323b45; --good: #56b4e9; --thin: #e3b341; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 8px 0 16px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 44px 0 6px; padding-top: 14px;
  border-top: 1px solid var(--line); }
p, li { max-width: 74ch; }
.verdict { background: var(--panel); border-left: 5px solid var(--good); border-radius: 4px;
  padding: 14px 18px; margin: 0 0 14px; font-size: 1.12rem; max-width: none;
  overflow-wrap: anywhere; }
.verdict.thin { border-color: var(--thin); }
.caveats { margin: 12px 0; border: 1px solid var(--thin); border-radius: 4px; padding: 10px 18px; }
.caveats h3 { margin: 0; font-size: 1rem; color: var(--thin); }
.caveats ul { margin: 4px 0; padding-left: 20px; }
.soft, figcaption, .key { color: var(--soft); font-size: .92rem; }
.scroll { overflow-x: auto; margin: 12px 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 6px 12px 6px 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child, th.text, td.text { text-align: left; }
td.text { white-space: normal; min-width: 12ch; }
.dot { display: inline-block; width: .72em; height: .72em; border-radius: 50%;
  margin-right: .45em; }
.key span.arm { margin-right: 1.3em; white-space: nowrap; }
figure { margin: 10px 0 0; }
figcaption { margin-top: 6px; }
/* auto-fill, not auto-fit: each figure is drawn as it is parsed, when its neighbours are not
   there yet, and must be given its final width already. */
.grid { display: grid; gap: 8px 16px;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 310px), 1fr)); }
.grid > div { min-width: 0; }
details summary { cursor: pointer; color: var(--soft); margin-top: 10px; }
.js-plotly-plot g:not(.hoverlayer):not(.hoverlayer *) > text { fill: var(--ink) !important; }
.js-plotly-plot .notext { fill: none !important; }
@media (max-width: 600px) { main { padding: 12px 14px 48px; } h1 { font-size: 1.4rem; }
  .verdict { font-size: 1.02rem; } }
@media print { details > * { display: block; } }
"""


def page(title: str, body: Sequence[str], *, plotly: bool) -> str:
    """A whole document that needs no network; ``plotly``: with plotly.js inside."""
    script = f"<script>{get_plotlyjs()}</script>" if plotly else ""
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>{script}",
            "</head><body><main>",
            f"<h1>{escape(title)}</h1>",
            *body,
            "</main></body></html>\n",
        )
    )


def heading(text: str) -> str:
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{escape(kind)}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def bullets(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def caveats(title: str, items: Sequence[str]) -> str:
    return f'<div class="caveats"><h3>{escape(title)}</h3>{bullets(items)}</div>'


def details(summary: str, body: str) -> str:
    """``body`` (HTML) folded away under ``summary`` (text)."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def key(colours: Mapping[str, str]) -> str:
    """Which colour is which arm, for a grid of figures without legends of their own."""
    arms = (f'<span class="arm">{_dot(c)}{escape(arm)}</span>' for arm, c in colours.items())
    return f'<div class="key">{"".join(arms)}</div>'


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text_columns: Sequence[int] = (),
    colours: Mapping[str, str] | None = None,
) -> str:
    """A table that scrolls sideways where it does not fit.

    Args:
        header: column titles.
        rows: cells as text.
        text_columns: columns of running text, which is set left and wrapped.
        colours: an arm's colour by its name, shown before that name in the first column.
    """

    def cell(tag: str, column: int, text: str) -> str:
        kind = ' class="text"' if column in text_columns else ""
        dot = _dot(colours[text]) if colours and column == 0 and text in colours else ""
        return f"<{tag}{kind}>{dot}{escape(text)}</{tag}>"

    def row(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(cell(tag, i, text) for i, text in enumerate(cells)) + "</tr>"

    body = "".join(row("td", cells) for cells in rows)
    return (
        f'<div class="scroll"><table><thead>{row("th", header)}</thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def figures(name: str, panels: Sequence[go.Figure], caption: str) -> str:
    """Plotly figures with one caption: one across the page, several in a grid that folds."""
    divs = "".join(
        to_html(
            panel,
            full_html=False,
            include_plotlyjs=False,
            default_height=f"{panel.layout.height or 420}px",
            config={"responsive": True, "displaylogo": False, "displayModeBar": False},
            div_id=f"figure-{name}-{index}",
        )
        for index, panel in enumerate(panels)
    )
    grid = ' class="grid"' if len(panels) > 1 else ""
    return f"<figure><div{grid}>{divs}</div><figcaption>{escape(caption)}</figcaption></figure>"


def _dot(colour: str) -> str:
    return f'<span class="dot" style="background:{escape(colour)}"></span>'
