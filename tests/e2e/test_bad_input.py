"""Bad input: one line that names the thing and the fix, exit code 2, and nothing written."""

from __future__ import annotations

import os
import re
import signal
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

pytestmark = pytest.mark.slow

PASSWORD = "open-sesame"
CLASS = "tiny-imagenet-200/train/n01443537"


@pytest.fixture
def refused(inside: Callable[..., Any], tuneoff: Any) -> Callable[..., str]:
    """The one line that a command prints before it leaves with exit code 2."""

    def run(*args: object, on: Any = tuneoff) -> str:
        said = inside(on, *args, code=2)
        assert said.out == []
        # The advice about a password in --storage comes before; it is tested by itself.
        errors = [line for line in said.err if "password on the command line" not in line]
        assert len(errors) == 1, said.err
        line: str = errors[0]
        assert line.startswith("Error: ")
        assert "Traceback" not in line
        return line

    return run


@pytest.fixture
def nothing_written(tuneoff: Any) -> Iterator[None]:
    """Afterwards there is no database, and in the work folder nothing but decoded images."""
    yield
    assert not list(tuneoff.folder.glob("*.db*"))
    if tuneoff.work.exists():
        assert {path.name for path in tuneoff.work.iterdir()} <= {"cache"}
        assert not list(tuneoff.work.glob("cache/making-*"))


