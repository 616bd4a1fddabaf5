"""A folder that Hugging Face's datasets saved; by the real package, in the slow test."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tuneoff.trainer.data.sources import given
from tuneoff.trainer.recipe import DataSource


def test_another_folder_and_a_missing_package(
    refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = DataSource("datasets", str(tmp_path))
    refused(source, "is no folder that save_to_disk of datasets wrote")
    (tmp_path / "dataset_info.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(source, r"datasets is not installed or .*\[datasets\]")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of datasets and of what it imports
def test_a_saved_folder(load: Any, refused: Any, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 8, 3), dtype=np.uint8)
    kinds = datasets.Features(
        {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=["no", "yes"])}
    )

    def part(where: slice) -> Any:
        pictures = [Image.fromarray(image) for image in images[where]]
        kind = [number % 2 for number in range(30)][where]
        return datasets.Dataset.from_dict({"picture": pictures, "kind": kind}, features=kinds)

    whole = datasets.DatasetDict({"train": part(slice(20)), "test": part(slice(20, 30))})
    whole.save_to_disk(tmp_path / "both")
    pack = load(DataSource("datasets", str(tmp_path / "both")))
    np.testing.assert_array_equal(pack.images, images)
    assert pack.classes == ("no", "yes")
    assert pack.test.tolist() == [False] * 20 + [True] * 10
    part(slice(30)).save_to_disk(tmp_path / "one")
    source = DataSource("datasets", str(tmp_path / "one"))
    pack = load(source)
    np.testing.assert_array_equal(pack.images, images)
    assert pack.test.sum() == 6
    by_reference = given.of(datasets.load_from_disk(str(tmp_path / "one")), "it")
    assert by_reference.classes == ("no", "yes")
    (file,) = (tmp_path / "one").glob("*.arrow")
    file.write_bytes(file.read_bytes()[:1000])
    refused(source, r"/one is damaged \(")
    whole["train"].rename_column("kind", "sort").remove_columns("picture").save_to_disk(
        tmp_path / "none"
    )
    refused(DataSource("datasets", str(tmp_path / "none")), "it has sort; name the two columns")
