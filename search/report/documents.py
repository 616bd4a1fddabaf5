"""What we write as JSON for programs: each document's version, content and schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuneoff.search.report.data import ReportData
from tuneoff.search.results.comparison import Comparison
from tuneoff.search.results.horizon.records import HorizonFindings
from tuneoff.search.results.json_schema import schema_of
from tuneoff.search.results.plain import plain
from tuneoff.search.results.records import StudyResults
from tuneoff.search.results.side_by_side.records import SideBySide
from tuneoff.search.results.summary import Summary

VERSIONS: Final[Mapping[str, int]] = {"report": 1, "compare": 1, "summary": 1, "studies": 1}
"""Of each document. It rises when a field goes, or changes its name, type or meaning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareDocument(Comparison):
    """A comparison, and what it was computed from.

    Attributes:
        results: the study as far as it has come.
        horizon: whether longer runs rank configurations otherwise; None where nobody asked.
    """

    results: StudyResults
    horizon: HorizonFindings | None


RECORDS: Final[Mapping[str, type[Any]]] = {
    "report": ReportData,
    "compare": CompareDocument,
    "summary": Summary,
    "studies": SideBySide,
}
"""The record that each document is made of, with ``schema`` before its fields."""


def version_of(name: str) -> str:
    """What stands in a document's ``schema``: "tuneoff/report/1"."""
    return f"tuneoff/{name}/{VERSIONS[name]}"


def document(name: str, record: Any) -> str:
    """A record as the JSON document of this name, which ends with a line break."""
    return _in_lines({"schema": version_of(name), **plain(record)})


def _in_lines(content: Mapping[str, Any]) -> str:
    """JSON with a line for each field, and for each item of a field that is a list.

    Fully indented, 20,000 trials would take 21 MB in place of 15, and twice the time.
    """

    def dumped(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    lines = []
    for key, value in content.items():
        if isinstance(value, list | tuple) and value:
            items = ",\n".join(f"    {dumped(item)}" for item in value)
            lines.append(f"  {dumped(key)}: [\n{items}\n  ]")
        else:
            lines.append(f"  {dumped(key)}: {dumped(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def compare_document(
    comparison: Comparison, results: StudyResults, horizon: HorizonFindings | None
) -> str:
    """What ``compare --json`` prints."""
    content = {
        "schema": version_of("compare"),
        **comparison.to_dict(),
        "results": plain(results),
        "horizon": plain(horizon),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def schema_text(name: str) -> str:
    """The JSON Schema of the document of this name, as it lies in ``docs/schemas``."""
    found = schema_of(RECORDS[name], version_of(name))
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
