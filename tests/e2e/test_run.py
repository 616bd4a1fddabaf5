"""``tuneoff run`` on scanned digits, and every command that follows it, as a user types them."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

pytestmark = pytest.mark.slow

ARMS = ("bayes", "hand", "random")
TRIAL_EPOCHS = 3


@pytest.fixture
def digit_images(tmp_path: Path) -> Path:
    """Forty of the digits as PNG files."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i, image in enumerate(load_digits().images[:40]):
        pixels = np.rint(image * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"digit_{i}.png")
    return folder


@pytest.fixture
def quickly(inside: Callable[..., Any], finished: Any) -> Callable[..., str]:
    """What a command says about the finished study, run in this process."""
    return lambda *args, **kw: "".join(inside(finished, *args, **kw).out)


class TestRun:
    def test_says_who_won_and_where_to_look(self, finished_once: Any) -> None:
        said = finished_once.output
        for arm in ARMS:
            assert re.search(rf"^ {arm} +\d+ +\d+ ", said, re.MULTILINE)
        assert re.search(r"finds (?:better|worse|settings as good)|^Undecided", said, re.MULTILINE)
        report = re.search(r"^Report: +(\S+)$", said, re.MULTILINE)
        assert report is not None
        assert Path(report.group(1)).name == "report.html"
        assert Path(report.group(1)).is_file()
        database = finished_once.folder / "tuneoff.db"
        assert said.endswith(f"Dashboard: tuneoff dashboard --storage sqlite:///{database}\n")

    def test_needs_no_more_than_eighty_columns_but_for_paths_and_progress(
        self, finished_once: Any
    ) -> None:
        path = str(finished_once.folder)
        others = [s for s in finished_once.output.splitlines() if not s.startswith("epochs: ")]
        assert [s for s in others if len(s) > 80 and path not in s] == []

    def test_again_trains_nothing(
        self, finished: Any, digits: Callable[..., Any], read_ledger: Callable[..., Any]
    ) -> None:
        before = read_ledger(finished.storage).attempts()
        assert before
        again = finished("run", *digits(), "--workers", "2")
        assert "nothing left to train" in again.text
        assert read_ledger(finished.storage).attempts() == before

    def test_report_files(self, quickly: Callable[..., str], tmp_path: Path) -> None:
        quickly("report", "digits", "-o", tmp_path / "out")
        files = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert files == ["report.html", "report.json", "report.md"]
        content = json.loads((tmp_path / "out" / "report.json").read_text())
        assert content["results"]["name"] == "digits"
        assert content["trials"]


class TestCompare:
    def test_spends_what_the_ledger_says(
        self, finished: Any, quickly: Callable[..., str], read_ledger: Callable[..., Any]
    ) -> None:
        results = json.loads(quickly("compare", "digits", "--json"))["results"]
        attempts = read_ledger(finished.storage).attempts()
        for run in results["runs"]:
            search = f"digits/{run['arm']}/{run['repeat']}"
            spent = sum(row.epochs for row in attempts if row.search == search)
            assert run["spent"] == spent
            assert spent <= run["budget"] == 12
            if run["arm"] != "hand":  # whose list ends before its budget does
                assert spent > run["budget"] - TRIAL_EPOCHS

    def test_every_repeat_of_every_arm_has_a_test_error(self, quickly: Callable[..., str]) -> None:
        results = json.loads(quickly("compare", "digits", "--json"))["results"]
        assert sorted((run["arm"], run["repeat"]) for run in results["runs"]) == sorted(
            (arm, repeat) for arm in ARMS for repeat in range(2)
        )
        assert all(0 <= run["recommendation"]["test_error"] < 1 for run in results["runs"])

    def test_with_another_reference(self, quickly: Callable[..., str]) -> None:
        said = quickly("compare", "digits", "--reference", "random")
        assert re.search(r"^ random .* – +– *$", said, re.MULTILINE)


class TestExport:
    def test_training_again_comes_to_exactly_the_same(
        self, finished: Any, quickly: Callable[..., str]
    ) -> None:
        file = finished.folder / "best.toml"
        quickly("export", "digits", "-o", file)
        expected = tomllib.loads(file.read_text())["configurations"][0]["expected"]
        said = "".join(finished("train", file).out)
        assert f" ({expected['validation_error']!r})\n" in said
        assert "This is exactly what it was in the study." in said

    def test_formats_hold_the_same(self, quickly: Callable[..., str]) -> None:
        loads: dict[str, Callable[[str], Any]] = {
            "toml": tomllib.loads,
            "json": json.loads,
            "yaml": yaml.safe_load,
        }
        said = {form: quickly("export", "digits", "--format", form, "--top", "2") for form in loads}
        read = [loads[form](text)["configurations"] for form, text in said.items()]
        assert read[0] == read[1] == read[2]
        assert read[0][0]["recipe"]["epochs"] == 3
        assert set(read[0][0]["params"]) == {"lr", "momentum", "weight_decay"}


