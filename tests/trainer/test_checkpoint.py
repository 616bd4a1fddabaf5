"""Checkpoints: whole or not there, the newest good one, and a full disk."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import logging
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from tuneoff import files
from tuneoff.trainer import checkpoint
from tuneoff.trainer.checkpoint import Checkpoint
from tuneoff.trainer.errors import CheckpointError

RUN = {"recipe": {"model": "proxy"}, "seed": {"study": 0}}


def make(epoch: int, batch: int = 0, **more: Any) -> Checkpoint:
    values: dict[str, Any] = {
        "run": RUN,
        "about": {"classes": ("a", "b"), "size": (8, 8)},
        "model": {"weight": torch.full((3,), float(epoch))},
        "average": None,
        "optimizer": {},
        "schedule": {"best": float("inf")},
        "accumulation": 1,
        "epoch": epoch,
        "batch": batch,
        "loss_sum": 0.1,
        "images_seen": 4,
        "seconds": 1.5,
        "records": [{"epoch": e + 1} for e in range(epoch)],
    }
    return Checkpoint(**{**values, **more})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    saved = make(3, 7)
    checkpoint.save(tmp_path, saved)
    found = checkpoint.load_newest(tmp_path, RUN)
    assert found is not None
    assert torch.equal(found.model["weight"], saved.model["weight"])
    for name in ("run", "about", "schedule", "epoch", "batch", "loss_sum", "records", "seconds"):
        assert getattr(found, name) == getattr(saved, name)


def test_nothing_there(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path, RUN) is None
    assert checkpoint.load_newest(tmp_path / "missing", RUN) is None


def test_the_newest_file_is_all_that_another_machine_needs(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert checkpoint.newest(here) is None
    for epoch, batch in ((9, 0), (10, 0), (10, 7)):
        written = checkpoint.save(here, make(epoch, batch))
        assert checkpoint.newest(here) == written
    there.mkdir()
    (there / "notes.ckpt").touch()
    assert checkpoint.newest(there) is None
    (there / written.name).write_bytes(written.read_bytes())
    found = checkpoint.load_newest(there, RUN)
    assert found is not None
    assert (found.epoch, found.batch) == (10, 7)


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    for epoch, batch in ((1, 0), (1, 5), (2, 0), (10, 0)):
        checkpoint.save(tmp_path / "deep" / "er", make(epoch, batch))
    assert names(tmp_path / "deep" / "er") == ["000002-00000000.ckpt", "000010-00000000.ckpt"]


def test_progress_decides_which_is_newest(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, make(2))
    checkpoint.save(tmp_path, make(2, 30))
    found = checkpoint.load_newest(tmp_path, RUN)
    assert found is not None
    assert (found.epoch, found.batch) == (2, 30)


@pytest.mark.parametrize("damage", ["flip", "cut", "cut-in-header", "empty", "junk"])
def test_a_damaged_one_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    checkpoint.save(tmp_path, make(1))
    path = checkpoint.save(tmp_path, make(2))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1 if damage == "flip" else 0
    kept = {"cut": len(content) - 1, "cut-in-header": 40, "empty": 0}.get(damage, len(content))
    path.write_bytes(b"junk" * 100 if damage == "junk" else content[:kept])
    with caplog.at_level(logging.WARNING):
        found = checkpoint.load_newest(tmp_path, RUN)
    assert found is not None
    assert found.epoch == 1
    (message,) = caplog.messages
    assert message.startswith(f"checkpoint {path} is not used")
    assert message.endswith("the previous one, 000001-00000000.ckpt, is used")


def test_all_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint.save(tmp_path, make(1)).write_bytes(b"")
    assert checkpoint.load_newest(tmp_path, RUN) is None
    assert caplog.messages[0].endswith("there is no other")


def test_one_of_another_run_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint.save(tmp_path, make(4, run={**RUN, "seed": {"study": 9}}))
    assert checkpoint.load_newest(tmp_path, RUN) is None
    assert "it belongs to a run with another seed" in caplog.messages[0]
    found = checkpoint.load_newest(tmp_path, {"recipe": RUN["recipe"]})
    assert found is not None


def test_one_of_another_run_is_moved_out_of_the_way_by_the_next_save(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, make(4, run={}))
    checkpoint.save(tmp_path, make(1))
    assert names(tmp_path) == ["000001-00000000.ckpt", "000004-00000000.unused"]


def test_one_of_another_version_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = checkpoint.save(tmp_path, make(1))
    buffer = io.BytesIO()
    torch.save({"epoch": 1}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    path.write_bytes(b"tuneoff-checkpoint 1 " + digest + b"\n" + buffer.getvalue())
    assert checkpoint.load_newest(tmp_path, RUN) is None
    assert "another version wrote it" in caplog.messages[0]


class Boom:
    """What unpickles as a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def signed(content: bytes) -> bytes:
    """A file with the right header and digest, whatever is in it."""
    return b"tuneoff-checkpoint 1 " + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def saved_by_torch(values: Any, **settings: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(values, buffer, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind",
    ["torch", "torch's old format", "pickle", "a wrong type", "no mapping", "memo", "empty body"],
)
def test_a_malicious_one_runs_nothing_and_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    checkpoint.save(tmp_path, make(1))
    path = tmp_path / "000002-00000000.ckpt"
    victim = tmp_path / "victim"
    fields = {f.name: getattr(make(2), f.name) for f in dataclasses.fields(Checkpoint)}
    contents: dict[str, Callable[[], bytes]] = {
        "torch": lambda: saved_by_torch({**fields, "about": Boom(victim)}),
        "torch's old format": lambda: saved_by_torch(
            {**fields, "about": Boom(victim)}, _use_new_zipfile_serialization=False
        ),
        "pickle": lambda: pickle.dumps(Boom(victim)),
        "a wrong type": lambda: saved_by_torch({**fields, "run": "everything"}),
        "no mapping": lambda: saved_by_torch([1, 2]),
        "memo": lambda: pickle.dumps({}, 2)[:-2] + b"h\x07.",
        "empty body": lambda: b"",
    }
    path.write_bytes(signed(contents[kind]()))
    with caplog.at_level(logging.WARNING):
        found = checkpoint.load_newest(tmp_path, RUN)
    assert not victim.exists()
    assert found is not None
    assert found.epoch == 1
    (message,) = caplog.messages
    assert "another version wrote it" in message
    assert message.endswith("the previous one, 000001-00000000.ckpt, is used")


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, make(1))
    os.mkfifo(tmp_path / "000002-00000000.ckpt")  # to open it would take for ever
    (tmp_path / "000003-00000000.ckpt").mkdir()
    (tmp_path / "000004-00000000.ckpt").symlink_to("/dev/zero")
    (tmp_path / "000005-00000000.ckpt").symlink_to("nowhere")
    found = checkpoint.load_newest(tmp_path, RUN)
    assert found is not None
    assert found.epoch == 1


