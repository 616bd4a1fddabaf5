"""The Markdown twin: what a pull request shows first, and foreign text in blocks of code."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator

import pytest
from gallery import build, open_gallery
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tuneoff.messages import printable
from tuneoff.search.report.data import ReportData, read_report_data
from tuneoff.search.report.markdown import code_block, markdown, prose
from tuneoff.search.study.snapshot import Snapshot

RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.fixture(scope="module")
def data_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ReportData]]:
    """What a case of the gallery has come to."""
    folder = tmp_path_factory.mktemp("markdown")
    database = open_gallery(folder)
    yield lambda name: read_report_data(Snapshot.of(build(database, folder, name)))
    database.close()


@pytest.mark.slow
def test_the_answer_comes_first_and_the_rest_is_folded(
    data_of: Callable[[str], ReportData],
) -> None:
    data = data_of("better")
    said = markdown(data)
    first, *_ = said.partition("<details>")
    assert len(first.splitlines()) < 60
    lines = first.splitlines()
    assert lines[0].startswith("# better: does ")
    assert lines[2].startswith("**Yes: ")
    blocks = [token for token in RENDERER.parse(first) if token.type == "fence"]
    assert [block.info for block in blocks[:2]] == ["toml", "sh"]
    assert data.best is not None
    assert tomllib.loads(blocks[0].content) == data.best.params
    assert "tuneoff train best.toml" in blocks[1].content
    assert "## A firmer answer" in first
    # Nothing is lost: what was computed stands in the folded part.
    assert data.comparison.pairs[0].sentence.split(":")[0] in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nothing", "all-diverged", "hostile", "one-trial"])
def test_marks_of_our_own_alone(name: str, data_of: Callable[[str], ReportData]) -> None:
    said = markdown(data_of(name))
    tokens = RENDERER.parse(said)
    blocks = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert all(block == "</details>" or block.startswith("<details><summary>") for block in blocks)
    inline = [child for token in tokens for child in token.children or ()]
    assert not [child for child in inline if child.type in ("html_inline", "image", "link_open")]
    assert len(said.partition("<details>")[0].splitlines()) < 60


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nothing", "one-trial", "undecided", "better"])
def test_commands_in_sentences_are_code(name: str, data_of: Callable[[str], ReportData]) -> None:
    tokens = RENDERER.parse(markdown(data_of(name)))
    inline = [child for token in tokens for child in token.children or ()]
    assert not [child.content for child in inline if child.type == "text" and "`" in child.content]


@pytest.mark.slow
def test_fifty_arms_are_still_short(data_of: Callable[[str], ReportData]) -> None:
    first, *_ = markdown(data_of("fifty-arms")).partition("<details>")
    assert len(first.splitlines()) < 60
    assert "more are among the details" in first


@given(st.text())
@example("```\n# not a heading\n")
@example("a = '''````'''")
@example("~~~\n<script>")
def test_code_is_code(code: str) -> None:
    (token,) = RENDERER.parse(code_block(code, "toml"))
    assert token.type == "fence"
    expected = "\n".join(printable(line) for line in code.strip("\n").split("\n"))
    assert token.content.rstrip("\n") == expected.rstrip("\n")


@given(st.text(alphabet=st.sampled_from("`ab <|*_$-&\\[](:/@.") | st.characters()))
@example("run `tuneoff run STUDY.toml`, then `tuneoff report`.")
@example("``")
@example("` `")
@example("`a``b`")
@example("a `<b>|*c*`")
def test_a_sentence_shows_its_words_and_nothing_else(raw: str) -> None:
    (_, inline, _) = RENDERER.parse(f"x {prose(raw)}")
    children = inline.children or []
    assert {child.type for child in children} <= {"text", "code_inline", "text_special"}
    shown = "".join(child.content for child in children).removeprefix("x")
    words = printable(" ".join(raw.split()))
    assert shown.replace("`", "").split() == words.replace("`", "").split()
    if words.count("`") == 2 and words.split("`")[1].strip():
        assert [child.content for child in children if child.type == "code_inline"]
        assert "`" not in shown
