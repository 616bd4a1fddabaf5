"""The trainer itself: ``contract.Trainer`` on torch and torchvision."""

from __future__ import annotations

import platform
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tuneoff.trainer import checkpoint, ensemble, evaluate, loop, memory
from tuneoff.trainer.capture import Recorder, cuda_graph
from tuneoff.trainer.checkpoint import Checkpoint
from tuneoff.trainer.contract import EpochRecord, Predictions, RunSeed, Scores, Split, Task, Tick
from tuneoff.trainer.data import batches, decode, splits
from tuneoff.trainer.data.batches import Resident
from tuneoff.trainer.data.load import load
from tuneoff.trainer.data.packing import Progress
from tuneoff.trainer.data.registry import DATASETS
from tuneoff.trainer.data.unlabelled import unlabelled
from tuneoff.trainer.distributed import ALONE, Ranks
from tuneoff.trainer.errors import CheckpointError, DataError, ModelError, TrainerError
from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import Affects, DataSource, HyperParams, Recipe, affected
from tuneoff.trainer.registry import VIEWS
from tuneoff.trainer.step_cache import StepCache

# Share of a GPU's free memory that the images may take; the rest is for training.
_DATA_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A data set on the device.

    Attributes:
        data: the images.
        splits: indices into ``data``.
        task: the task that they set a model.
        titles: the classes in words, in label order.
    """

    data: Resident
    splits: Mapping[Split, NDArray[np.int64]]
    task: Task
    titles: tuple[str, ...]


class TorchTrainer:
    """Trains on one device. Images of the last recipe stay in memory between calls.

    Implements ``contract.Trainer``.
    """

    def __init__(
        self,
        device: str = "cpu",
        *,
        cache: Path,
        threads: int | None = None,
        progress: Progress | None = None,
        ranks: Ranks = ALONE,
        record: Recorder | None = None,
    ) -> None:
        """
        Args:
            device: as torch names it: "cpu", "cuda", "cuda:1".
            cache: folder for decoded images; shared by any number of processes.
            threads: CPU threads to compute with, for the whole process; None leaves torch's
                choice. Give each process the cores that it owns and no more.
            progress: called as the images of a new data set are decoded.
            ranks: the processes that share every run.
            record: how steps are captured, to be replayed. Unless given they are captured as CUDA
                graphs on a GPU, and not at all elsewhere.

        Raises:
            TrainerError: there is no such device.
        """
        self._device = _usable_device(device)
        self._cache = cache
        self._progress = progress
        self._ranks = ranks
        if self._device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            record = record or cuda_graph
        self._step_cache = StepCache(record)
        self._prepared: tuple[DataSource, Prepared] | None = None
        self._checked: dict[str, Any] | None = None  # the last recipe's fields that passed
        if threads is not None:
            torch.set_num_threads(threads)

    def describe(self) -> Mapping[str, str]:
        """Device, threads and library versions, for the record."""
        if self._device.type == "cuda":
            name = torch.cuda.get_device_name(self._device)
        else:
            name = str(torch.cpu.get_capabilities().get("cpu_name", platform.machine()))
        return {
            "device": str(self._device),
            "device_name": name,
            "threads": str(torch.get_num_threads()),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": version("torchvision"),
            "jpeg_decoder": decode.decoder_name(),
        }

    def resolve(self, recipe: Recipe) -> Recipe:
        """The recipe with precision "auto" replaced: by bf16 where the device computes in it and
        ``factory.trains_in_bf16`` allows it, else by fp32.

        The proxies gain from bf16 too: on a CPU with avx512_bf16 the smallest trains 1.2 times as
        fast at 8 px and 1.6 times at 32 px, to the same error. The size of a folder's images is not
        known here, so ``check`` looks again.
        """
        if recipe.precision != "auto":
            return recipe
        side = recipe.data.image_size or DATASETS.entry(recipe.data.name).side
        able = _computes_bf16(self._device) and factory.trains_in_bf16(
            recipe.model, side, side, self._device
        )
        return replace(recipe, precision="bf16" if able else "fp32")

    def check(self, recipe: Recipe) -> Task:
        """Prepares the data and verifies model and weights; see ``contract.Trainer.check``."""
        if recipe.batch_size < 2:
            raise ModelError("batch_size = 1 cannot train batch normalisation; use 2 or more")
        prepared = self._prepare(recipe.data)
        height, width = _input_size(recipe, prepared.data)
        # Of ``layer_decay`` it is the layers that have to be there; their factors are all right.
        checked = affected(recipe, Affects.FIT) | {"layer_decay": sorted(recipe.layer_decay)}
        if checked != self._checked:
            factory.check(recipe, height, width, prepared.titles)
            if recipe.crop_padding >= min(prepared.data.images.shape[1:3]):
                raise ModelError(
                    f"crop_padding = {recipe.crop_padding} is not smaller than the stored images; "
                    "set it to an eighth of their side"
                )
            if recipe.start_size > max(height, width):
                raise ModelError(
                    f"start_size = {recipe.start_size} is larger than the images of {width} x "
                    f"{height} pixels; set it lower, or set image_size"
                )
            self._checked = checked
        bf16 = self.resolve(recipe).precision == "bf16"
        if bf16 and not factory.trains_in_bf16(recipe.model, height, width, self._device):
            raise ModelError(
                f"{recipe.model} on {width} x {height} pixels cannot train in bf16 on the CPU, "
                'where PyTorch miscomputes it; set precision = "fp32" or image_size = 32'
            )
        return prepared.task

    def train(
        self, recipe: Recipe, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        """One run, epoch by epoch; see ``contract.Trainer.train``."""
        self.check(recipe)
        prepared = self._prepare(recipe.data)
        job = loop.Job(
            recipe=self.resolve(recipe),
            params=params,
            seed=seed,
            data=prepared.data,
            splits=prepared.splits,
            classes=prepared.task.classes,
            titles=prepared.titles,
            run={
                **_trained(recipe),
                "data": prepared.task.digest,
                "params": asdict(params),
                "seed": asdict(seed),
            },
            checkpoints=checkpoints,
            ranks=self._ranks,
            step_cache=self._step_cache,
        )
        try:
            yield from loop.train(job, tick)
        except torch.OutOfMemoryError as error:
            # Not a ModelError, with which a worker gives up: where the batch size is searched, it
            # may be too large in this trial only.
            raise TrainerError(
                f"{recipe.model} with batch_size = {recipe.batch_size} does not fit into the "
                f"memory of {self._device}; {self._advice(recipe, prepared)}"
            ) from error

    def largest_batch(
        self, recipe: Recipe, classes: int, height: int, width: int, kept: int | None = None
    ) -> int:
        """The largest ``batch_size`` that fits into the memory that is free now; 0 if none does.

        Args:
            recipe: its fields that affect ``Affects.MEMORY`` count.
            classes: outputs of the model.
            height: of the images that the model sees, in pixels.
            width: likewise.
            kept: see ``memory.free_bytes``.
        """
        traced = memory.footprint(self.resolve(recipe), classes, height, width)
        return traced.largest_batch(memory.free_bytes(self._device, kept))

    def newest(self, checkpoints: Path) -> Path | None:
        """The newest checkpoint's file; see ``contract.Trainer.newest``."""
        return checkpoint.newest(checkpoints)

    def evaluate(self, recipe: Recipe, checkpoints: Path, split: Split) -> Scores:
        """The newest checkpointed model's outputs on a split; see ``contract.Trainer.evaluate``."""
        prepared = self._prepare(recipe.data)
        chosen = prepared.splits[split]
        if not len(chosen):
            raise DataError(f"{recipe.data.path or recipe.data.name} has no {split} images")
        saved = _saved(checkpoints, {**_trained(recipe), "data": prepared.task.digest})
        model = self._restore(recipe, saved)
        bf16 = self.resolve(recipe).precision == "bf16"
        return evaluate.score(model, prepared.data, chosen, bf16, VIEWS.load(recipe.test_view))

    def predict(self, recipe: Recipe, checkpoints: Path, images: Path) -> Predictions:
        """The newest model's outputs on images without labels; see ``contract.Trainer.predict``."""
        found = unlabelled(images)
        saved = _saved(checkpoints, _trained(recipe))
        model = self._restore(recipe, saved)
        bf16 = self.resolve(recipe).precision == "bf16"
        height, width = saved.about["size"]
        outputs: list[NDArray[np.float32]] = []
        waiting: list[decode.Pixels] = []

        def flush() -> None:
            pixels = torch.from_numpy(np.stack(waiting)).to(self._device)
            view = VIEWS.load(recipe.test_view)
            logits = evaluate.forward(model, pixels, recipe.data.image_size, bf16, view)
            outputs.append(logits.cpu().numpy())
            waiting.clear()

        for image in found.images():
            waiting.append(decode.fit(image, height, width))
            if len(waiting) == evaluate.BATCH:
                flush()
        if waiting:
            flush()
        return Predictions(found.names, np.concatenate(outputs), tuple(saved.about["classes"]))

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores]
    ) -> tuple[Scores, tuple[float, ...]]:
        """The ensemble's scores and weights; see ``ensemble.combine``."""
        return ensemble.combine(how, validation, test)

    def _prepare(self, source: DataSource) -> Prepared:
        if self._prepared and self._prepared[0] == source:
            return self._prepared[1]
        pack = load(source, self._cache, self._progress)
        chosen = splits.split(pack, source)
        task = splits.describe(pack, source)
        # Drop the last data first: two data sets may not fit on the device together.
        self._prepared = None
        on_gpu = self._device.type == "cuda"
        room = int(_DATA_SHARE * memory.free_bytes(self._device)) if on_gpu else None
        data = batches.resident(pack, source.image_size, self._device, room)
        self._prepared = (source, Prepared(data, chosen, task, pack.titles))
        return self._prepared[1]

    def _advice(self, recipe: Recipe, prepared: Prepared) -> str:
        """What to do about a recipe for which the memory did not suffice."""
        data = prepared.data
        tensors = (data.images, data.labels)
        kept = sum(tensor.nbytes for tensor in tensors if tensor.device == data.device)
        classes = len(prepared.task.classes)
        largest = self.largest_batch(recipe, classes, *_input_size(recipe, data), kept)
        if largest >= recipe.batch_size:
            # Another program used memory and has freed it, or a library took more than we allow.
            return "use smaller batches, set halve_on_oom = true, or run fewer processes there"
        if largest < 2:
            return "no batch fits: use a smaller model or image_size, or free some memory"
        return (
            f"batches of at most {largest} fit: set batch_size = {largest}, or halve_on_oom = true"
        )

    def _restore(self, recipe: Recipe, saved: Checkpoint) -> nn.Module:
        bare = replace(recipe, weights="none", head="new")
        model = factory.build(bare, len(saved.about["classes"]), seed=0)
        model.load_state_dict(saved.average or saved.model)
        model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model


def _input_size(recipe: Recipe, data: Resident) -> tuple[int, int]:
    """(height, width) in pixels of the images that the model is given."""
    side = recipe.data.image_size
    return (side, side) if side else (data.images.shape[1], data.images.shape[2])


def _trained(recipe: Recipe) -> dict[str, Any]:
    """The part of ``Checkpoint.run`` that comes from the recipe."""
    return {"recipe": affected(recipe, Affects.RESULT)}


def _saved(checkpoints: Path, run: Mapping[str, Any]) -> Checkpoint:
    found = checkpoint.load_newest(checkpoints, run)
    if found is None:
        raise CheckpointError(
            f"{checkpoints} has no good checkpoint of this recipe; train it first"
        )
    return found


def _usable_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TrainerError(f"device {name!r} cannot be used here; try cpu") from error
    return device


def _computes_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False
