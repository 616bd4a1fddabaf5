"""A machine dies and another, which shares nothing but database and artifact store, goes on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

EPOCHS = 40
STUDY = """
name = "long"
repeats = 1
data = {{ name = "digits", validation = 0.2 }}
trial = {{ epochs = {epochs}, batch_size = 64, schedule = "cosine", flip = false }}
space = {{ lr = {{ low = 1e-3, high = 1.0, log = true }} }}
budget = {{ epochs = {epochs} }}
arms.hand.configs = [{{ lr = 0.03 }}]
promote = {{ top = 1, seeds = 1, epochs = 2 }}
ensemble = {{ combine = "greedy", members = [{{ model = "proxy" }}, {{ model = "proxy-dense" }}] }}
workers = {{ artifacts = "{artifacts}" }}
"""


@pytest.fixture
def machine(make_tuneoff: Callable[..., Any], tmp_path: Path) -> Callable[[str, str], Any]:
    """``tuneoff`` with a --work of its own: (storage URL, machine's name)."""

    def make(storage: str, name: str) -> Any:
        tuneoff = make_tuneoff(storage)
        tuneoff.work = tmp_path / name
        return tuneoff

    return make


def write_study(tmp_path: Path, artifacts: str) -> Path:
    file = tmp_path / "long.toml"
    file.write_text(STUDY.format(epochs=EPOCHS, artifacts=artifacts))
    return file


@pytest.mark.slow
@pytest.mark.parametrize(("storage", "store"), [("sqlite", "folder"), ("postgres", "bucket")])
def test_another_machine_takes_over(
    storage: str, store: str, machine: Any, read_ledger: Any, until: Any, tmp_path: Path,
    s3_environment: dict[str, str], request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    url = request.getfixturevalue(f"{storage}_url")
    study = write_study(tmp_path, request.getfixturevalue(f"{store}_url"))
    a, b = machine(url, "machine-a"), machine(url, "machine-b")
    ledger = read_ledger(url)

    a("create", study, **s3_environment)
    first = a.start("worker", "long", "--device", "cpu", **s3_environment)
    until(lambda: ledger.spent() >= 5 or first.process.poll() is not None, "five epochs")
    first.signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL, first.text
    assert not b.work.exists()

    # The second machine is told to leave on its way, and the first is there again.
    second = b.start("worker", "long", "--device", "cpu", **s3_environment)
    until(
        lambda: (len(ledger.attempts()) == 2 and ledger.attempts()[1].epochs >= 5)
        or second.process.poll() is not None,
        "five more",
    )  # fmt: skip
    second.signal(signal.SIGTERM)
    assert second.wait() == 128 + signal.SIGTERM, second.text
    a("worker", "long", "--device", "cpu", "--promote", **s3_environment)

    search = [row for row in ledger.attempts() if row.search == "long/hand/0"]
    assert [row.end for row in search] == ["lost", "released", "finished"]
    lost, left, finished = search
    assert lost.epochs >= 5
    # Whoever is killed loses the epochs that were not stored yet: those of the checkpoint that was
    # on its way, of the one that waited, and the one that was trained.
    assert lost.epochs - 3 <= left.from_epoch <= lost.epochs
    assert finished.from_epoch == left.from_epoch + left.epochs
    assert finished.from_epoch + finished.epochs == EPOCHS
    assert sum(row.epochs for row in search) - EPOCHS == lost.epochs - left.from_epoch
    assert {trial["state"] for trial in ledger.trials()} == {"COMPLETE"}

    # The ensemble was trained by the one; the other has its predictions, to the last digit.
    images = tmp_path / "images"
    images.mkdir()
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{i}.png")
    assert not list(b.work.rglob("*.npz"))
    here, there = (
        m("predict", "long", images, "--device", "cpu", **s3_environment).out for m in (a, b)
    )
    assert here == there
    assert len(there) == 6
    assert len(list(b.work.rglob("validation.npz"))) == 2


@pytest.mark.slow
def test_doctor_looks_at_the_store(
    tuneoff: Any, inside: Any, folder_url: str, tmp_path: Path
) -> None:
    inside(tuneoff, "create", write_study(tmp_path, folder_url))
    assert f"artifacts: {folder_url}: can be written and read" in inside(tuneoff, "doctor").text
    (tmp_path / "store").rename(tmp_path / "gone")
    said = inside(tuneoff, "doctor", code=1).text
    assert "FIX  artifacts:" in said
    assert "does not exist; mount it, or make it" in said


@pytest.mark.slow
def test_a_bad_store_is_one_line(
    tuneoff: Any, inside: Any, bucket_url: str, folder_url: str, tmp_path: Path
) -> None:
    missing = bucket_url.replace("bucket-", "no-bucket-")
    for url, message in (
        ("s3://me:hunter2@bucket", "holds credentials"),
        ("/shared", "is no artifact store; write file:///ABSOLUTE/FOLDER or s3://"),
        (missing, "there is no such bucket; make it, or fix the URL"),
    ):
        said = inside(tuneoff, "create", write_study(tmp_path, url), code=2)
        assert message in said.err[-1]
        assert len(said.err) == 1
        assert "hunter2" not in said.text
    # A worker, too, finds out before it claims anything.
    inside(tuneoff, "create", write_study(tmp_path, folder_url))
    (tmp_path / "store").rename(tmp_path / "gone")
    (tmp_path / "store").mkdir()
    said = inside(tuneoff, "worker", "long", code=2)
    assert "contains no file of study long; check that it is mounted here" in said.err[-1]
