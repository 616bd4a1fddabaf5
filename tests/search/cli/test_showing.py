"""A trial's story, as it is told; and what is said of trials that are not there."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.cli.showing import story_lines
from tuneoff.search.cli.sparkline import ASCII, BLOCKS, sparkline
from tuneoff.search.results.story import read_story
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work.manual import enqueue_by_hand
from tuneoff.search.work.worker import work
from tuneoff.testing import CurveTrainer
from tuneoff.testing.curve_trainer import TEN_CLASSES

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, spec_values: Any) -> Path:
    """The folder of a study with two repeats, searched to its end: own.db and work."""
    folder = tmp_path_factory.mktemp("searched")
    database = open_database(f"sqlite:///{folder / 'own.db'}", create=True)
    arms = {"bayes": {"sampler": "random"}, "hand": {"configs": [{"lr": 0.1, "note": "ours"}]}}
    spec = StudySpec.parse(spec_values(name="shown", arms=arms, repeats=2), "test")
    made = create_study(database, spec, TEN_CLASSES, folder / "work")
    trainer = CurveTrainer(root=folder / "work")
    work(made, made.arms, trainer, Worker.here("cpu"), lambda: False)
    database.close()
    return folder


@pytest.fixture
def study(searched: Path, tmp_path: Path) -> Iterator[Study]:
    """A copy of that study, which may be changed."""
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    database = open_database(f"sqlite:///{tmp_path / 'own.db'}")
    yield open_study(database, "shown", tmp_path / "work")
    database.close()


@pytest.fixture
def tuneoff(study: Study, monkeypatch: pytest.MonkeyPatch, command_line: Run) -> Run:
    """Runs a command line on the study: its exit code, and all that it said."""
    monkeypatch.setenv("TUNEOFF_STORAGE", study.database.url.render_as_string(hide_password=False))
    monkeypatch.setenv("TUNEOFF_WORK", str(study.work))
    return command_line


def test_every_trial_has_a_story_that_agrees_with_the_ledger(study: Study) -> None:
    now = Snapshot.of(study)
    for search in study.arms:
        for trial in now.trials(search):
            story = read_story(now, f"{search.arm}/{search.repeat}#{trial.number}")
            assert dict(story.errors) == trial.intermediate_values
            assert dict(story.params) == trial.params
            assert sum(one.epochs for one in story.attempts) == max(story.errors)
            for width in (40, 80):
                lines = list(story_lines(story, width))
                assert any(line.startswith("  error") for line in lines)


def test_it_is_told_with_or_without_the_studys_name(tuneoff: Run, study: Study) -> None:
    code, said = tuneoff("show", study.name, "hand/1#0")
    assert code == 0
    assert "note        ours" in said
    assert "hand/1#0: complete, which its arm recommends" in said
    assert tuneoff("show", "hand/1#0") == (0, said)
    assert tuneoff("show", f"{study.name}/hand/1#0") == (0, said)
    content = json.loads(tuneoff("show", "hand/1#0", "--json")[1])
    assert content["trial"] == "hand/1#0"
    assert content["attempts"][0]["end"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trial", "said"),
    [
        ("hand/1#99", "hand/1 has 1 trial, the last is #0"),
        ("hand/1#-1", "names no trial"),
        ("hand/1#٣", "names no trial"),
        ("hand/1#99999999999999999999", "there is no trial hand/1#999999999999"),
        ("hand#0", "has no 'hand': there are bayes/0 to 1, hand/0 to 1, full, ensemble"),
        ("nobody/0#0", "there are bayes/0 to 1, hand/0 to 1, full, ensemble"),
        ("full#0", "full has no trial yet"),
        ("#", "for example bayes/0#0"),
        ("", "for example bayes/0#0"),
    ],
)
def test_what_is_not_there_is_one_line(tuneoff: Run, study: Study, trial: str, said: str) -> None:
    code, text = tuneoff("show", study.name, trial)
    assert code == 2
    assert said in text
    assert len(text.splitlines()) == 1


def test_hostile_notes_are_mere_text(tuneoff: Run, study: Study) -> None:
    (label,) = enqueue_by_hand(study, {"lr": 0.2}, "hand", 0, "\x1b[2Jgone [red]\nnext")
    _, said = tuneoff("show", label)
    assert "\x1b" not in said
    assert "[red]" in said
    assert "not measured yet" in said


def test_lines_of_the_log_are_those_of_this_very_trial(study: Study) -> None:
    (study.folder / "logs").mkdir(parents=True, exist_ok=True)
    name = f"{study.name}/hand/0#0"
    (study.folder / "logs" / "w-0.log").write_text(f"{name}1: other\nWARNING {name}: mine\n")
    assert read_story(Snapshot.of(study), "hand/0#0").log == (f"WARNING {name}: mine",)


def test_files_that_were_left_are_named(study: Study) -> None:
    ref = TrialRef(study, study.arms[1], study.trials(study.arms[1])[0])
    ref.folder.mkdir(parents=True, exist_ok=True)
    (ref.folder / "curve.txt").write_text("12345")
    (found,) = (
        one for one in read_story(Snapshot.of(study), "hand/0#0").files if one.name == "curve.txt"
    )
    assert found.size == 5


@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=200),
    width=st.integers(1, 80),
    levels=st.sampled_from([BLOCKS, ASCII]),
)
def test_a_sparkline_is_no_wider_and_orders_as_the_values(
    values: list[float], width: int, levels: str
) -> None:
    drawn = sparkline(values, width, levels)
    assert len(drawn) == min(len(values), width)
    if len(values) <= width:
        for value, mark in zip(values, drawn, strict=True):
            assert (mark == "x") == (not math.isfinite(value))
        known = [(v, levels.index(m)) for v, m in zip(values, drawn, strict=True) if m != "x"]
        assert all(a[1] <= b[1] for a, b in zip(sorted(known), sorted(known)[1:], strict=False))
