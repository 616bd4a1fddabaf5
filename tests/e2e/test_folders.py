"""The folder --work as users have it: full, of several machines, damaged, or another one."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


@pytest.fixture
def small_disk(make_disk: Callable[[str, str], Path]) -> Path:
    """A file system of 16 megabytes."""
    return make_disk("small", "16m")


def fill(folder: Path) -> Path:
    """Leaves no byte free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(65536)):
                pass
        except OSError:
            return filler
    raise AssertionError("there is no end to this disk")


def image(folder: Path) -> Path:
    folder.mkdir()
    Image.new("L", (8, 8), 100).save(folder / "a.png")
    return folder


def test_no_space_for_what_is_made_of_a_study(
    finished: Any, inside: Callable[..., Any], small_disk: Path
) -> None:
    """One line each; what stood there stays whole, and what can be printed is printed."""
    inside(finished, "report", "digits", "-o", small_disk / "report")
    before = {p.name: p.read_bytes() for p in (small_disk / "report").iterdir()}
    inside(finished, "export", "digits", "-o", small_disk / "best.toml")
    exported = (small_disk / "best.toml").read_bytes()
    filler, images = fill(small_disk), image(finished.folder / "images")
    for words in (
        ("report", "digits", "-o", small_disk / "report"),
        ("report", "digits", "-o", small_disk / "another" / "report"),
        ("export", "digits", "-o", small_disk / "best.toml", "--top", "2"),
        ("predict", "digits", images, "-o", small_disk / "x.csv"),
    ):
        (line,) = [
            text for text in inside(finished, *words, code=2).err if text.startswith("Error")
        ]
        assert "No space left on device" in line
        assert "choose another" in line
    assert {p.name: p.read_bytes() for p in (small_disk / "report").iterdir()} == before
    assert (small_disk / "best.toml").read_bytes() == exported
    assert not list(small_disk.rglob(".*.part"))
    filler.unlink()
    inside(finished, "report", "digits", "-o", small_disk / "report")


def test_no_space_for_the_folder_of_a_worker(
    tuneoff: Any, inside: Callable[..., Any], digits: Callable[..., list[str]], small_disk: Path
) -> None:
    inside(tuneoff, "create", *digits())
    tuneoff.work = small_disk
    filler = fill(small_disk)
    for words in (("worker", "digits"), ("launch", "digits", "--workers", "1")):
        said = tuneoff(*words, code=2)
        assert len(said.err) == 1
        assert "No space left on device" in said.err[0]
    filler.unlink()


def test_what_is_left_of_a_member_is_used_or_refused_in_one_line(
    finished: Any, inside: Callable[..., Any], tmp_path: Path
) -> None:
    images = image(tmp_path / "images")
    calm = inside(finished, "predict", "digits", images).out
    (study,) = finished.work.glob("digits-*")
    member = study / "ensemble" / "00000"
    for split in ("validation", "test"):
        (member / f"{split}.npz").write_bytes(b"")
    said = inside(finished, "predict", "digits", images)
    assert said.out == calm
    assert (member / "validation.npz").stat().st_size > 0
    # The one before the last is of another model: it is no substitute.
    newest = max(member.glob("*.ckpt"))
    newest.write_bytes(b"")
    said = inside(finished, "predict", "digits", images, code=1)
    assert said.out == []
    assert f"{member} has no good checkpoint of epoch 3" in said.err[-1]
    assert said.err[-1].startswith("Error: ")


