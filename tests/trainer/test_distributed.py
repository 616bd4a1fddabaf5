"""A run in two processes under torchrun: as one process, stopped by rank 0, and resumable."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tuneoff.trainer import checkpoint
from tuneoff.trainer.distributed import ALONE, local_device
from tuneoff.trainer.recipe import DataSource, Recipe

# A start of two ranks takes torch's imports twice, and on a busy machine a minute or more.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SCRIPT = Path(__file__).with_name("ranks.py")
ROOT = SCRIPT.parents[2]


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory, make_folder: Callable[..., Path]) -> Path:
    """Images of noise: on even areas, where ReLUs of many pixels flip at once, rounding shows."""
    rng = np.random.default_rng(0)
    files = {}
    for label in range(4):
        for number in range(45):
            pixels = rng.integers(0, 200, (16, 16, 3))
            pixels[:, :, label % 3] += 12 * label
            buffer = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
            files[f"c{label}/{number}.png"] = buffer.getvalue()
    return make_folder(tmp_path_factory.mktemp("noise"), files)


@pytest.fixture(scope="module")
def recipe(noise: Path) -> Recipe:
    """128 training images: 4 batches of 30, and one of 8."""
    return Recipe(
        data=DataSource("folder", str(noise)),
        model="proxy-residual",
        epochs=3,
        batch_size=30,
        precision="fp32",
    )


@dataclass(frozen=True)
class Run:
    """A run, and the tick at which a rank, by number, asks to stop or dies."""

    folder: Path
    recipe: Recipe
    stop: Mapping[str, int] = field(default_factory=dict)
    die: Mapping[str, int] = field(default_factory=dict)

    def said(self, rank: int) -> dict[str, Any]:
        """What a rank saw."""
        found: dict[str, Any] = json.loads((self.folder / f"rank-{rank}.json").read_text())
        return found


Start = Callable[..., str]


@pytest.fixture(scope="module")
def start(session_cache: Path) -> Start:
    """start(ranks, runs, code=0): runs them one after the other; what was said on stderr."""

    def begin(ranks: int, runs: Sequence[Run], code: int = 0) -> str:
        for run in runs:
            run.folder.mkdir(exist_ok=True)
        asked = {
            "cache": str(session_cache),
            "runs": [
                {
                    "folder": str(run.folder),
                    "recipe": run.recipe.to_dict(),
                    "stop": run.stop,
                    "die": run.die,
                }
                for run in runs
            ],
        }
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        done = subprocess.run(
            [sys.executable, *(torchrun if ranks > 1 else []), str(SCRIPT), json.dumps(asked)],
            capture_output=True,
            text=True,
            timeout=600,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == code, done.stderr[-4000:]
        return done.stderr

    return begin


CHANGES: Mapping[str, Mapping[str, Any]] = {
    "one step": {"epochs": 1, "batch_size": 127},  # shares of 64 and 63
    "plain": {},
    "accumulation": {"accumulation": 3, "metric": "auroc"},
    "options": {
        "mixup": 0.2,
        "cutmix": 1.0,
        "label_smoothing": 0.1,
        "ema": 0.9,
        "clip": 1.0,
        "crop_padding": 2,
        "frozen_epochs": 1,
        "frozen_stages": 1,
        "head_lr_factor": 2.0,
        "layer_lr_decay": 0.5,
        "nesterov": True,
    },
    # A last batch of one image, which is left out.
    "dense": {"model": "proxy-dense", "batch_size": 127, "start_size": 8},
}


@pytest.fixture(scope="module")
def pairs(
    start: Start, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, tuple[Run, Run]]:
    """Each run in one process, and in two; "ignored" alone is stopped by a rank without a say."""
    folder = tmp_path_factory.mktemp("pairs")
    found = {
        name: (
            Run(folder / f"{name} 1", recipe.override(changes)),
            Run(folder / f"{name} 2", recipe.override(changes)),
        )
        for name, changes in CHANGES.items()
    }
    ignored = Run(folder / "ignored", recipe, stop={"1": 3})
    start(1, [alone for alone, _ in found.values()])
    start(2, [*(both for _, both in found.values()), ignored])
    return found | {"ignored": (found["plain"][0], ignored)}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.load_newest(folder, {})
    assert found is not None
    return {name: tensor.double() for name, tensor in found.model.items()}


def timeless(said: dict[str, Any]) -> list[dict[str, Any]]:
    return [record | {"seconds": 0, "replayed": False} for record in said["records"]]


def test_one_step_is_that_of_one_process(pairs: Mapping[str, tuple[Run, Run]]) -> None:
    alone, both = pairs["one step"]
    assert (alone.said(0)["world"], both.said(0)["world"], both.said(1)["world"]) == (1, 2, 2)
    a, b = weights(alone.folder), weights(both.folder)
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.allclose(tensor, b[name], rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("name", CHANGES)
def test_two_processes_come_to_what_one_does(
    pairs: Mapping[str, tuple[Run, Run]], name: str
) -> None:
    alone, both = pairs[name]
    assert timeless(both.said(0)) == timeless(both.said(1))
    for mine, theirs in zip(alone.said(0)["records"], both.said(0)["records"], strict=True):
        assert theirs["train_loss"] == pytest.approx(mine["train_loss"], rel=5e-3)
        assert theirs["validation_loss"] == pytest.approx(mine["validation_loss"], rel=2e-2)
        assert theirs["lr"] == mine["lr"]


def test_only_rank_0_decides_when_to_stop(pairs: Mapping[str, tuple[Run, Run]]) -> None:
    assert timeless(pairs["ignored"][1].said(0)) == timeless(pairs["plain"][1].said(0))


def test_stopped_or_killed_in_mid_epoch_it_goes_on_as_if_it_had_not(
    start: Start, recipe: Recipe, pairs: Mapping[str, tuple[Run, Run]], tmp_path: Path
) -> None:
    # Five batches and a look at the end of the first epoch; then the third batch of the second.
    stopped = Run(tmp_path / "stopped", recipe, stop={"0": 9})
    start(2, [stopped])
    assert [stopped.said(rank)["stopped"] for rank in (0, 1)] == [1, 1]
    killed = [Run(tmp_path / f"killed {rank}", recipe, die={rank: 9}) for rank in ("0", "1")]
    for run in killed:
        assert "Signal 9 (SIGKILL)" in start(2, [run], code=1)
    left = Run(tmp_path / "left", recipe)
    shutil.copytree(stopped.folder, left.folder)

    again = [Run(run.folder, recipe) for run in (stopped, *killed)]
    start(2, again)
    whole = pairs["plain"][1]
    for run in again:
        said = run.said(0)
        assert [record["replayed"] for record in said["records"]] == [True, False, False]
        assert timeless(said) == timeless(whole.said(0))
        a, b = weights(whole.folder), weights(run.folder)
        assert all(torch.equal(a[name], b[name]) for name in a)

    start(1, [left])  # one process goes on with what two began
    assert [record["replayed"] for record in left.said(0)["records"]] == [True, False, False]


def test_without_torchrun_there_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.arange(5)
    assert ALONE.leads
    assert torch.equal(rows[ALONE.shard], rows)
    assert torch.equal(ALONE.interleave(rows, 5), rows)
    assert ALONE.share(lambda: 7) == ALONE.decide(7) == 7
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [local_device(name) for name in ("cuda", "cpu", "cuda:1")] == ["cuda:3", "cpu", "cuda:1"]
