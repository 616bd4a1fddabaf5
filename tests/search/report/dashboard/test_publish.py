"""What optuna-dashboard is given to show: notes, figures, logs; when, by whom, and what if not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import optuna_dashboard
import pytest
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import TrialState

from tuneoff.search.cli.comparisons_first import ComparisonsFirst
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.report.dashboard import publish as module
from tuneoff.search.report.dashboard.logs import Artifacts
from tuneoff.search.report.dashboard.mirror import (
    Mirror,
    copy_runs,
    find_mirror,
    make_mirror,
    save_state,
)
from tuneoff.search.report.dashboard.publish import publish
from tuneoff.search.report.dashboard.publisher import Publisher, every_study, publish_now
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.attributes import StoredMirror
from tuneoff.search.store.study_writing import writing
from tuneoff.search.study.opening import open_repeats
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import add_trial

FIGURES = (
    "why",
    "why-1",
    "anytime",
    "recommendations",
    "learning",
    "learning-1",
    "ledger",
    "ledger-1",
)


def shown(study: Study, name: str | None = None) -> optuna.Study:
    """An Optuna study, as others find it."""
    return optuna.load_study(study_name=name or study.name, storage=study.database.optuna)


def stored(study: Study) -> StoredMirror:
    with study.database.engine.connect() as connection:
        found = find_mirror(connection, study)
    assert found is not None
    return found.stored


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is due at once."""
    for name in ("REST", "LEAST_SECONDS", "LEAST_PAGE_SECONDS"):
        monkeypatch.setattr(module, name, 0.0)


class TestTheDashboard:
    @pytest.mark.slow
    def test_it_shows_the_comparison(self, searched: Study, ask: Callable[..., Any]) -> None:
        assert publish(searched)
        app = optuna_dashboard.wsgi(searched.database.optuna)
        path = f"/api/studies/{shown(searched)._study_id}"
        detail = ask(app, path)
        assert detail["name"] == searched.name
        assert detail["note"]["body"].startswith("## Written by tuneoff\n\n### ")
        assert "What came of it" in detail["note"]["body"]
        sizes = {f["id"]: len(f["graph_object"]) for f in detail["plotly_graph_objects"]}
        assert sizes.keys() == {f"tuneoff-{name}" for name in FIGURES}
        assert max(sizes.values()) < 60_000
        assert len(detail["trials"]) == sum(len(searched.trials(s)) for s in searched.arms)
        sortable = {a["key"] for a in detail["union_user_attrs"] if a["sortable"]}
        assert sortable == {"arm number", "attempts", "epochs", "repeat", "seconds", "trial"}
        (importance,) = ask(app, f"{path}/param_importances")["param_importances"]
        assert [part["name"] for part in importance] == ["lr"]

    @pytest.mark.slow
    def test_it_comes_first(self, searched: Study, ask: Callable[..., Any]) -> None:
        """The browser shows the list from its end, the newest study first."""
        publish(searched)
        app = optuna_dashboard.wsgi(searched.database.optuna)
        names = [s["study_name"] for s in ask(app, "/api/studies")["study_summaries"]]
        mine = [name for name in names if name.partition("/")[0] == searched.name]
        assert mine[-1] == searched.name
        open_repeats(searched, 3)
        names = [
            s["study_name"] for s in ask(ComparisonsFirst(app), "/api/studies")["study_summaries"]
        ]
        assert names[-1] == searched.name

    @pytest.mark.slow
    def test_its_figures_come_as_in_the_report(
        self, searched: Study, ask: Callable[..., Any]
    ) -> None:
        """The dashboard has them in any order; what is drawn by others comes last."""
        publish(searched)
        found = shown(searched)
        for name in ("theirs", "tuneoff-their-own", '"plotly_graph_objects": ['):
            key = f"dashboard:plot_data:{name}:0"
            searched.database.optuna.set_study_system_attr(found._study_id, key, "{}")
        optuna_dashboard.save_note(found, 'Look for "plotly_graph_objects": [] here.')
        app, path = (
            optuna_dashboard.wsgi(searched.database.optuna),
            f"/api/studies/{found._study_id}",
        )
        theirs, ours = ask(app, path), ask(ComparisonsFirst(app), path)
        ids = [figure["id"] for figure in ours["plotly_graph_objects"]]
        assert ids[: len(FIGURES)] == [f"tuneoff-{name}" for name in FIGURES]
        assert ids[len(FIGURES) :] == ['"plotly_graph_objects": [', "theirs", "tuneoff-their-own"]
        for content in (theirs, ours):
            content["plotly_graph_objects"].sort(key=lambda figure: figure["id"])
        assert ours == theirs

    @pytest.mark.slow
    def test_each_search_says_what_it_is(self, searched: Study) -> None:
        publish(searched)
        mirror = shown(searched)._study_id
        for search in searched.searches:
            note = optuna_dashboard.get_note(shown(searched, search.name))
            assert f"[{searched.name}](/dashboard/studies/{mirror})" in note
        assert "Arm **hand**, repeat 1" in optuna_dashboard.get_note(
            shown(searched, f"{searched.name}/hand/1")
        )

    @pytest.mark.slow
    def test_a_log_is_written_when_it_is_asked_for(
        self, searched: Study, ask: Callable[..., Any], tmp_path: Any
    ) -> None:
        publish(searched)
        files = FileSystemArtifactStore(tmp_path)
        app = optuna_dashboard.wsgi(
            searched.database.optuna, artifact_store=Artifacts(searched.database, files)
        )
        found = shown(searched)
        detail = ask(app, f"/api/studies/{found._study_id}")
        for trial in detail["trials"]:
            (link,) = trial["artifacts"]
            path = f"/artifacts/{found._study_id}/{trial['trial_id']}/{link['artifact_id']}"
            log = ask(app, path).decode()
            values = {a["key"]: a["value"] for a in trial["user_attrs"]}
            name = f"{searched.name}/{values['arm']}/{values['repeat']}#{values['trial']}"
            assert log.startswith(f"{name}: {values['outcome']}\n")
            assert "epoch    1: validation error " in log
            assert "\n1. " in log

    def test_a_link_to_nothing_is_not_found(self, searched: Study, tmp_path: Any) -> None:
        store = Artifacts(searched.database, FileSystemArtifactStore(tmp_path))
        for name in ("70e0ff-", f"70e0ff-{searched.uid}-9-0-0", f"70e0ff-{searched.uid}-0-0-fff",
                     "70e0ff-00000000-0-0-0", "70e0ff-zz"):  # fmt: skip
            with pytest.raises(optuna.artifacts.exceptions.ArtifactNotFound):
                store.open_reader(name)
        store.remove(f"70e0ff-{searched.uid}-0-0-0")


