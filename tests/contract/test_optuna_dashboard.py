"""Facts about optuna-dashboard that the report and ``tuneoff dashboard`` rely on."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import plotly.graph_objects as go
import pytest
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from optuna.exceptions import ExperimentalWarning
from optuna.storages import RDBStorage
from optuna.study import Study


@pytest.fixture
def study(storage: RDBStorage) -> Study:
    study = optuna.create_study(study_name="NAME/arm/0", storage=storage)
    study.tell(study.ask(), 0.5)
    return study


def call(app: Callable[..., Any], method: str, path: str) -> tuple[str, bytes]:
    """One request to a WSGI application, without credentials: the status and the body."""
    environment: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path}
    setup_testing_defaults(environment)
    environment["wsgi.input"] = io.BytesIO()
    status: list[str] = []
    chunks = app(environment, lambda line, headers, error=None: status.append(line))
    body = b"".join(chunks)
    if hasattr(chunks, "close"):
        chunks.close()
    return status[0], body


def path_of(study: Study) -> str:
    return f"/api/studies/{study._study_id}"


def detail(study: Study) -> dict[str, Any]:
    status, body = call(optuna_dashboard.wsgi(study._storage), "GET", path_of(study))
    assert status == "200 OK"
    content: dict[str, Any] = json.loads(body)
    return content


@pytest.mark.slow
def test_the_application_lists_the_studies(study: Study) -> None:
    status, body = call(optuna_dashboard.wsgi(study._storage), "GET", "/api/studies")
    assert status == "200 OK"
    assert [s["study_name"] for s in json.loads(body)["study_summaries"]] == ["NAME/arm/0"]


def test_anybody_can_delete_a_study(study: Study) -> None:
    """Why we bind it to loopback."""
    status, _ = call(optuna_dashboard.wsgi(study._storage), "DELETE", path_of(study))
    assert status == "204 No Content"
    assert optuna.get_all_study_names(study._storage) == []


@pytest.mark.slow
def test_a_figure_is_stored_and_replaced_under_its_name(study: Study) -> None:
    for title in ("first " + "long" * 2_000, "second"):
        figure = go.Figure(layout={"title": title})
        name = optuna_dashboard.save_plotly_graph_object(study, figure, graph_object_id="anytime")
        assert name == "anytime"
    [stored] = detail(study)["plotly_graph_objects"]
    assert stored["id"] == "anytime"
    assert json.loads(stored["graph_object"])["layout"]["title"]["text"] == "second"


def test_a_note_is_stored_for_a_study_and_for_a_trial(study: Study) -> None:
    note = "# Who won\n" + "x" * 5_000
    optuna_dashboard.save_note(study, note)
    trial = study.ask()
    optuna_dashboard.save_note(trial, "diverged")
    found = detail(study)
    assert found["note"]["body"] == note
    assert found["trials"][1]["note"]["body"] == "diverged"


def test_metric_names_are_shown(study: Study) -> None:
    with pytest.warns(ExperimentalWarning):
        study.set_metric_names(["validation error"])
    assert detail(study)["objective_names"] == ["validation error"]


def test_an_artifact_is_served(study: Study, tmp_path: Path) -> None:
    store = FileSystemArtifactStore(tmp_path)
    file = tmp_path / "best.toml"
    file.write_text("lr = 0.1\n")
    artifact = upload_artifact(artifact_store=store, file_path=str(file), study_or_trial=study)
    app = optuna_dashboard.wsgi(study._storage, artifact_store=store)
    status, body = call(app, "GET", f"/artifacts/{study._study_id}/{artifact}")
    assert status == "200 OK"
    assert body == b"lr = 0.1\n"
