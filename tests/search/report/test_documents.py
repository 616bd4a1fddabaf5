"""JSON documents: what is written is what the shipped schemas and docs/json.md say."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest
from documents import DOCS, check_document, columns_text, fields_text, schema_file
from gallery import build, open_gallery

from tuneoff.search.report.data import ReportData, read_report_data
from tuneoff.search.report.documents import (
    RECORDS,
    compare_document,
    document,
    schema_text,
    version_of,
)
from tuneoff.search.report.side_by_side.write import as_json
from tuneoff.search.report.write import as_json as report_json
from tuneoff.search.results.side_by_side.build import side_by_side
from tuneoff.search.results.side_by_side.records import Member
from tuneoff.search.results.summary import summarise
from tuneoff.search.store.database import Database
from tuneoff.search.study.snapshot import Snapshot


@pytest.fixture(scope="module")
def data_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], ReportData]]:
    """What a case of the gallery has come to."""
    folder = tmp_path_factory.mktemp("documents")
    database: Database = open_gallery(folder)
    found: dict[str, ReportData] = {}

    def find(name: str) -> ReportData:
        if name not in found:
            found[name] = read_report_data(Snapshot.of(build(database, folder, name)))
        return found[name]

    yield find
    database.close()


class TestShipped:
    """`python tests/support/documents.py` writes these files."""

    @pytest.mark.slow
    @pytest.mark.parametrize("name", RECORDS)
    def test_schema_is_that_of_the_records(self, name: str) -> None:
        text = schema_file(name).read_text(encoding="utf-8")
        assert text == schema_text(name)
        jsonschema.Draft202012Validator.check_schema(json.loads(text))

    def test_no_other_schemas(self) -> None:
        there = set((DOCS / "schemas").iterdir())
        assert there == {schema_file(name) for name in RECORDS}

    def test_guide_lists_the_fields(self) -> None:
        guide = (DOCS / "json.md").read_text(encoding="utf-8")
        assert guide.endswith(fields_text())
        for name in RECORDS:
            assert f"`{version_of(name)}`" in guide.partition("## ")[0]

    def test_guide_to_notebooks_lists_the_columns(self) -> None:
        assert (DOCS / "notebook.md").read_text(encoding="utf-8").endswith(columns_text())

    @pytest.mark.parametrize("name", RECORDS)
    def test_every_own_field_is_explained(self, name: str) -> None:
        fields = json.loads(schema_text(name))["properties"]
        assert [one for one, kind in fields.items() if not kind.get("description")] == ["schema"]


class TestReal:
    """Documents of real studies have their schema, and nothing that it does not know."""

    @pytest.mark.slow
    @pytest.mark.parametrize("case", ["nothing", "all-diverged", "nan", "ensemble", "hostile"])
    def test_report_compare_and_summary(
        self, case: str, data_of: Callable[[str], ReportData]
    ) -> None:
        data = data_of(case)
        check_document("report", json.loads(report_json(data)))
        compared = compare_document(data.comparison, data.results, data.horizon)
        check_document("compare", json.loads(compared))
        short = summarise(data.comparison, data.best, "tuneoff train")
        check_document("summary", json.loads(document("summary", short)))

    def test_studies(self, make_member: Callable[..., Member]) -> None:
        members = [make_member(n, [0.2, 0.21, 0.2], [0.22, 0.2, 0.23]) for n in "abc"]
        found = side_by_side([*members, make_member("new", [], [])])
        check_document("studies", json.loads(as_json(found)))

    def test_what_a_schema_does_not_know_is_seen(self) -> None:
        content = json.loads(schema_text("summary"))
        with pytest.raises(AssertionError, match="is a required property"):
            check_document("summary", content)


class TestSummary:
    @pytest.mark.slow
    def test_is_the_comparison_in_short(self, data_of: Callable[[str], ReportData]) -> None:
        data = data_of("ensemble")
        found = summarise(data.comparison, data.best, "tuneoff train")
        (pair, *_), (short, *_) = data.comparison.pairs, found.pairs
        assert (short.outcome, short.difference, short.low) == (pair.quality, pair.mean, pair.low)
        assert found.settings is not None
        assert data.best is not None
        assert found.settings.params == data.best.params
        assert found.answer == data.comparison.verdict

    def test_without_settings(self, data_of: Callable[[str], ReportData]) -> None:
        found = summarise(data_of("nothing").comparison, data_of("nothing").best, "tuneoff train")
        assert found.settings is None
        assert found.pairs == ()
        assert not found.decided


def test_shell_example_of_the_guide(data_of: Callable[[str], ReportData], tmp_path: Path) -> None:
    """The fields that the guide's command asks for are there."""
    data = data_of("ensemble")
    content = json.loads(
        document("summary", summarise(data.comparison, data.best, "tuneoff train"))
    )
    assert content["pairs"][0]["outcome"]
    assert content["settings"]["params"]