class TestNotes:
    @pytest.mark.slow
    def test_what_a_person_wrote_stays(self, searched: Study, hurried: None) -> None:
        publish(searched)
        found = shown(searched)
        body = optuna_dashboard.get_note(found)
        optuna_dashboard.save_note(found, f"Remember *the milk*.\n\n{body}")
        publish(searched, now=True)
        assert optuna_dashboard.get_note(found) == f"Remember *the milk*.\n\n{body}"

    @pytest.mark.slow
    def test_whoever_edits_may_save(self, searched: Study) -> None:
        """The dashboard refuses to save what is not the next version."""

        def version() -> int:
            attributes = searched.database.optuna.get_study_system_attrs(shown(searched)._study_id)
            found: int = attributes["dashboard:note_ver"]
            return found

        publish(searched)
        before = version()
        publish(searched, now=True)
        assert version() == before

    @pytest.mark.slow
    def test_those_of_earlier_versions_are_replaced(self, searched: Study) -> None:
        full = shown(searched, searched.full.name)
        optuna_dashboard.save_note(full, "Mine.\n\n## Comparison by tuneoff\n\nOld " + "x" * 5000)
        import plotly.graph_objects as go

        optuna_dashboard.save_plotly_graph_object(full, go.Figure(), graph_object_id="tuneoff-old")
        optuna_dashboard.save_plotly_graph_object(full, go.Figure(), graph_object_id="theirs")
        publish(searched)
        note = optuna_dashboard.get_note(full)
        assert note.startswith("Mine.\n\n## Written by tuneoff\n\n### Full trainings")
        assert "Old" not in note
        keys = searched.database.optuna.get_study_system_attrs(full._study_id)
        plots = {key for key in keys if key.startswith("dashboard:plot_data")}
        assert {key.split(":")[2] for key in plots} == {"theirs"}

    @pytest.mark.slow
    def test_names_are_text(
        self, make_study: Callable[..., Study], database: Any, me: Worker
    ) -> None:
        study = make_study(database, arms={"a_b": {"sampler": "random"}, "c": {}})
        publish(study)
        assert "### Arm **a_b**, repeat 0" in optuna_dashboard.get_note(
            shown(study, f"{study.name}/a_b/0")
        )

    @pytest.mark.slow
    def test_while_it_runs_it_says_where_it_stands(
        self, make_study: Callable[..., Study], database: Any, me: Worker
    ) -> None:
        study = make_study(database, repeats=2)
        publish(study)
        note = optuna_dashboard.get_note(shown(study))
        assert "Where it stands" in note
        assert "Nobody is at work; `tuneoff run STUDY.toml` goes on." in note
        trial = add_trial(study, study.arms[0], TrialState.RUNNING, NewTrial({"lr": 0.1}, 3))
        attempts.insert(database, me, study.arms[0].name, trial.number, 0, 0, 3)
        publish(study, now=True)
        note = optuna_dashboard.get_note(shown(study))
        assert "1 worker at work." in note
        study.drain(True)
        publish(study, now=True)
        note = optuna_dashboard.get_note(shown(study))
        assert "1 worker at work; `tuneoff stop` has them leave after their trials." in note
        assert "| random | 0 of 18 | – | 1 running | 1 |" in note.replace("\N{EM SPACE}", " ")


