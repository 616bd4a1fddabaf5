"""Features on disk: what is read back is what was written, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tuneoff.trainer.data import features
from tuneoff.trainer.data.batches import Epoch, Resident, training_batches
from tuneoff.trainer.data.features import FEATURES, Features, Rows, Stored
from tuneoff.trainer.data.stamped import load_or_build
from tuneoff.trainer.errors import DataError

CPU = torch.device("cpu")


def outputs(dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (3, 2, 2)) -> Tensor:
    values = torch.arange(7 * int(np.prod(shape)), dtype=torch.float32).reshape(7, *shape)
    return values.to(dtype)


def write(folder: Path, values: Tensor) -> str:
    return features.write(folder, len(values), iter(values.split(3)), lambda: 2.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 2, 2), (5,)])
def test_what_is_read_is_what_was_written(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    values = outputs(dtype, shape)
    digest = write(tmp_path, values)
    for verify in (False, True):
        found = features.read(tmp_path, verify)
        assert found is not None
        assert (found.digest, found.seconds, found.nbytes) == (digest, 2.5, values.nbytes)
        gathered = found.gather(np.array([6, 0]), CPU)
        assert gathered.dtype == dtype
        assert torch.equal(gathered, values[[6, 0]])
        assert gathered.ndim == 2 or gathered.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("damage", ["torn array", "no array", "torn description", "other shape"])
def test_damaged_files_are_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    def load() -> Features:
        return load_or_build(FEATURES, tmp_path, "x", lambda folder: write(folder, outputs()))

    first = load()
    expected = first.values.clone()
    array, about = tmp_path / "x" / "features.npy", tmp_path / "x" / "features.json"
    if damage == "torn array":
        array.write_bytes(array.read_bytes()[:-8])
    elif damage == "no array":
        array.unlink()
    elif damage == "torn description":
        about.write_text(about.read_text()[:30])
    else:
        about.write_text(json.dumps(json.loads(about.read_text()) | {"shape": [7, 12]}))
    again = load()
    assert torch.equal(again.values, expected)
    assert caplog.messages == [f"{tmp_path / 'x'} is damaged: computing them again"]


def test_a_changed_value_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, outputs())
    path = tmp_path / "features.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert features.read(tmp_path, verify=False) is not None
    assert features.read(tmp_path, verify=True) is None


def test_more_than_half_of_the_free_space_is_refused_before_it_is_written(tmp_path: Path) -> None:
    def build(folder: Path) -> str:
        return features.write(folder, 10**15, iter([outputs()]), lambda: 0.0)

    with pytest.raises(DataError, match=r"frozen stages cannot be kept in .*more than half of"):
        load_or_build(FEATURES, tmp_path, "x", build)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_batches_have_the_rows_of_the_images_in_the_same_order() -> None:
    """With the mean pixel as feature, and labels that number the images."""
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 4, 4, 3), np.uint8))
    data = Resident(images, torch.arange(9))
    rows = Rows(np.array([7, 1, 3, 5, 2]), np.array([0, 8]), mirrored=True)
    pixels = images.float().flatten(1)
    mirrored = images.flip(2).float().flatten(1)
    parts = [(mirrored if flipped else pixels)[chosen] for chosen, flipped in rows.parts()]
    stored = Stored.of(Features(torch.cat(parts), "", 0.0), rows, data.labels)
    assert rows.count == 12
    values, labels = stored.gather(rows.validation)
    assert torch.equal(values, pixels[[0, 8]])
    assert labels.tolist() == [0, 8]

    epoch = Epoch(np.array([3, 7, 2, 5, 1]), np.array([False, True, True, False, True]))
    plain = list(training_batches(data, epoch, 3))
    kept = list(stored.training_batches(epoch, 3))
    assert [labels.tolist() for _, labels in kept] == [labels.tolist() for _, labels in plain]
    flips = dict(zip(epoch.order.tolist(), epoch.flips.tolist(), strict=True))
    for values, labels in kept:
        wanted = [(mirrored if flips[label] else pixels)[label] for label in labels.tolist()]
        assert torch.equal(values, torch.stack(wanted))
    (last,) = stored.training_batches(epoch, 3, start=1)
    assert torch.equal(last[0], kept[1][0])