STUDY_FILES = {
    # --set option: what the line must say
    "trial.epoch=3": ("trial.epoch", "unknown key", "'epochs'"),
    "bugdet.epochs=3": ("bugdet", "unknown key", "'budget'"),
    "arms.bayes.startups=3": ("arms.bayes.startups", "unknown key", "'startup'"),
    'trial.epochs="three"': ("trial.epochs", "'three'", "integer"),
    "trial.epochs=2.5": ("trial.epochs", "2.5"),
    "trial.flip=1": ("trial.flip", "boolean"),
    "space={}": ("space", "at least 1"),
    "space.lr={}": ("space.lr", "needs a low and a high end", "low ="),
    "space.lr=[0.1]": ("space.lr", "fewer than two"),
    "space.lr=[0.1, 0.1]": ("space.lr", "twice"),
    "space.momentum={ low = 0.9, high = 0.5 }": ("space.momentum", "0.9", "0.5", "smaller"),
    "space.momentum={ low = 0.9, high = 0.9 }": ("space.momentum", "0.9", "smaller"),
    "space.lr={ low = 0.0, high = 1.0, log = true }": ("space.lr", "log", "above 0"),
    "space.lr={ low = -1.0, high = 1.0, log = true }": ("space.lr", "log", "above 0"),
    "space.lr={ low = 0.0, high = 1.0 }": ("space.lr", "above 0"),
    "space.lr.high=inf": ("space.lr.high", "finite"),
    "space.momentum.high=1.5": ("space.momentum", "1.5", "below 1"),
    "space.learning_rate=[0.1, 0.2]": ("space.learning_rate", "choose from", "lr"),
    "space.epochs=[1, 2]": ("space.epochs", "fixed"),
    "space.batch_size={ low = 8.5, high = 64.0 }": ("space.batch_size", "whole number"),
    'space.schedule=["cosine", "cosin"]': ("space.schedule", "cosin", "plateau"),
    "budget.epochs=-5": ("budget.epochs", "-5", "greater than 0"),
    "budget.epochs=0": ("budget.epochs", "0", "greater than 0"),
    "budget.epochs=2": ("budget.epochs = 2", "trial.epochs = 3", "raise"),
    "trial.epochs=0": ("epochs = 0", "at least 1"),
    "trial.batch_size=-1": ("batch_size = -1", "at least 1"),
    "trial.batch_size=1": ("batch_size = 1", "2 or more"),
    "trial.lr=nan": ("trial.lr", "finite"),
    'trial.model="resnet19"': ("resnet19", "resnet18"),
    'promote.model="resnet19"': ("promote", "resnet19", "resnet18"),
    'ensemble.members=[{ model = "vgg" }]': ("ensemble.members.0", "vgg", "resnet18"),
    "ensemble.members=[]": ("ensemble.members", "at least 1"),
    "ensemble.combine=blend": ("ensemble.combine", "blend", "paper"),
    "trial.schedule=cosin": ("schedule", "cosin", "cosine"),
    "arms.bayes.sampler=tpee": ("arms.bayes", "tpee", "did you mean 'tpe'"),
    "arms.bayes.pruner=medain": ("arms.bayes", "medain", "did you mean 'median'"),
    "arms.hand.sampler=gp": ("arms.hand", "sampler", "configs", "not both"),
    "arms.hand.configs=[{ lr = 9.0, momentum = 0.9, weight_decay = 0.0001 }]": (
        "arms.hand.configs.0",
        "lr = 9.0",
        "outside",
    ),
    "arms.hand.configs=[{ lr = 0.1 }]": ("arms.hand.configs.0", "momentum is missing"),
    "arms.full.sampler=random": ("arms.full", "cannot be used"),
    "arms={}": ("arms", "at least 1"),
    "repeats=0": ("repeats", "0", "greater than or equal to 1"),
    "seed=-1": ("seed", "-1"),
    "name=a/b": ("name", "a/b"),
    "data.name=cifar": ("data", "cifar", "tiny-imagenet"),
    "data.name=folder": ("data", "path is missing"),
    "data.validation=1.0": ("data", "validation = 1.0", "between 0 and 1"),
    "data.corrupt=ignore": ("data", "ignore", "skip"),
    "data.duplicates=merge": ("data", "merge", "drop"),
    "trial.weights=imagenet": ("proxy", "no weights 'imagenet'", "none"),
    "trial.weights=missing.pt": ("missing.pt", "does not exist"),
    "trial.preset=paper-resnet19": ("trial.preset", "paper-resnet19", "paper-resnet18"),
    "trial.head=imagenet": ('head = "imagenet" needs weights = "imagenet"',),
    "trial.normalise=caffe": ('normalise = "caffe" is unknown', "imagenet, half"),
    "trial.padding=same": ('padding = "same" is not for proxy', "mobilenet_v2"),
    "trial.frozen_epochs=99": ("frozen_epochs = 99 is more than epochs", "lower frozen_epochs"),
    "trial.warmup_epochs=99": ("warmup_epochs = 99", "is more than epochs", "lower warmup_epochs"),
    "trial.accumulation=999": ("accumulation = 999", "batch_size", "lower accumulation"),
    "trial.start_size=16": ("start_size = 16 is larger than the images of 8 x 8", "image_size"),
    "trial.crop_padding=8": ("crop_padding = 8", "not smaller than the stored images"),
    "trial.layer_decay.fcc=2": ("proxy has no layer 'fcc'", "it has", "fc"),
    "trial.layer_decay.fc=-2": ("layer_decay.fc = -2", "at least 0"),
    "space.layer_decay=[1.0, 2.0]": ("space.layer_decay", "in quotes"),
    "space.warmup_epochs=[0, 99]": ("space.warmup_epochs", "warmup_epochs = 99", "more than"),
    "budget.epochs": ("--set budget.epochs", "--set budget.epochs=20"),
    "name.first=x": ("--set name.first=x", "not a table"),
}


