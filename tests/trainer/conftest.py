"""Fixtures of the trainer's tests: one thread, tiny images, a trainer on the digits."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tuneoff.trainer.torch_trainer import TorchTrainer


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> Iterator[None]:
    """Bit-for-bit comparisons need one thread count; the machine is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of decoded images that all tests share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def digits_trainer(session_cache: Path) -> TorchTrainer:
    """A trainer that keeps the digits in memory."""
    return TorchTrainer("cpu", cache=session_cache)


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Makes an encoded image of random pixels: encode(seed, size=(w, h), mode, format)."""

    def make(
        seed: int = 0, size: tuple[int, int] = (16, 16), mode: str = "RGB", format: str = "JPEG"
    ) -> bytes:
        shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
        # Smooth, because JPEG does not keep noise.
        rng = np.random.default_rng(seed)
        small = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        image = small.resize(size).convert(mode)
        assert np.asarray(image).shape == shape
        buffer = io.BytesIO()
        image.save(buffer, format)
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def tiny_files(encode: Callable[..., bytes]) -> dict[str, bytes]:
    """Files in Tiny ImageNet's layout: 3 classes, 6 train and 2 val images each, 12 test."""
    wnids = ["n03", "n01", "n02"]  # as in the official list, not sorted
    files = {"wnids.txt": "\n".join(wnids).encode()}
    annotations = []
    for label, wnid in enumerate(wnids):
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b"x\t0\t0\t1\t1\n"
        for number in range(6):
            mode = "L" if number == 3 else "RGB"
            files[f"train/{wnid}/images/{wnid}_{number}.JPEG"] = encode(
                10 * label + number, mode=mode
            )
        for number in range(2):
            name = f"val_{2 * (2 - label) + number}.JPEG"  # so that names are not in label order
            files[f"val/images/{name}"] = encode(100 + 10 * label + number)
            annotations.append(f"{name}\t{wnid}\t0\t0\t15\t15")
    files["val/val_annotations.txt"] = ("\n".join(annotations) + "\n").encode()
    for number in range(12):
        files[f"test/images/test_{number}.JPEG"] = encode(200 + number)
    return files


@pytest.fixture
def tiny_zip(tmp_path: Path, tiny_files: dict[str, bytes]) -> Path:
    """The official layout in a zip file."""
    return write_zip(
        tmp_path / "tiny-imagenet-200.zip",
        {f"tiny-imagenet-200/{name}": data for name, data in tiny_files.items()},
    )


@pytest.fixture
def tiny_folder(tmp_path: Path, tiny_files: dict[str, bytes]) -> Path:
    """The official layout, unpacked."""
    return write_folder(tmp_path / "unpacked" / "tiny-imagenet-200", tiny_files)


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.fixture(scope="session")
def make_zip() -> Callable[[Path, dict[str, bytes]], Path]:
    return write_zip


@pytest.fixture(scope="session")
def make_folder() -> Callable[[Path, dict[str, bytes]], Path]:
    return write_folder
