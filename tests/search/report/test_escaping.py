"""Foreign text in the report's Markdown and HTML: shown as it is, and never more than text."""

from __future__ import annotations

import html as html_of_python

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tuneoff.messages import printable
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.html import html
from tuneoff.search.report.markdown import table_block, text
from tuneoff.search.report.tables import Table
from tuneoff.search.results.compare import compare
from tuneoff.search.results.records import ArmRun, StudyResults

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HOSTILE = [
    "<script>document.title='owned'</script>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/beacon)",
    "a | b",
    "# heading",
    "- item",
    "+ item",
    "1. item",
    "1) item",
    "---",
    "`code` *bold* __bold__ ~~gone~~ $x$",
    "&lt;script&gt; &#106;avascript",
    "<https://evil.example>",
    "\x1b[31mred",
    "two\nlines\n\n# heading",
    "abc\u202egnp.exe",
    "back\\slash \\<b>",
    "    indented",
]


def shown(raw: str) -> str:
    """What a reader is to see."""
    return printable(" ".join(raw.split()))


def words_of(tokens: list[Token]) -> tuple[str, set[str]]:
    """The text of rendered tokens, and what else they are."""
    words = ""
    kinds: set[str] = set()
    for token in tokens:
        if token.children is not None:
            inner, more = words_of(token.children)
            words, kinds = words + inner, kinds | more
        elif token.type in ("text", "text_special"):
            words += token.content
        else:
            kinds.add(token.type)
    return words, kinds


@pytest.mark.parametrize("raw", HOSTILE)
def test_hostile_text_is_shown(raw: str) -> None:
    words, kinds = words_of(RENDERER.parse(text(raw)))
    assert words == shown(raw)
    assert kinds <= {"paragraph_open", "paragraph_close"}


@given(st.text(st.characters(exclude_categories=())))
@example("_")
@example("1.")
@example("a_ _b_")
def test_any_text_is_shown(raw: str) -> None:
    words, kinds = words_of(RENDERER.parse(text(raw)))
    assert words.strip() == shown(raw).strip()
    assert kinds <= {"paragraph_open", "paragraph_close"}


@given(st.lists(st.text(max_size=20), min_size=2, max_size=2))
def test_any_cell_stays_a_cell(cells: list[str]) -> None:
    block = table_block(Table("T", ("a", "b"), (tuple(cells),)))
    tokens = RENDERER.parse(block)
    assert [t.type for t in tokens].count("td_open") == 2
    inline = [t for t in tokens if t.type == "inline"][-2:]
    assert [words_of([t])[0].strip() for t in inline] == [shown(cell).strip() for cell in cells]


@pytest.mark.parametrize(
    "address", ["https://evil.example", "www.evil.example", "me@evil.example", "mailto:a"]
)
def test_an_address_is_no_link_for_those_that_make_links_of_them(address: str) -> None:
    assert address not in text(f"see {address}")
    assert words_of(RENDERER.parse(text(address)))[0] == address


@pytest.mark.parametrize("raw", ["weight_decay", "-0.12", "+0.12 (-1.0 to 2.0)", "12.34", "0.5%"])
def test_what_is_harmless_stays_readable(raw: str) -> None:
    assert text(raw) == raw


@pytest.mark.parametrize("raw", [HOSTILE[0], '\x1b[31mred \u202e & <b> "x"'])
def test_html_shows_it(raw: str) -> None:
    arms = ("bayes", raw)
    runs = tuple(
        ArmRun(arm, repeat, 20, 20, 60.0, {"complete": 4}, (), None)
        for arm in arms
        for repeat in range(2)
    )
    results = StudyResults(raw, arms, 2, 5, 0.9, runs)
    page = html(ReportData(results, compare(results)))
    head = page[: page.index("</title>")]
    assert (
        html_of_python.escape(printable(raw)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")
        in head
    )
    assert not {"\x1b", "\u202e"} & set(page)