@pytest.mark.usefixtures("nothing_written")
class TestStudyFile:
    @pytest.mark.parametrize("change", STUDY_FILES)
    def test_a_bad_value(
        self, change: str, refused: Callable[..., str], digits: Callable[..., list[str]]
    ) -> None:
        line = refused("create", *digits(), "--set", change)
        for word in STUDY_FILES[change]:
            assert word in line

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (None, ("cannot be read", "No such file")),
            (b"", ("missing",)),
            (b"name = ", ("not valid TOML",)),
            (b"\xff\xfe\x00\x01", ("not text in UTF-8",)),
            (b"[[arms]]\n", ("arms",)),
        ],
    )
    def test_a_bad_file(
        self,
        content: bytes | None,
        words: tuple[str, ...],
        refused: Callable[..., str],
        tmp_path: Path,
    ) -> None:
        path = tmp_path / "study.toml"
        if content is not None:
            path.write_bytes(content)
        line = refused("create", path)
        for word in (str(path), *words):
            assert word in line

    def test_a_folder_for_a_file(self, refused: Callable[..., str], tmp_path: Path) -> None:
        assert "cannot be read" in refused("create", tmp_path)

    def test_run_refuses_as_create_does(
        self, refused: Callable[..., str], digits: Callable[..., list[str]]
    ) -> None:
        assert "budget.epochs" in refused("run", *digits(budget__epochs="-1"))


class TestUsage:
    """What click finds is one line too."""

    @pytest.mark.parametrize(
        ("words", "needles"),
        [
            (("run",), ("STUDY_FILE", "tuneoff run --help")),
            (("run", "x.toml", "--workres", "2"), ("--workres", "--workers")),
            (("run", "x.toml", "--workers", "0"), ("--workers", "0")),
            (("launch", "digits", "--per-gpu", "many"), ("--per-gpu", "many")),
            (("frobnicate",), ("frobnicate", "tuneoff --help")),
            (("export", "digits", "--format", "xml"), ("--format", "xml", "yaml")),
        ],
    )
    def test_one_line(
        self, words: tuple[str, ...], needles: tuple[str, ...], refused: Callable[..., str]
    ) -> None:
        line = refused(*words)
        for needle in needles:
            assert needle in line

    def test_gpus_that_are_not_there(
        self, refused: Callable[..., str], digits: Callable[..., list[str]]
    ) -> None:
        assert "--gpus 77" in refused("run", *digits(), "--gpus", "77")
        assert "--gpus one" in refused("run", *digits(), "--gpus", "one")

    def test_as_a_process(self, tuneoff: Any, digits: Callable[..., list[str]]) -> None:
        said = tuneoff("run", *digits(budget__epochs="2"), code=2)
        assert said.out == []
        assert len(said.err) == 1
        assert said.err[0].startswith("Error: ")


def tiny(path: object, *more: str) -> list[str]:
    """--set options for the data at a path."""
    values = ("data.name=tiny-imagenet", f'data.path="{path}"', *more)
    return [word for value in values for word in ("--set", value)]


@pytest.mark.usefixtures("nothing_written")
class TestData:
    @pytest.fixture
    def create(
        self, refused: Callable[..., str], digits: Callable[..., list[str]]
    ) -> Callable[..., str]:
        return lambda path, *more: refused("create", *digits(), *tiny(path, *more))

    def test_missing(self, create: Callable[..., str], tmp_path: Path) -> None:
        assert f"{tmp_path}/no.zip does not exist" in create(tmp_path / "no.zip")

    def test_truncated(
        self,
        create: Callable[..., str],
        write_zip: Callable[..., Path],
        tiny_files: Mapping[str, bytes],
    ) -> None:
        path = write_zip(tiny_files, cut=100)
        line = create(path)
        assert str(path) in line
        assert "fetch it again" in line

    def test_another_zip(self, create: Callable[..., str], write_zip: Callable[..., Path]) -> None:
        line = create(write_zip({"README": b"hello"}))
        assert "wnids.txt" in line
        assert "not Tiny ImageNet" in line

    def test_no_zip(self, create: Callable[..., str], tmp_path: Path) -> None:
        path = tmp_path / "tiny.zip"
        path.write_text("<html>404</html>")
        assert f"{path} is neither a folder nor a zip file" in create(path)

    def test_members_outside(
        self,
        create: Callable[..., str],
        write_zip: Callable[..., Path],
        tiny_files: Mapping[str, bytes],
    ) -> None:
        line = create(write_zip({**tiny_files, "../../evil.JPEG": b"x"}))
        assert "../../evil.JPEG" in line
        assert "do not use" in line

    def test_a_class_without_images(
        self,
        create: Callable[..., str],
        write_zip: Callable[..., Path],
        tiny_files: Mapping[str, bytes],
    ) -> None:
        left = {name: file for name, file in tiny_files.items() if not name.startswith(CLASS)}
        line = create(write_zip(left))
        assert "n01443537" in line
        assert "no training images" in line

    def test_no_annotations(
        self,
        create: Callable[..., str],
        write_zip: Callable[..., Path],
        tiny_files: Mapping[str, bytes],
    ) -> None:
        left = {k: v for k, v in tiny_files.items() if not k.endswith("annotations.txt")}
        assert "val_annotations.txt" in create(write_zip(left))

    def test_an_empty_class_folder(self, create: Callable[..., str], tmp_path: Path) -> None:
        for name in ("cats", "dogs"):
            (tmp_path / "images" / name).mkdir(parents=True)
        line = create(tmp_path / "images", "data.name=folder")
        assert "cats" in line
        assert "no images" in line

    def test_a_corrupt_image_is_named(
        self,
        create: Callable[..., str],
        write_zip: Callable[..., Path],
        tiny_files: Mapping[str, bytes],
    ) -> None:
        bad = f"{CLASS}/images/n01443537_3.JPEG"
        line = create(write_zip({**tiny_files, bad: tiny_files[bad][:200]}))
        assert bad in line
        assert 'corrupt = "skip"' in line