@pytest.fixture
def other_machine() -> list[str]:
    """What makes a command think that it is on another machine: host name and processes."""
    words = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        done = subprocess.run([*words, "hostname", "elsewhere"], capture_output=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("there is no unshare command here")
    if done.returncode:
        pytest.skip(f"no other machine can be made here: {done.stderr.decode().strip()}")
    return [*words, "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]


def test_two_machines_share_a_folder_and_a_third_has_its_own(
    make_tuneoff: Callable[..., Any],
    digits: Callable[..., list[str]],
    postgres_url: str,
    other_machine: list[str],
    read_ledger: Callable[..., Any],
    until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """One goes on from the other's checkpoint; the budget is kept, and nothing is trained twice."""
    tuneoff = make_tuneoff(postgres_url)
    study = digits(repeats="1", budget__epochs="30")  # long enough for another to come
    tuneoff("create", *study, "--set", "workers.grace_seconds=20")
    ledger = read_ledger(postgres_url)
    plain = tuneoff.command
    here = tuneoff.start("worker", "digits")
    until(lambda: ledger.spent() >= 1, "the first epoch", 240)
    tuneoff.command = lambda *words: [*other_machine, *plain(*words)]
    there = tuneoff.start("worker", "digits")
    until(
        lambda: len({row.worker.split("/")[0] for row in ledger.attempts()}) == 2,
        "both at work",
        240,
    )

    def halted_at_work() -> bool:
        here.signal(signal.SIGSTOP)
        if any(map(is_half_done_here, ledger.attempts())):
            return True
        here.signal(signal.SIGCONT)
        return False

    def is_half_done_here(row: Any) -> bool:
        here = row.worker.startswith(f"{socket.gethostname()}/")
        return here and row.end is None and row.from_epoch + row.epochs < row.until_epoch

    until(halted_at_work, "a moment at which the first one trains")
    here.signal(signal.SIGKILL)
    assert here.wait() == -signal.SIGKILL
    assert there.wait(400) == 0
    rows = ledger.attempts()
    assert {row.worker.split("/")[0] for row in rows} == {socket.gethostname(), "elsewhere"}
    (lost,) = [row for row in rows if row.end == "lost"]
    again = next(
        r
        for r in rows
        if (r.search, r.trial, r.number) == (lost.search, lost.trial, lost.number + 1)
    )
    assert again.worker.startswith("elsewhere/")
    assert again.from_epoch == lost.from_epoch + lost.epochs  # none was trained twice
    for search in {row.search for row in rows}:
        assert sum(row.epochs for row in rows if row.search == search) <= 30

    alone = make_tuneoff(postgres_url)
    alone.work = tmp_path / "of its own"
    (line,) = alone("worker", "digits", code=2).err
    assert f"is trained: that is {socket.gethostname()}:{tuneoff.work}" in " ".join(line.split())
    assert list(alone.work.glob("digits-*")) == []


ONE_CONFIGURATION = """
name = "gone"
repeats = 1
[data]
name = "digits"
[trial]
model = "proxy"
epochs = 3
[space]
lr = { low = 1e-3, high = 1.0, log = true }
[budget]
epochs = 3
[arms.hand]
configs = [{ lr = 0.03 }]
"""


def test_a_folder_that_was_deleted_is_refused_and_may_be_made_anew(
    tuneoff: Any,
    inside: Callable[..., Any],
    read_ledger: Callable[..., Any],
    until: Callable[..., Any],
) -> None:
    """What had begun begins again, and the budget counts both; status says what is beyond it."""
    study = tuneoff.folder / "gone.toml"
    study.write_text(ONE_CONFIGURATION)
    inside(tuneoff, "create", study)
    ledger = read_ledger(tuneoff.storage)
    worker = tuneoff.start("worker", "gone")
    until(lambda: ledger.spent() >= 1, "the first epoch", 240)
    worker.signal(signal.SIGKILL)
    worker.wait()
    before = ledger.spent()
    shutil.rmtree(tuneoff.work)

    (line,) = tuneoff("worker", "gone", code=2).err
    assert "or it was emptied" in " ".join(line.split())
    assert not list(tuneoff.work.glob("gone-*"))
    (line,) = tuneoff("create", study).err
    assert "trials that have begun begin again" in line
    tuneoff("worker", "gone", limit=300)
    assert ledger.spent() == before + 3
    (trial,) = [trial for trial in ledger.trials() if trial["search"] == "gone/hand/0"]
    assert (trial["state"], trial["epochs"]) == ("COMPLETE", 3)
    status = " ".join(inside(tuneoff, "status", "gone").text.split())
    assert f"gone/hand/0 has trained {before + 3} epochs, {before} more than its budget" in status