def test_strangers_are_neither_read_nor_removed(tmp_path: Path) -> None:
    for name in ("notes.txt", "model.ckpt", "best-model.ckpt"):
        (tmp_path / name).write_text("mine")
    for epoch in (1, 2, 3):
        checkpoint.save(tmp_path, make(epoch))
    assert len(names(tmp_path)) == 3 + 2
    assert checkpoint.load_newest(tmp_path, RUN) is not None


@pytest.mark.parametrize(
    ("number", "start"),
    [
        (errno.ENOSPC, "no space for a checkpoint in"),
        (errno.EDQUOT, "no space for a checkpoint in"),
        (errno.EIO, "a checkpoint cannot be written to"),
    ],
)
def test_a_failed_write_is_one_line_and_leaves_the_rest_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, start: str
) -> None:
    checkpoint.save(tmp_path, make(3))

    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(CheckpointError) as caught:
            checkpoint.save(tmp_path, make(4))
    message = str(caught.value)
    assert message.startswith(start)
    assert message.endswith("start again: the run goes on from epoch 4")
    assert "\n" not in message
    assert names(tmp_path) == ["000003-00000000.ckpt"]
    assert checkpoint.load_newest(tmp_path, RUN) is not None


def test_a_disk_that_fills_up_in_the_middle_is_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "secrets", SimpleNamespace(token_hex=lambda count: "full"))
    (tmp_path / ".000004-00000000.ckpt.full.part").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"^no space for a checkpoint in .* from epoch 1$"):
        checkpoint.save(tmp_path, make(4, model={"weight": torch.zeros(10**6)}))
    assert names(tmp_path) == []


