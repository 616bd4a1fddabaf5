"""Real runs of training libraries whose callbacks report to tuneoff, stop, and go on."""

from __future__ import annotations

import importlib.util
import math
import shlex
import sys
from pathlib import Path

import pytest

from tuneoff.trainer.own.command_job import Epoch, Job
from tuneoff.trainer.own.command_run import run_command


@pytest.mark.slow
@pytest.mark.timeout(900)  # their imports take most of it
@pytest.mark.parametrize(
    ("script", "package"),
    [("train_lightning.py", "pytorch_lightning"), ("train_huggingface.py", "transformers")],
)
def test_a_run_is_stopped_after_an_epoch_and_goes_on(
    script: str, package: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    words = [sys.executable, "-P", str(Path(__file__).parent / script)]
    command = f"{shlex.join(words)} --lr {{lr}} --epochs {{epochs}} --seed {{seed}}"
    job = Job(command, {"lr": 0.01}, epochs=3, seed=5, device="cpu", folder=tmp_path / "run")
    epochs = run_command(job, lambda: False)
    first = next(epochs)
    epochs.close()
    rest: list[Epoch] = list(run_command(job, lambda: False))
    assert [(epoch.epoch, epoch.replayed) for epoch in rest] == [(1, True), (2, False), (3, False)]
    assert rest[0].value == first.value
    assert all(math.isfinite(epoch.value) for epoch in rest)
    assert rest[2].value < rest[0].value  # it learns