def test_a_corrupt_image_is_skipped_if_one_says_so(
    tuneoff: Any,
    inside: Callable[..., Any],
    digits: Callable[..., list[str]],
    write_zip: Callable[..., Path],
    tiny_files: Mapping[str, bytes],
    read_ledger: Callable[..., Any],
) -> None:
    bad = f"{CLASS}/images/n01443537_3.JPEG"
    path = write_zip({**tiny_files, bad: tiny_files[bad][:200]})
    wanted = tiny(path, "data.corrupt=skip", "trial.batch_size=4", "name=skipping")
    said = tuneoff("create", *digits(repeats="1"), *wanted)
    assert "19 train, 4 validation, 8 test images in 2 classes" in " ".join(said.text.split())
    (note,) = [line for line in said.out if "1 of 32 images cannot be decoded" in line]
    assert bad in note
    said = inside(tuneoff, "worker", "skipping")
    attempts = read_ledger(tuneoff.storage).attempts()
    assert {row.end for row in attempts} == {"finished", "paused"}
    assert f"{len(attempts)} attempts made; all done\n" in said.out


class TestWeights:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"junk", ("damaged", "torch.save")),
            ({"fc.weight": torch.zeros(10, 96)}, ("has no tensor", "proxy")),
            ([1, 2], ("state dict",)),
        ],
    )
    def test_do_not_fit(
        self,
        content: Any,
        words: tuple[str, ...],
        refused: Callable[..., str],
        digits: Callable[..., list[str]],
        tmp_path: Path,
        nothing_written: None,
    ) -> None:
        path = tmp_path / "weights.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        line = refused("create", *digits(), "--set", f'trial.weights="{path}"')
        for word in (str(path), *words):
            assert word in line


