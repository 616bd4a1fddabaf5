"""A run in two processes under torchrun: as one process, stopped by rank 0, and resumable."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainer import checkpoint
from trainer.contract import DataSource, Recipe
from trainer.distributed import ALONE, local_device

pytestmark = pytest.mark.slow

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


@pytest.fixture
def recipe(noise: Path) -> Recipe:
    """128 training images: 4 batches of 30, and one of 8."""
    return Recipe(
        data=DataSource("folder", str(noise)),
        model="proxy-residual",
        epochs=3,
        batch_size=30,
        precision="fp32",
    )


Run = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def run(session_cache: Path) -> Run:
    """run(ranks, folder, recipe, stop={}, die={}, code=0): what each rank saw."""

    def start(
        ranks: int,
        folder: Path,
        recipe: Recipe,
        stop: dict[str, int] | None = None,
        die: dict[str, int] | None = None,
        code: int = 0,
    ) -> list[dict[str, Any]]:
        folder.mkdir(exist_ok=True)
        asked = {
            "cache": str(session_cache),
            "folder": str(folder),
            "recipe": recipe.to_dict(),
            "stop": stop or {},
            "die": die or {},
        }
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        done = subprocess.run(
            [sys.executable, *(torchrun if ranks > 1 else []), str(SCRIPT), json.dumps(asked)],
            capture_output=True,
            text=True,
            timeout=240,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert done.returncode == code, done.stderr[-4000:]
        if code:
            return [{"stderr": done.stderr}]
        return [json.loads((folder / f"rank-{i}.json").read_text()) for i in range(ranks)]

    return start


def weights(folder: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.load_newest(folder, {})
    assert found is not None
    return {name: tensor.double() for name, tensor in found.model.items()}


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record | {"seconds": 0, "replayed": False} for record in records]


def test_one_step_is_that_of_one_process(run: Run, recipe: Recipe, tmp_path: Path) -> None:
    one_step = replace(recipe, epochs=1, batch_size=127)  # shares of 64 and 63
    alone, *_ = run(1, tmp_path / "one", one_step)
    first, second = run(2, tmp_path / "two", one_step)
    assert (alone["world"], first["world"], second["world"]) == (1, 2, 2)
    assert timeless(first["records"]) == timeless(second["records"])
    a, b = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.allclose(tensor, b[name], rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulation": 3},
        {
            "mixup": 0.2,
            "cutmix": 1.0,
            "label_smoothing": 0.1,
            "ema": 0.9,
            "clip": 1.0,
            "crop_padding": 2,
            "frozen_epochs": 1,
            "nesterov": True,
        },
        {"model": "proxy-dense", "batch_size": 127, "start_size": 8},  # a last batch of one: none
    ],
    ids=["plain", "accumulation", "options", "dense"],
)
def test_two_processes_come_to_what_one_does(
    run: Run, recipe: Recipe, tmp_path: Path, changes: dict[str, Any]
) -> None:
    changed = replace(recipe, **changes)
    alone, *_ = run(1, tmp_path / "one", changed)
    both = run(2, tmp_path / "two", changed)
    assert both[0]["records"] == both[1]["records"] or timeless(both[0]["records"]) == timeless(
        both[1]["records"]
    )
    for mine, theirs in zip(alone["records"], both[0]["records"], strict=True):
        assert theirs["train_loss"] == pytest.approx(mine["train_loss"], rel=5e-3)
        assert theirs["validation_loss"] == pytest.approx(mine["validation_loss"], rel=2e-2)
        assert theirs["lr"] == mine["lr"]


def test_rank_0_decides_when_to_stop_and_the_run_goes_on_as_if_it_had_not(
    run: Run, recipe: Recipe, tmp_path: Path
) -> None:
    whole, _ = run(2, tmp_path / "whole", recipe)
    ignored, _ = run(2, tmp_path / "ignored", recipe, stop={"1": 3})
    assert timeless(ignored["records"]) == timeless(whole["records"])
    # In the middle of the second epoch: 5 batches and a look at the end of the first.
    first, second = run(2, tmp_path / "cut", recipe, stop={"0": 9})
    assert (first["stopped"], second["stopped"]) == (1, 1)
    again, _ = run(2, tmp_path / "cut", recipe)
    assert [record["replayed"] for record in again["records"]] == [True, False, False]
    assert timeless(again["records"]) == timeless(whole["records"])
    a, b = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_killed_rank_ends_the_run_which_then_goes_on(
    run: Run, recipe: Recipe, tmp_path: Path, rank: str
) -> None:
    whole, _ = run(2, tmp_path / "whole", recipe)
    (failed,) = run(2, tmp_path / "cut", recipe, die={rank: 9}, code=1)
    assert "Signal 9 (SIGKILL)" in failed["stderr"]
    again, _ = run(2, tmp_path / "cut", recipe)
    assert again["records"][0]["replayed"]
    assert timeless(again["records"]) == timeless(whole["records"])


def test_one_process_goes_on_with_what_two_began(run: Run, recipe: Recipe, tmp_path: Path) -> None:
    first, _ = run(2, tmp_path, recipe, stop={"0": 9})
    assert first["stopped"] == 1
    (rest,) = run(1, tmp_path, recipe)
    assert [record["replayed"] for record in rest["records"]] == [True, False, False]


def test_without_torchrun_there_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.arange(5)
    assert ALONE.leads
    assert torch.equal(rows[ALONE.part], rows)
    assert torch.equal(ALONE.interleave(rows, 5), rows)
    assert ALONE.share(lambda: 7) == ALONE.decide(7) == 7
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert local_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [local_device(name) for name in ("cuda", "cpu", "cuda:1")] == ["cuda:3", "cpu", "cuda:1"]
