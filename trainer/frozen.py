"""Stages that stay frozen for a whole run: which they are, and their outputs, computed once.

What such stages put out for an image is the same in every epoch and every run that begins with the
same weights. So it is computed once for each machine and kept (``data.features``), for the images
and for their mirror images, and what is trained is only the rest of the model.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import logging
import math
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tuneoff.retry import Patience
from tuneoff.trainer import fine_tuning, memory
from tuneoff.trainer.contract import Split, Tick
from tuneoff.trainer.data import batches, features, stamped
from tuneoff.trainer.data.batches import Resident
from tuneoff.trainer.data.features import FEATURES, Features, Rows, Stored
from tuneoff.trainer.distributed import Ranks
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.models import factory, resolve, stages
from tuneoff.trainer.recipe import Recipe

log = logging.getLogger(__name__)

# Share of the memory that a GPU has left that the outputs may take.
_SHARE = 0.5
_BATCH = 64  # images that pass through the frozen stages together; between them the caller is told
_PROBE = 4  # images whose input pixels are part of a key


class _AskedToStop(Exception):
    """The caller's tick returned True while outputs were computed or waited for."""


def note(recipe: Recipe, height: int, width: int, shown: int) -> tuple[str, ...]:
    """What people should know about the stages that stay frozen, one line; none without these.

    Args:
        recipe: with every "auto" resolved.
        height: of the images that the model is given, in pixels.
        width: likewise.
        shown: images of training and validation, those twice that are mirrored, too.
    """
    frozen = fine_tuning.frozen_throughout(recipe)
    if not frozen:
        return ()
    names = resolve.entry(recipe.model).stage_names[:frozen]
    these = f"the frozen stages ({names[0]}{f' to {names[-1]}' if frozen > 1 else ''})"
    reason = why_not(recipe)
    if reason:
        return (f"{these} are computed anew in each epoch, because {reason}",)
    size = _size(shown * _output_bytes(recipe.model, frozen, height, width, recipe.precision))
    return (f"the outputs of {these} are computed once and kept for all runs: {size}",)


@functools.lru_cache(maxsize=64)
def _output_bytes(model: str, frozen: int, height: int, width: int, precision: str) -> int:
    """Bytes of the outputs of frozen stages for one image."""
    with torch.device("meta"):
        made = factory.skeleton(Recipe(model=model), 2).eval()
        outputs: Tensor = stages.before(made, model, frozen)(torch.empty(1, 3, height, width))
    return outputs.numel() * (2 if precision == "bf16" else 4)


def why_not(recipe: Recipe) -> str:
    """Why outputs of frozen stages cannot be kept, in words that follow "because"; "" if they
    can."""
    if recipe.cache_features == "off":
        return 'cache_features = "off"'
    if not resolve.entry(recipe.model).stages:
        return f"it is not known what {recipe.model} computes between its modules"
    if recipe.weights == "none":
        return 'each run has its own random weights (weights = "none")'
    if recipe.crop_padding:
        return "crop_padding shows other crops in each epoch"
    if recipe.start_size:
        return "start_size shows images of other sizes in each epoch"
    for name in ("mixup", "cutmix"):
        if getattr(recipe, name):
            return f"{name} makes other images in each batch"
    return ""


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What there is of the outputs of a run's frozen stages.

    Attributes:
        stored: the outputs; None if the run is to compute all stages.
        frozen: how many of the first stages they stand for; 0 without.
        seconds: what this process took to compute them; 0 if they were there.
        asked_to_stop: whether ``tick`` returned True meanwhile.
    """

    stored: Stored | None = None
    frozen: int = 0
    seconds: float = 0.0
    asked_to_stop: bool = False


class KeptOutputs:
    """The outputs of frozen stages on this machine; the last run's stay open for the next."""

    def __init__(self, cache: Path) -> None:
        """
        Args:
            cache: folder for them; shared by any number of processes.
        """
        self._cache = cache
        self._open: tuple[str, Stored] | None = None
        self._failed = ""  # the last key whose outputs could not be kept: it is not tried again

    def of(
        self,
        model: nn.Module,
        recipe: Recipe,
        data: Resident,
        splits: Mapping[Split, NDArray[np.int64]],
        digest: str,
        ranks: Ranks,
        tick: Tick,
    ) -> Kept:
        """The outputs for the training and validation images of a run, computed if need be.

        There are none where no stage stays frozen, or where the recipe shows more than the images
        and their mirror images; nor, with a warning, where the disk has no room for them.

        Args:
            model: at the start of a run, on the CPU.
            recipe: with every "auto" resolved.
            data: the images.
            splits: indices into ``data``.
            digest: of the images.
            ranks: the processes that share the run; either all of them have the outputs or none.
            tick: called now and then while outputs are computed, here or by another process.
        """
        frozen = fine_tuning.frozen_throughout(recipe)
        if not frozen or why_not(recipe):
            return Kept()
        # A copy, because the model itself goes to the device later, in its own layout.
        prefix = copy.deepcopy(stages.before(model, recipe.model, frozen)).eval()
        rows = Rows(splits["train"], splits["validation"], recipe.flip)
        key = _key(prefix, recipe, data, rows, digest)
        if self._open is not None and self._open[0] == key:
            return Kept(self._open[1], frozen)
        self._open = None  # first, because two may not fit on a device together
        computing = _Computing(prefix, data, rows, recipe.precision == "bf16", tick)
        found, asked = None, False
        try:
            if key != self._failed:
                found = self._found(key, computing)
        except _AskedToStop:
            asked = True
        # Of several ranks none goes on alone: all of them have the outputs, and nobody was asked.
        there = torch.tensor([found is not None, asked], dtype=torch.int32, device=data.device)
        have, stopped = ranks.sum(there).tolist()
        if stopped:
            return Kept(seconds=computing.seconds, asked_to_stop=True)
        if have < ranks.world or found is None:
            self._failed = key
            return Kept(seconds=computing.seconds)
        on_gpu = data.device.type == "cuda"
        room = int(_SHARE * memory.free_bytes(data.device)) if on_gpu else 0
        stored = Stored.of(found.on(data.device, room), rows, data.labels)
        self._open = key, stored
        return Kept(stored, frozen, computing.seconds)

    def _found(self, key: str, computing: _Computing) -> Features | None:
        patience = Patience(math.inf, sleep=computing.wait)
        try:
            return stamped.load_or_build(
                FEATURES, self._cache, key, computing.write, patience=patience
            )
        except DataError as error:
            log.warning("%s; until then they are computed anew in each epoch", error)
            return None