class TestStorage:
    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("nonsense", ("cannot be read", "sqlite:///FILE")),
            ("sqlite://", ("in memory", "sqlite:///FILE")),
            (f"mysql://me:{PASSWORD}@host/db", ("mysql", "not supported")),
            ("sqlite:////no/such/folder/x.db", ("/no/such/folder",)),
            (f"postgresql://me:{PASSWORD}@no.invalid/db", ("me:***@no.invalid", "check")),
        ],
    )
    @pytest.mark.parametrize("command", ["create", "status"])
    def test_out_of_reach(
        self,
        url: str,
        words: tuple[str, ...],
        command: str,
        make_tuneoff: Callable[..., Any],
        refused: Callable[..., str],
        digits: Callable[..., list[str]],
        tmp_path: Path,
    ) -> None:
        on = make_tuneoff(url)
        line = refused(command, *(digits() if command == "create" else ["digits"]), on=on)
        for word in words:
            assert word in line
        assert PASSWORD not in line
        assert not list(tmp_path.glob("*.db*"))

    def test_a_file_of_another_kind(
        self,
        make_tuneoff: Callable[..., Any],
        refused: Callable[..., str],
        digits: Callable[..., list[str]],
        tmp_path: Path,
    ) -> None:
        file = tmp_path / "notes.db"
        file.write_text("not a database, but somebody's notes\n" * 100)
        before = file.read_bytes()
        on = make_tuneoff(f"sqlite:///{file}")
        assert "notes.db" in refused("create", *digits(), on=on)
        assert "notes.db" in refused("status", "digits", on=on)
        assert file.read_bytes() == before

    def test_no_database_yet(self, refused: Callable[..., str], nothing_written: None) -> None:
        assert "run `tuneoff create` first" in refused("status", "digits")