def test_a_name_that_only_looks_like_one_does_not_hide_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "7x-0.ckpt").write_text("mine")
    monkeypatch.setattr(files, "secrets", SimpleNamespace(token_hex=lambda count: "full"))
    (tmp_path / ".000004-00000000.ckpt.full.part").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"^no space for a checkpoint in .* from epoch 8$"):
        checkpoint.save(tmp_path, make(4, model={"weight": torch.zeros(10**6)}))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written to .* from epoch 1$"):
        checkpoint.save(tmp_path / "file" / "folder", make(1))


@pytest.mark.parametrize("version", ["0.1", "now"])
def test_a_file_half_written_is_never_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    folder, killed = tmp_path / "folder", tmp_path / "killed"
    checkpoint.save(folder, make(1))
    fsync = os.fsync

    def look(descriptor: int) -> None:
        """Takes down what a kill at this moment would leave."""
        if not killed.exists():
            shutil.copytree(folder, killed)
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", look)
        checkpoint.save(folder, make(2))
    half, whole = names(killed)
    assert re.fullmatch(r"\.000002-00000000\.ckpt\.\w+\.part", half)
    assert whole == "000001-00000000.ckpt"
    if version == "0.1":
        (killed / half).rename(killed / "000002-00000000.tmp")
    found = checkpoint.load_newest(killed, RUN)
    assert found is not None
    assert found.epoch == 1
    checkpoint.save(killed, make(3))
    assert names(killed) == ["000001-00000000.ckpt", "000003-00000000.ckpt"]


# The format, and how much memory it takes


def test_the_file_is_a_header_and_what_torch_saves(tmp_path: Path) -> None:
    """So that either version reads what the other has written."""
    path = checkpoint.save(tmp_path, make(3, 7))
    content = path.read_bytes()
    header, _, body = content.partition(b"\n")
    assert header == b"tuneoff-checkpoint 1 " + hashlib.sha256(body).hexdigest().encode()
    values = torch.load(io.BytesIO(body), weights_only=True)
    assert (values["epoch"], values["batch"]) == (3, 7)

    buffer = io.BytesIO()
    torch.save(values, buffer)  # as version 0.1 wrote it
    digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    path.write_bytes(b"tuneoff-checkpoint 1 " + digest + b"\n" + buffer.getvalue())
    found = checkpoint.load_newest(tmp_path, RUN)
    assert found is not None
    assert (found.epoch, found.batch, found.records) == (3, 7, make(3).records)


SIZE = 200 * 2**20
"""Bytes of the model in a checkpoint."""


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.slow
def test_saving_copies_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = make(1, model={"weight": torch.ones(SIZE // 4)})
    held: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        """When all is written and nothing is given back yet."""
        held.append(resident())
        fsync(descriptor)

    checkpoint.save(tmp_path, make(0))  # what is imported late is there now
    monkeypatch.setattr(os, "fsync", look)
    before = resident()
    checkpoint.save(tmp_path, large)
    assert max(held) - before < 0.2 * SIZE


@pytest.mark.slow
def test_loading_makes_the_tensors_and_no_other_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, make(1, model={"weight": torch.ones(SIZE // 4)}))
    held: list[int] = []
    load = torch.load

    def look(*given: Any, **more: Any) -> Any:
        """When everything is read and nothing is given back yet."""
        found = load(*given, **more)
        held.append(resident())
        return found

    monkeypatch.setattr(torch, "load", look)
    before = resident()
    found = checkpoint.load_newest(tmp_path, RUN)
    assert found is not None
    assert held[0] - before < 1.2 * SIZE
