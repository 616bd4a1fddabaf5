"""A network and images of one's own: the example as a user runs it, and data that have changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # where many others compute, too

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_model"
SHORT = (
    "repeats=1", "trial.epochs=1", "budget.epochs=2", "promote.epochs=1", "promote.seeds=1",
    "arms.bayes.startup=1", "trial.images=200", "compare.smallest_effect=1.0",
)  # fmt: skip


def test_the_example_is_searched_exported_and_trained_again(tuneoff: Any) -> None:
    folder = tuneoff.folder
    for file in EXAMPLE.glob("*.[pt][yo]*"):
        shutil.copy(file, folder)
    changes = [word for change in SHORT for word in ("--set", change)]
    said = tuneoff("run", "study.toml", *changes, "--workers", "1", limit=200).text
    assert "model_options.dropout = " in said
    assert "Report:" in said
    tuneoff("export", "own-model", "-o", "best.toml")
    exported = (folder / "best.toml").read_text()
    assert 'name = "mydata:load"' in exported
    assert "bright = 1.0" in exported
    assert "This is exactly what it was in the study." in tuneoff("train", "best.toml").text
    # A worker reads the study from the database, and was not told that its code may run.
    refused = tuneoff("worker", "own-model", code=2).text
    assert "nobody allowed this process to run (mydata,mynet)" in refused
    # The function returns other images.
    data = folder / "mydata.py"
    data.write_text(data.read_text().replace("digits.images * bright", "digits.images * 0.5"))
    refused = tuneoff("worker", "own-model", "--allow", "mydata,mynet", code=2).text
    assert "the images are not those that it was created with" in refused
