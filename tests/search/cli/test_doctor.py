"""What `tuneoff doctor` finds on this machine, and that it looks at nothing slow unless asked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tuneoff.search.cli.doctor import Finding, examine
from tuneoff.search.errors import ArtifactOutage
from tuneoff.search.store.artifacts import Artifacts
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.study.study import Study

SECRET = "open-sesame"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Database, str]]:
    """A database of its own, and its URL."""
    url = f"sqlite:///{tmp_path / 'own.db'}"
    database = open_database(url, create=True)
    yield database, url
    database.close()


def by_subject(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.subject: finding for finding in findings}


def test_a_damaged_study_is_a_finding(
    own: tuple[Database, str], make_study: Callable[..., Study], tmp_path: Path
) -> None:
    database, url = own
    study = make_study(database)
    with database.engine.begin() as connection:
        connection.execute(sa.text("update tuneoff_studies set spec = '{}'"))
    found = by_subject(examine(url, tmp_path, {}))
    assert found["storage"].ok
    assert not found[f"study {study.name}"].ok


def test_a_store_that_is_away_is_a_finding(
    own: tuple[Database, str],
    make_study: Callable[..., Study],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    database, url = own
    make_study(database, workers={"artifacts": tmp_path.as_uri()})

    def away(self: Artifacts) -> None:
        raise ArtifactOutage("could not be reached")

    monkeypatch.setattr(Artifacts, "check", away)
    finding = by_subject(examine(url, tmp_path, {}))["artifacts"]
    assert (finding.ok, finding.text) == (False, "could not be reached")


def test_a_url_is_shown_without_secrets(tmp_path: Path) -> None:
    found = examine(f"sqlite:///{tmp_path}/new.db?key={SECRET}", tmp_path, {})
    assert SECRET not in str(found)
    assert "no studies yet" in str(found)


@pytest.mark.slow
def test_unless_asked_it_imports_no_models(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from tuneoff.search.cli.main import cli\n"
        "cli.main(['doctor'], standalone_mode=False)\n"
        "assert 'torch' in sys.modules\n"
        "assert 'torchvision' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
