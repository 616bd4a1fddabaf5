"""Commands of a user who may read a database, and not write to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
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
def reader(postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a Postgres database for a user who may only read; commands use it."""
    with postgres_database.engine.begin() as connection:
        connection.execute(sa.text("DROP ROLE IF EXISTS reader"))
        connection.execute(sa.text("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data"))
    url = postgres_database.url.set(username="reader").render_as_string(hide_password=False)
    monkeypatch.setenv("TUNEOFF_STORAGE", url)
    return url


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("list", 0),
        ("status NAME", 0),
        ("status NAME --json", 0),
        ("compare NAME", 0),
        ("export NAME", 0),
        ("export NAME -o OUT/a[/b]x.toml", 0),
        ("report NAME -o OUT --no-publish", 0),
        ("report NAME -o OUT", 0),  # the report is written; why the dashboard is not, is said
        ("stop NAME", 1),
        ("try NAME --lr 0.5", 1),
        ("promote NAME --now --enqueue-only", 1),
    ],
)
def test_each_command_shows_what_it_may_or_says_in_a_line_why_not(
    words: str,
    code: int,
    reader: str,
    postgres_database: Database,
    make_study: Callable[..., Study],
    me: Worker,
    doomed: Worker,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    arms = {"hand": {"configs": [{"lr": 0.1}, {"lr": 0.2}]}, "random": {"sampler": "random"}}
    study = make_study(postgres_database, arms=arms, promote={"top": 1, "epochs": 3})
    search, optuna = study.arms[0], postgres_database.optuna
    trial = add_trial(study, search, TrialState.RUNNING, NewTrial({"lr": 0.1}, 3))
    done = attempts.insert(postgres_database, me, search.name, trial.number, 0, 0, 3)
    for epoch in (1, 2, 3):
        optuna.set_trial_intermediate_value(study.trial_id(search, trial.number), epoch, 0.25)
    attempts.progress(postgres_database, done, 3, 0.5)
    optuna.set_trial_state_values(study.trial_id(search, trial.number), TrialState.COMPLETE, [0.25])
    attempts.close(postgres_database, done, "finished")
    # One more, whose worker is gone: whoever may write would end its attempt.
    lost = add_trial(study, study.arms[1], TrialState.RUNNING, NewTrial({"lr": 0.2}, 3))
    attempts.insert(postgres_database, doomed, study.arms[1].name, lost.number, 0, 0, 3)
    (tmp_path / "out" / "a[").mkdir(parents=True)
    words = words.replace("NAME", study.name).replace("OUT", str(tmp_path / "out"))
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    said = capsys.readouterr()
    assert ended.value.code == code, said.err
    lines = said.err.splitlines()
    if code:
        assert len(lines) == 1, said.err
        assert "permission denied" in lines[0]
    else:
        assert said.out
    if words.startswith("report "):
        refused = [line for line in lines if "in the dashboard: permission denied" in line]
        assert len(refused) == (not words.endswith(" --no-publish"))
        assert (tmp_path / "out" / "report.html").exists()