class TestStudy:
    """Commands on a study that is there, or not."""

    @pytest.mark.parametrize(
        "words",
        [
            ("worker",),
            ("launch",),
            ("status",),
            ("stop",),
            ("export",),
            ("compare",),
            ("report",),
            ("promote",),
            ("predict", "."),
            ("try",),
        ],
        ids=lambda words: words[0],
    )
    def test_of_unknown_name(
        self, words: tuple[str, ...], finished: Any, refused: Callable[..., str]
    ) -> None:
        line = refused(words[0], "dijits", *words[1:], on=finished)
        assert "no study dijits" in line
        assert "it has: digits" in line

    @pytest.mark.parametrize(
        ("words", "needles"),
        [
            (
                ("--lr", "5", "--momentum", "0.9", "--weight_decay", "1e-4"),
                ("lr = 5.0", "0.0001 to 3"),
            ),
            (("--lr", "0.1", "--momentum", "0.9"), ("weight_decay is missing",)),
            (("--lr", "0.1", "--nesterov", "1"), ("--nesterov", "--momentum")),
            (("--lr", "fast"), ("--lr fast", "not a number")),
            (("--lr",), ("--lr has no value",)),
            (
                ("--lr", "0.1", "--momentum", "0.9", "--weight_decay", "1e-4", "--arm", "bayes"),
                ("has no such hand-tuned arm", "hand"),
            ),
            (
                ("--lr", "0.1", "--momentum", "0.9", "--weight_decay", "1e-4", "--repeat", "9"),
                ("--repeat 9", "0 to 1"),
            ),
        ],
    )
    def test_try(
        self,
        words: tuple[str, ...],
        needles: tuple[str, ...],
        finished: Any,
        refused: Callable[..., str],
        read_ledger: Callable[..., Any],
    ) -> None:
        before = read_ledger(finished.storage).trials()
        line = refused("try", "digits", *words, on=finished)
        for needle in needles:
            assert needle in line
        assert read_ledger(finished.storage).trials() == before

    def test_try_beyond_the_budget(
        self, finished: Any, inside: Callable[..., Any], refused: Callable[..., str]
    ) -> None:
        words = ("--lr", "0.1", "--momentum", "0.9", "--weight_decay", "1e-4")
        inside(finished, "try", "digits", *words)
        assert "of the budget 0 are left" in refused("try", "digits", *words, on=finished)

    def test_changed_since(
        self, finished: Any, refused: Callable[..., str], digits: Callable[..., list[str]]
    ) -> None:
        for command in ("create", "run"):
            line = refused(command, *digits(space__lr__high="1.0"), on=finished)
            assert "space.lr.high is 3.0, not 1.0" in line
            assert "another name" in line

    def test_other_data_since(
        self,
        tuneoff: Any,
        inside: Callable[..., Any],
        refused: Callable[..., str],
        digits: Callable[..., list[str]],
        write_zip: Callable[..., Path],
        tiny_files: Mapping[str, bytes],
    ) -> None:
        study = [*digits(), *tiny(tuneoff.folder / "tiny.zip", "trial.batch_size=4")]
        write_zip(tiny_files)
        inside(tuneoff, "create", *study)
        write_zip({k: v for k, v in tiny_files.items() if not k.endswith("_7.JPEG")})
        for words in (("create", *study), ("worker", "digits")):
            assert "images are not those that it was created with" in refused(*words)

    def test_report_into_a_file(self, finished: Any, refused: Callable[..., str]) -> None:
        file = finished.folder / "taken"
        file.write_text("mine")
        assert "taken" in refused("report", "digits", "-o", file, on=finished)
        assert "taken" in refused("report", "digits", "-o", file / "below", on=finished)
        assert file.read_text() == "mine"

    @pytest.mark.parametrize("words", [("dashboard",), ("launch", "digits")])
    def test_work_that_is_no_folder(
        self, words: tuple[str, ...], finished: Any, refused: Callable[..., str]
    ) -> None:
        file = finished.folder / "taken"
        file.write_text("mine")
        line = refused(*words, "--work", file / "below", on=finished)
        assert str(file) in line
        assert "--work" in line

    @pytest.mark.parametrize(
        ("words", "needle"),
        [
            (("--partition", "gpu"), "--partition goes with --on slurm, not with --on here"),
            (("--cpus", "2"), "--cpus goes with --on ray or --on slurm, not with --on here"),
            (("--on", "ray", "--time", "30"), "--time goes with --on slurm, not with --on ray"),
            (("--on", "slurm", "--gpus", "0"), "--gpus goes with --on here or --on ray, not"),
            (("--on", "slurm", "--address", "auto"), "--address goes with --on ray, not"),
            (("--on", "slurm", "--slurm", "account"), "--slurm 'account': write KEY=VALUE"),
            (("--on", "slurm"), "--storage postgresql://"),
            (("--on", "moon"), "'moon' is not one of 'here', 'ray', 'slurm'"),
        ],
        ids=lambda value: value[-1] if isinstance(value, tuple) else "",
    )
    def test_launch_elsewhere(
        self, words: tuple[str, ...], needle: str, finished: Any, refused: Callable[..., str]
    ) -> None:
        assert needle in refused("launch", "digits", *words, on=finished)

    def test_export_into_no_folder(self, finished: Any, refused: Callable[..., str]) -> None:
        line = refused("export", "digits", "-o", finished.folder / "no" / "x.toml", on=finished)
        assert "cannot be written" in line

    def test_reference_that_is_no_arm(self, finished: Any, refused: Callable[..., str]) -> None:
        assert "it has: bayes" in refused("compare", "digits", "--reference", "b", on=finished)

    @pytest.mark.parametrize("images", ["missing", "empty", "corrupt"])
    def test_images_that_cannot_be_predicted(
        self, images: str, finished: Any, refused: Callable[..., str]
    ) -> None:
        folder = finished.folder / images
        if images != "missing":
            folder.mkdir()
        if images == "corrupt":
            (folder / "one.png").write_bytes(b"\x89PNG\r\n\x1a\njunk")
        line = refused("predict", "digits", folder, on=finished)
        assert str(folder) in line
        assert {
            "missing": "does not exist",
            "empty": "no images",
            "corrupt": "one.png",
        }[images] in line  # fmt: skip


