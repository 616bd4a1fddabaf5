"""The trainer's benchmark fills its table, its GPU part by a stand-in on the CPU."""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def cpu(script_folder: Path) -> ModuleType:
    return importlib.import_module("trainer_cpu")


@pytest.fixture
def bench(cpu: ModuleType, tmp_path: Path) -> Any:
    """Both sides of the benchmark on a few made-up images."""
    images = importlib.import_module("trainer_data").made_up(2, 20, side=32)
    size = cpu.Size(per_class=20, packed=50, rounds=1, passes=1)
    return cpu.Bench.of(tmp_path, images, size)


def run(*arguments: str | Path, data: Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "benchmarks" / "trainer.py"
    command = [sys.executable, str(script), "--data", str(data), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture
def small_zip(script_folder: Path, tmp_path: Path) -> Path:
    """Tiny ImageNet's layout with two classes of twelve images."""
    data = importlib.import_module("trainer_data")
    data.write_zip(tmp_path / "small.zip", data.made_up(2, 12))
    return tmp_path / "small.zip"


def cells(results: Path) -> dict[str, list[str]]:
    """The table in a file of results: what is in each row, by its first cell."""
    lines = [line for line in results.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows}


def rate(cell: str) -> float:
    found = re.match(r"([\d.,]+)", cell)
    return float(found[1].replace(",", "")) if found else math.nan


@pytest.mark.slow
@pytest.mark.timeout(900)  # eight processes that import torch, one after another
def test_gpu_part_runs_on_the_cpu(small_zip: Path, tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    done = run("--quick", "--part", "gpu", "--stand-in", "--results", results, data=small_zip)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = cells(results)
    assert "failed" not in results.read_text()
    for model in ("resnet18", "proxy"):
        ours, usual, ratio, *_ = rows[f"GPU: {model} at 32 px, batch 8"]
        assert "of the matrix peak" in ours
        assert min(rate(ours), rate(usual), rate(ratio)) > 0
    assert rate(rows["GPU: 2 x proxy at 32 px at once, time slices"][0]) > 0
    assert rows["GPU: throughput stops rising (time slices)"][0] in (
        "at K = 1",
        "at more than K = 2",
    )
    assert any("from ask to the first step" in what for what in rows)


@pytest.mark.slow
def test_without_a_gpu_it_says_so(small_zip: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    results = tmp_path / "RESULTS.md"
    done = run("--quick", "--part", "gpu", "--results", results, data=small_zip)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = cells(results)
    del rows["what"]
    assert {row[0] for row in rows.values()} == {"not measured: no GPU"}
    assert "GPU: resnet50 at 224 px, batch 256" in rows


@pytest.mark.slow
def test_both_sides_train_on_the_same_number_of_images(cpu: ModuleType, bench: Any) -> None:
    assert bench.sizes["train"] + bench.sizes["validation"] == 40
    assert cpu.our_input(bench)() == cpu.usual_input(bench)() == bench.sizes["train"]
    with cpu.sides(bench, "proxy", 32, 8) as both:
        assert {name: side() for name, side in both.items()} == {"ours": 36, "usual": 36}
    rows = list(cpu.epoch_row(bench, "a row", "proxy", 32, 8, wanted=2.0))
    assert [row.what for row in rows] == ["a row"]
    assert rows[0].ratio > 0
    assert rows[0].met == (rows[0].ratio >= 2.0)


@pytest.mark.slow
def test_input_is_the_same_pixels(cpu: ModuleType, bench: Any) -> None:
    usual = torch.cat([images for images, _ in bench.loaders(None, 8)[1]])
    packed = cpu.load(bench.source, bench.folder / "cache")
    ours = cpu.batches.normalise(torch.from_numpy(packed.images), None)
    # The usual side keeps some of the images for validation, in an order of its own.
    for image in usual:
        assert min(float((image - other).abs().max()) for other in ours) < 1e-5


def test_packing(
    cpu: ModuleType, bench: Any, script_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = importlib.import_module("trainer_data")
    images = data.made_up(2, 5, side=64)

    def checked(sides: dict[str, Callable[[], int]], folder: Path) -> Any:
        found = {name: side() for name, side in sides.items()}
        assert found == {"ours": 50, "usual": 50, "disk": 50}
        assert np.load(folder / "usual.npy").shape == (50, 64, 64, 3)
        rates = importlib.import_module("trainer_table").Rates([1.0], [1.0])
        return dict.fromkeys(found, rates)

    monkeypatch.setattr(cpu, "take_turns", lambda sides, rounds: checked(sides, bench.folder))
    rows = list(cpu.packing_row(bench, images))
    assert rows[0].what == "CPU: packing 50 images of a zip, by wall time"
    assert len(rows) == 2


@pytest.mark.slow
def test_the_wait_for_a_first_step(bench: Any) -> None:
    latency = importlib.import_module("trainer_latency")
    trials = latency.timelines(bench.source, "proxy", "cpu", 8, bench.folder)
    assert len(trials) == latency.TRIALS
    asked = [trial.asked for trial in trials]
    assert asked == sorted(set(asked))
    for trial, after in zip(trials, [*asked[1:], math.inf], strict=True):
        assert trial.asked < trial.ticks[0] <= trial.ticks[-1] < after
        assert latency.wait(trial, whole=False) < latency.wait(trial, whole=True)


def test_the_newest_table_comes_first(script_folder: Path, tmp_path: Path) -> None:
    table = importlib.import_module("trainer_table")
    path = tmp_path / "RESULTS.md"
    path.write_text("# Measurements\n\nBy hand.\n\n## 2020-01-01: old\n\nText.\n")
    row = table.Row("a thing", "2/s", "1/s", 2.0, ">= 3", False)
    table.keep(path, table.markdown([row], ["A note."], "python x.py"))
    text = path.read_text()
    assert text.startswith("# Measurements\n\nBy hand.\n\n## ")
    assert text.endswith("\n\n## 2020-01-01: old\n\nText.\n")
    assert "| a thing | 2/s | 1/s | 2.00 | >= 3 | no |\n" in text
    assert cells(path)["a thing"] == ["2/s", "1/s", "2.00", ">= 3", "no"]


@pytest.mark.slow
def test_what_is_no_tiny_imagenet_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    done = run("--quick", data=tmp_path / "other.zip")
    assert done.returncode == 2
    assert "has no train/CLASS/images/*.JPEG" in done.stderr
    assert "Traceback" not in done.stderr
