"""JSON documents against the schemas that we ship, and nothing in them that is not described.

.venv/bin/python tests/support/documents.py    # writes docs/schemas and the lists in docs/json.md
"""

from __future__ import annotations

import inspect
import json
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import jsonschema

from tuneoff.search.report.documents import RECORDS, schema_text, version_of
from tuneoff.search.report.notebook.columns import COLUMNS
from tuneoff.search.report.notebook.study import LoadedStudy

DOCS: Final = Path(__file__).resolve().parents[2] / "docs"
BEGIN: Final = "<!-- fields: written by tests/support/documents.py -->"


def schema_file(name: str) -> Path:
    """Where the schema of a document lies: docs/schemas/report-1.json."""
    return DOCS / "schemas" / f"{name}-{version_of(name).rpartition('/')[2]}.json"


def check_document(name: str, content: Any) -> None:
    """AssertionError if the document does not have the shipped schema, or has more than that."""
    schema = json.loads(schema_file(name).read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(_strict(schema))
    found = [
        f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(content)
    ]
    assert not found, "\n".join(found[:10])


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without room for fields that it does not know."""
    strict = deepcopy(schema)
    for record in (strict, *strict["$defs"].values()):
        record["additionalProperties"] = False
    return strict


def fields_text() -> str:
    """What docs/json.md says of every field: the documents', and the records' within them."""
    schemas = {name: json.loads(schema_text(name)) for name in RECORDS}
    parts = []
    for name, schema in schemas.items():
        parts += [f"## `{version_of(name)}`", "", _fields(schema), ""]
    parts += ["## The records in them", ""]
    records: dict[str, Any] = {}
    for schema in schemas.values():
        records |= schema["$defs"]
    for record, inner in sorted(records.items()):
        parts += [f"<details><summary><code>{record}</code></summary>", ""]
        parts += [str(inner["description"]), "", _fields(inner), "", "</details>", ""]
    return "\n".join(parts)


def columns_text() -> str:
    """What docs/notebook.md says of every column."""
    parts = []
    for table, columns in COLUMNS.items():
        about = inspect.getdoc(getattr(LoadedStudy, table)) or ""
        parts += [f"## `{table}()`", "", " ".join(about.replace("``", "`").split()), ""]
        parts += [*(f"- `{name}`: {meaning}" for name, meaning in columns.items()), ""]
    return "\n".join(parts)


def _fields(schema: dict[str, Any]) -> str:
    lines = []
    for name, kind in schema["properties"].items():
        said = kind.get("description", "").rstrip(".")
        lines.append(f"- `{name}` ({_kind(kind)}){f': {said}' if said else ''}")
    return "\n".join(lines)


def _kind(kind: dict[str, Any]) -> str:
    if "const" in kind:
        return f'"{kind["const"]}"'
    if "$ref" in kind:
        return f"`{kind['$ref'].rpartition('/')[2]}`"
    if "anyOf" in kind:
        return " or ".join(map(_kind, kind["anyOf"]))
    if "enum" in kind:
        return " or ".join(json.dumps(value) for value in kind["enum"])
    if "prefixItems" in kind:
        return f"list of {', '.join(map(_kind, kind['prefixItems']))}"
    if kind.get("type") == "array":
        return f"list of {_kind(kind['items'])}"
    if kind.get("type") == "object":
        values = kind["additionalProperties"]
        return "object" if values is True else f"object of {_kind(values)}"
    names = kind.get("type", "any value")
    return " or ".join(names) if isinstance(names, list) else str(names)


def main() -> None:
    """Write the schemas and the lists of fields."""
    for old in (DOCS / "schemas").glob("*.json"):
        old.unlink()
    for name in RECORDS:
        schema_file(name).write_text(schema_text(name), encoding="utf-8")
    for guide, text in (("json.md", fields_text()), ("notebook.md", columns_text())):
        before = (DOCS / guide).read_text(encoding="utf-8").partition(BEGIN)[0]
        (DOCS / guide).write_text(f"{before}{BEGIN}\n\n{text}", encoding="utf-8")


if __name__ == "__main__":
    main()
