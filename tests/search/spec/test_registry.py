"""The names of samplers and pruners: written once, and told in the documentation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tuneoff.registry import Registry
from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.personas import PERSONAS
from tuneoff.search.spec.registry import PRUNERS, SAMPLERS

REGISTRIES: tuple[Registry[Any], ...] = (SAMPLERS, PRUNERS)
STUDIES = Path(__file__).parents[3] / "studies" / "README.md"


@pytest.mark.parametrize(
    ("registry", "name"),
    [(registry, name) for registry in (SAMPLERS, PRUNERS) for name in registry],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_every_name_has_a_builder_and_a_line(registry: Registry[Any], name: str) -> None:
    assert callable(registry.load(name))
    assert re.fullmatch(r"\S.{10,}[^.\s]", registry.about(name))


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        *((registry.kind, [(n, registry.about(n)) for n in registry]) for registry in REGISTRIES),
        ("persona", [(name, persona.about) for name, persona in PERSONAS.items()]),
    ],
)
def test_the_table_of_studies_has_the_names_of_the_registry(
    kind: str, named: list[tuple[str, str]]
) -> None:
    """`| NAME | what it is |` for each, in their order."""
    text = STUDIES.read_text(encoding="utf-8")
    table = re.search(rf"^\| `{kind}` \|.*\n\|[- |]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert table
    rows = [re.fullmatch(r"\| `(\S+)` \| (.+) \|", row) for row in table[1].splitlines()]
    assert [row and row.groups() for row in rows] == named


@pytest.mark.slow
def test_names_are_checked_without_importing_what_they_stand_for() -> None:
    code = (
        "import sys; from tuneoff.search.spec.file import StudySpec; "
        "print(*(name for name in ('optuna', 'scipy', 'torch') if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", [n for n in SAMPLERS if SAMPLERS.entry(n).stops_runs])
def test_a_sampler_that_stops_runs_itself_takes_no_pruner(name: str) -> None:
    for pruner in PRUNERS:
        if PRUNERS.entry(pruner).stops_runs:
            with pytest.raises(ValueError, match=f"{name} pauses weak runs itself"):
                ArmSpec(sampler=name, pruner=pruner)