class TestPredict:
    def test_digits_are_recognised(
        self, finished: Any, quickly: Callable[..., str], digit_images: Path
    ) -> None:
        out = finished.folder / "predicted.csv"
        assert "40 images" in quickly("predict", "digits", digit_images, "-o", out)
        header, *lines = out.read_text().splitlines()
        assert header == "image,class,probability"
        rows = [line.split(",") for line in lines]
        assert [name for name, _, _ in rows] == [f"digit_{i}.png" for i in range(40)]
        right = sum(int(rows[i][1]) == load_digits().target[i] for i in range(40))
        assert right >= 32

    def test_server_file(self, quickly: Callable[..., str], digit_images: Path) -> None:
        said = quickly("predict", "digits", digit_images, "--server-file").splitlines()
        assert len(said) == 40
        assert all(re.fullmatch(r"digit_\d+\.png \d", line) for line in said)


class TestOtherCommands:
    def test_status(self, quickly: Callable[..., str]) -> None:
        status = json.loads(quickly("status", "digits", "--json"))
        assert [arm["name"] for arm in status["arms"]] == [*ARMS, "full", "ensemble"]
        assert status["busy"] == []
        assert status["draining"] is False
        assert status["failures"] == []
        states = {arm["name"]: set(arm["states"]) for arm in status["arms"]}
        assert {"complete"} <= states.pop("bayes") <= {"complete", "pruned"}
        assert all(kinds == {"complete"} for kinds in states.values())
        assert "every trial is finished" in quickly("status", "digits")

    def test_stop_and_undo(self, quickly: Callable[..., str]) -> None:
        assert "leave after their trials" in quickly("stop", "digits")
        assert json.loads(quickly("status", "digits", "--json"))["draining"] is True
        assert "may go on" in quickly("stop", "digits", "--undo")
        assert json.loads(quickly("status", "digits", "--json"))["draining"] is False

    def test_a_stopped_study_is_left_alone_and_run_goes_on(
        self, finished: Any, quickly: Callable[..., str], read_ledger: Callable[..., Any]
    ) -> None:
        """A configuration by hand waits while the study drains, and is then run, once."""
        words = ("--lr", "0.2", "--momentum=0.8", "--weight-decay", "1e-4", "--note", "a hunch")
        said = quickly("try", "digits", *words).splitlines()
        assert said == [
            "waiting: digits/hand/0#3",
            "waiting: digits/hand/1#3",
            "No worker has a trial: `tuneoff launch digits` trains it.",
        ]
        quickly("stop", "digits")
        assert "stopped" in quickly("worker", "digits")
        quickly("stop", "digits", "--undo")
        assert "2 attempts made" in quickly("worker", "digits")
        rows = [row for row in read_ledger(finished.storage).attempts() if row.trial == 3]
        assert [(row.search, row.end, row.epochs) for row in rows if "hand" in row.search] == [
            ("digits/hand/0", "finished", 3),
            ("digits/hand/1", "finished", 3),
        ]

    def test_promote_what_is_promoted(
        self, finished: Any, quickly: Callable[..., str], read_ledger: Callable[..., Any]
    ) -> None:
        before = read_ledger(finished.storage).trials()
        assert "0 full trainings" in quickly("promote", "digits", "--enqueue-only")
        assert "digits is complete: nothing left to train." in quickly("promote", "digits")
        assert read_ledger(finished.storage).trials() == before

    def test_doctor(self, quickly: Callable[..., str]) -> None:
        said = quickly("doctor")
        assert "studies: digits" in said
        assert "FIX" not in said
        assert "largest batch" not in said
        said = quickly("doctor", "--full")
        for model in ("resnet18", "densenet121"):
            assert re.search(
                rf"largest batch of {model}: [1-9]\d* images of 224 x 224 pixels in (bf16|fp32)",
                said,
            )

    def test_doctor_before_the_first_study(self, tuneoff: Any, inside: Callable[..., Any]) -> None:
        assert "no studies yet" in inside(tuneoff, "doctor").text

    def test_doctor_finds_fault(
        self, make_tuneoff: Callable[..., Any], inside: Callable[..., Any]
    ) -> None:
        tuneoff = make_tuneoff("postgresql://me:hush@127.0.0.1:1/db")
        said = inside(tuneoff, "doctor", code=1).text
        assert "FIX  storage" in said
        assert "hush" not in said

    def test_data_info(self, quickly: Callable[..., str]) -> None:
        facts = json.loads(quickly("data", "info", "digits", "--json"))
        assert facts["classes"] == list("0123456789")
        assert sum(facts["sizes"].values()) == 1797
        assert facts["chance_error"] == pytest.approx(0.9)

    def test_create_twice_is_a_no_op(
        self, finished: Any, quickly: Callable[..., str], digits: Callable[..., Any]
    ) -> None:
        before = json.loads(quickly("status", "digits", "--json"))
        first = quickly("create", *digits())
        assert quickly("create", *digits()) == first
        assert json.loads(quickly("status", "digits", "--json")) == before

    def test_a_changed_file_is_refused(
        self, finished: Any, inside: Callable[..., Any], digits: Callable[..., Any]
    ) -> None:
        said = inside(finished, "create", *digits(budget__epochs="15"), code=2)
        assert said.out == []
        assert len(said.err) == 1
        assert "budget.epochs is 12, not 15" in said.err[0]