class TestExportFile:
    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("best.toml", None, ("cannot be read", "check the path")),
            ("best.toml", "junk = ", ("is not an export of tuneoff",)),
            ("best.toml", "name = 'digits'\n", ("is not an export of tuneoff",)),
            ("best.json", "[]", ("is not an export of tuneoff",)),
            ("best.yaml", "- 1\n", ("is not an export of tuneoff",)),
            ("best.yaml", "{", ("is not an export of tuneoff",)),
            ("best.txt", "", (".toml, .json or .yaml",)),
            ("best.json", "[" * 100_000, ("is nested too deeply",)),
            ("study.toml", "[trial]\nepochs = 1\n", ("is a study file", "tuneoff run")),
        ],
    )
    def test_is_none(
        self,
        name: str,
        content: str | None,
        words: tuple[str, ...],
        refused: Callable[..., str],
        tmp_path: Path,
    ) -> None:
        if content is not None:
            (tmp_path / name).write_text(content)
        line = refused("train", tmp_path / name)
        for word in (name, *words):
            assert word in line

    def test_has_no_such_rank(
        self, finished: Any, inside: Callable[..., Any], refused: Callable[..., str]
    ) -> None:
        inside(finished, "export", "digits", "-o", "best.toml")
        assert "no configuration of rank 9" in refused(
            "train", "best.toml", "--rank", "9", on=finished
        )

    def test_device_that_is_not_there(self, finished: Any, inside: Callable[..., Any]) -> None:
        inside(finished, "export", "digits", "-o", "best.toml")
        said = inside(finished, "train", "best.toml", "--device", "cuda:77", code=1)
        assert len(said.err) == 1
        assert "cuda:77" in said.err[0]


def test_a_damaged_checkpoint_is_passed_over(
    finished: Any, inside: Callable[..., Any], until: Callable[..., Any]
) -> None:
    """The previous one is used, tuneoff says so, and the end is the same to the last bit."""
    file = finished.folder / "best.toml"
    inside(finished, "export", "digits", "-o", file)
    content = tomllib.loads(file.read_text())
    content["configurations"][0]["recipe"]["epochs"] = 12
    file.write_text(tomli_w.dumps(content))
    (calm,) = re.findall(
        r"^validation error \S+ \((\S+)\)$", finished("train", file).text, re.MULTILINE
    )

    folder = finished.folder / "stopped"
    stopped = finished.start("train", file, "-o", folder)
    until(lambda: any(line.startswith("epoch   3") for line in stopped.out), "epoch 3")
    stopped.signal(signal.SIGTERM)
    assert stopped.wait() == 128 + signal.SIGTERM
    assert "The same command goes on" in " ".join(stopped.text.split())
    before, newest = sorted(folder.glob("*.ckpt"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)

    again = finished("train", file, "-o", folder)
    (warning,) = again.err
    assert f"{newest} is not used" in warning
    assert before.name in warning
    assert f" ({calm})\n" in again.text


@pytest.fixture
def small_disk(make_disk: Callable[[str, str], Path]) -> Path:
    """A file system of 64 megabytes: room for a study, and soon filled."""
    return make_disk("work", "64m")


def test_no_space_for_a_checkpoint(
    small_disk: Path,
    tuneoff: Any,
    inside: Callable[..., Any],
    digits: Callable[..., list[str]],
    read_ledger: Callable[..., Any],
) -> None:
    """The worker says so and leaves; the trial waits, and goes on when there is space again."""
    assert small_disk == tuneoff.work
    inside(tuneoff, "create", *digits(repeats="1"))
    free = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(bytes(free.f_bavail * free.f_frsize - 200_000))
    worker = tuneoff("worker", "digits", code=1)
    (line,) = worker.err
    assert line.startswith("Error: no space for a checkpoint in ")
    assert "free some" in line
    ledger = read_ledger(tuneoff.storage)
    ((row,), (trial,)) = ledger.attempts(), ledger.trials()
    assert (row.end, row.epochs) == ("released", 0)
    assert "no space" in row.reason
    assert trial["state"] == "RUNNING"

    filler.unlink()
    inside(tuneoff, "worker", "digits")
    assert {trial["state"] for trial in ledger.trials()} <= {"COMPLETE", "PRUNED"}
    again = [r for r in ledger.attempts() if (r.search, r.trial) == (row.search, row.trial)]
    assert again[0].end == "released"
    assert {r.end for r in ledger.attempts() if r.token != row.token} == {"finished", "paused"}
    assert ledger.spent() == sum(trial["epochs"] for trial in ledger.trials())