class TestPace:
    @pytest.mark.slow
    def test_nothing_is_done_before_it_is_due(self, searched: Study) -> None:
        assert publish(searched)
        before = stored(searched)
        assert not publish(searched)
        assert stored(searched) == before

    @pytest.mark.slow
    def test_nothing_is_done_where_nothing_has_changed(
        self, searched: Study, hurried: None
    ) -> None:
        assert publish(searched)
        before = stored(searched)
        assert not publish(searched)
        assert stored(searched) == before
        open_repeats(searched, 3)
        assert publish(searched)

    @pytest.mark.slow
    def test_what_took_long_is_not_repeated_soon(
        self, searched: Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(searched)
        assert 0 < stored(searched).took < 60
        for at, took, due in ((0, 0.1, False), (6, 0.1, True), (100, 3, False), (121, 3, True)):
            assert module._is_due(1000.0, took, 5.0, 1000.0 + at) == due
        assert module._is_due(1000.0, 1.0, 5.0, 990.0)  # the clock was put back


class TestPublisher:
    @pytest.mark.slow
    def test_it_publishes_until_the_block_ends(
        self, searched: Study, wait_for: Callable[..., None], hurried: None
    ) -> None:
        said: list[str] = []
        with Publisher(lambda: every_study(searched.database), said.append):
            names = searched.database.optuna.get_all_studies
            wait_for(lambda: searched.name in {study.study_name for study in names()})
            wait_for(lambda: bool(stored(searched).page_seen))
        assert not [line for line in said if searched.name in line]

    def test_why_not_is_said_once(self, searched: Study) -> None:
        optuna.create_study(study_name=searched.name, storage=searched.database.optuna)
        said: list[str] = []
        with Publisher(lambda: [searched], said.append) as publisher:
            for _ in range(3):
                publisher._resting.clear()
                publisher._publish(searched)
        assert said == [
            f"{searched.name} is not up to date in the dashboard: an Optuna study named "
            f"{searched.name} is there already and is not tuneoff's; it stays as it is, and the "
            "dashboard shows no comparison: rename it there, or take another name for the study"
        ]

    @pytest.mark.slow
    def test_the_last_word_is_had_though_another_writes_meanwhile(
        self, searched: Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_mirror(searched)
        others = 2

        def overtaken(study: Study, mirror: Mirror) -> Mirror | None:
            nonlocal others
            if others:
                others -= 1
                with writing(study.database.engine) as connection:  # what it read was older
                    assert save_state(study, mirror, {}, connection)
            return copy_runs(study, mirror)

        monkeypatch.setattr(module, "copy_runs", overtaken)
        publish_now(searched, pytest.fail)
        assert not others
        assert sum(stored(searched).copied.values()) == sum(
            len(shown(searched, search.name).trials) for search in searched.arms
        )

    def test_a_failure_hurts_nobody(self, searched: Study) -> None:
        said: list[str] = []
        broken = replace(searched, repeats=1)
        optuna.delete_study(study_name=searched.full.name, storage=searched.database.optuna)
        publish_now(broken, said.append)
        assert len(said) == 1
        assert "was deleted" in said[0]


KILLED = """
import sys
from pathlib import Path
from tuneoff.search.report.dashboard import mirror
from tuneoff.search.report.dashboard.publish import publish
from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import open_study

mirror.BATCH = 2
study = open_study(open_database(sys.argv[1]), sys.argv[2], Path())
add = mirror.add_trials
calls = 0


def hang(*arguments):
    global calls
    add(*arguments)
    calls += 1
    if calls == 2:
        print("within", flush=True)
        __import__("time").sleep(60)


mirror.add_trials = hang
publish(study, now=True)
"""


@pytest.mark.slow
def test_one_that_is_killed_in_the_middle_leaves_nothing_half_done(searched: Study) -> None:
    url = searched.database.url.render_as_string(hide_password=False)
    command = [sys.executable, "-P", "-c", KILLED, url, searched.name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "within\n"
        os.kill(process.pid, signal.SIGKILL)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    assert len(shown(searched).get_trials()) == 2
    deadline = time.monotonic() + 30
    while not publish(searched, now=True):
        assert time.monotonic() < deadline
    runs = sum(len(searched.trials(search)) for search in searched.arms)
    assert [t.number for t in shown(searched).get_trials()] == list(range(runs))
    rows = attempts.read(searched.database, [s.name for s in searched.arms])
    assert sum(t.user_attrs["attempts"] for t in shown(searched).get_trials()) == len(rows)