class _Computing:
    """Computes the outputs of frozen stages, and tells the caller that the run is alive."""

    def __init__(
        self, prefix: nn.Sequential, data: Resident, rows: Rows, bf16: bool, tick: Tick
    ) -> None:
        self._prefix, self._data, self._rows, self._bf16 = prefix, data, rows, bf16
        self._tick = tick
        self._started: float | None = None
        self._ended: float | None = None

    @property
    def seconds(self) -> float:
        """What it took; 0 if nothing was computed."""
        if self._started is None:
            return 0.0
        return (self._ended or time.perf_counter()) - self._started

    def wait(self, seconds: float) -> None:
        """A pause in waiting for another process that computes them."""
        self._go_on()
        time.sleep(seconds)

    def write(self, folder: Path) -> str:
        """Computes and writes them; see ``stamped.Build``."""
        self._started = time.perf_counter()
        log.info("the frozen stages compute their outputs for %d images", self._rows.count)
        try:
            digest = features.write(folder, self._rows.count, self._outputs(), lambda: self.seconds)
        finally:
            self._ended = time.perf_counter()
        log.info("this took %.1f s, and serves all runs", self.seconds)
        return digest

    def _outputs(self) -> Iterator[Tensor]:
        """The outputs for all rows in order, some at a time."""
        data = self._data
        self._prefix.to(data.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        for images, mirrored in self._rows.parts():
            for start in range(0, len(images), _BATCH):
                pixels, _ = batches.gather(data, images[start : start + _BATCH])
                pixels = pixels.flip(2) if mirrored else pixels
                shown = batches.normalise(pixels, data.image_size, data.how)
                with (
                    torch.inference_mode(),
                    torch.autocast(shown.device.type, torch.bfloat16, enabled=self._bf16),
                ):
                    outputs = self._prefix(shown)
                yield outputs  # outside: until then whoever asked would be in inference mode, too
                self._go_on()

    def _go_on(self) -> None:
        if self._tick():
            raise _AskedToStop


def _key(prefix: nn.Sequential, recipe: Recipe, data: Resident, rows: Rows, digest: str) -> str:
    """Names the outputs of frozen stages by all that they depend on."""
    hashed = hashlib.sha256()
    for name, tensor in prefix.state_dict().items():
        hashed.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        hashed.update(tensor.contiguous().numpy().data)
    # Some images as the first stage sees them: they tell how pixels are scaled and normalised.
    pixels, _ = batches.gather(data, rows.train[:_PROBE])
    hashed.update(
        batches.normalise(pixels, data.image_size, data.how).contiguous().cpu().numpy().data
    )
    for images, mirrored in rows.parts():
        hashed.update(f"{len(images)} {mirrored}\n".encode())
        hashed.update(images.tobytes())
    about = {
        "format": features.FORMAT,
        "model": recipe.model,
        "layers": repr(prefix),
        "padding": recipe.padding,
        "data": digest,
        "precision": recipe.precision,
        # Other versions and processors may round otherwise.
        "torch": torch.__version__,
        "device": _device_name(data.device),
    }
    hashed.update(json.dumps(about, sort_keys=True).encode())
    return f"frozen-{recipe.model}-{hashed.hexdigest()[:32]}"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(1, round(count / 1e6))} MB"
