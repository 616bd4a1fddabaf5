"""Commands that write to a disk that is full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tuneoff.search.cli.main import main
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import add_trial

pytestmark = pytest.mark.slow


@pytest.fixture
def full_disk(make_disk: Callable[[str, str], Path]) -> Path:
    """A file system without room for another byte."""
    folder = make_disk("full", "64k")
    with pytest.raises(OSError, match="No space left"):
        (folder / "fill").write_bytes(bytes(2**20))
    return folder


@pytest.mark.parametrize(
    "words",
    [
        "export NAME -o DISK/best.toml",
        "report NAME -o DISK/report --no-publish",
        "report NAME --work DISK --no-publish",
        "create STUDY --storage sqlite:///DISK/own.db",
        "create STUDY --work DISK/work",
    ],
)
def test_is_one_line_and_leaves_no_half_of_a_file(
    words: str,
    full_disk: Path,
    sqlite_database: Database,
    make_study: Callable[..., Study],
    me: Worker,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("TUNEOFF_STORAGE", str(sqlite_database))
    monkeypatch.setenv("TUNEOFF_WORK", str(tmp_path / "work"))
    study = make_study(sqlite_database)
    search = study.arms[0]
    trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, 3))
    attempt = attempts.insert(sqlite_database, me, search.name, trial.number, 0, 0, 3)
    trial_id = study.trial_id(search, trial.number)
    for epoch in (1, 2, 3):
        sqlite_database.optuna.set_trial_intermediate_value(trial_id, epoch, 0.25)
    attempts.progress(sqlite_database, attempt, 3, 0.5)
    sqlite_database.optuna.set_trial_state_values(trial_id, TrialState.COMPLETE, [0.25])
    attempts.close(sqlite_database, attempt, "finished")
    file = tmp_path / "study.toml"
    file.write_text(
        'name = "new"\ndata = { name = "digits" }\ntrial = { model = "proxy", epochs = 3 }\n'
        "space = { lr = { low = 1e-3, high = 1.0, log = true } }\nbudget = { epochs = 9 }\n"
        'arms = { random = { sampler = "random" } }\n'
    )
    words = words.replace("NAME", study.name).replace("STUDY", str(file))
    with pytest.raises(SystemExit) as ended:
        main(words.replace("DISK", str(full_disk)).split())
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert ended.value.code in (1, 2)
    assert len(said) == 1
    assert "No space left" in said[0] or "disk" in said[0]
    left = [path for path in full_disk.rglob("*") if path.is_file() and path.name != "fill"]
    assert [path.name for path in left if path.suffix in (".toml", ".html", ".md", ".json")] == []
