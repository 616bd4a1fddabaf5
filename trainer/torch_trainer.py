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

from tuneoff.trainer import (
    checkpoint,
    ensemble,
    evaluate,
    frozen,
    loop,
    losses,
    measures,
    memory,
    optim,
)
from tuneoff.trainer.affects import Affects, affected, identity
from tuneoff.trainer.capture import Recorder, cuda_graph
from tuneoff.trainer.checkpoint import Checkpoint
from tuneoff.trainer.contract import (
    TOP_1,
    EpochRecord,
    Judge,
    Predictions,
    RunSeed,
    Scores,
    Split,
    Task,
    Tick,
)
from tuneoff.trainer.data import batches, decode, splits
from tuneoff.trainer.data import registry as data_sets
from tuneoff.trainer.data.batches import Resident
from tuneoff.trainer.data.load import load
from tuneoff.trainer.data.packing import Progress
from tuneoff.trainer.data.unlabelled import unlabelled
from tuneoff.trainer.devices import computes_bf16, usable
from tuneoff.trainer.distributed import ALONE, Ranks
from tuneoff.trainer.errors import CheckpointError, DataError, ModelError, TrainerError
from tuneoff.trainer.frozen import KeptOutputs
from tuneoff.trainer.models import factory, weights
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
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
    splits: dict[Split, NDArray[np.int64]]
    task: Task
    titles: tuple[str, ...]

    def labels(self, part: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.int64]:
        """The labels of some images, of all by default."""
        return self.data.labels.cpu().numpy()[part]


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
        self._device = usable(device)
        self._cache = cache
        self._progress = progress
        self._ranks = ranks
        if self._device.type == "cuda":
            torch.backends.cudnn.benchmark = True
            record = record or cuda_graph
        self._step_cache = StepCache(record)
        self._kept_outputs = KeptOutputs(cache)
        self._prepared: tuple[DataSource, Prepared] | None = None
        # The last recipe's fields that passed, what is to be known about its weights, and the value
        # of guessing.
        self._checked: tuple[dict[str, Any], tuple[str, ...], float | None] | None = None
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
        side = recipe.data.image_size or data_sets.entry(recipe.data.name).side
        able = computes_bf16(self._device) and factory.trains_in_bf16(
            recipe.model, side, side, self._device
        )
        return replace(recipe, precision="bf16" if able else "fp32")

    def check(self, recipe: Recipe) -> Task:
        """Prepares the data and verifies model and weights; see ``contract.Trainer.check``."""
        prepared = self._prepare(recipe.data)
        height, width = _input_size(recipe, prepared.data)
        # Of ``layer_decay`` it is the layers that have to be there; their factors are all right.
        checked = affected(recipe, Affects.FIT) | {"layer_decay": sorted(recipe.layer_decay)}
        del checked["batch_size"]  # which is compared with the number of images below
        if self._checked is None or self._checked[0] != checked:
            notes = factory.check(recipe, height, width, prepared.titles)
            notes += optim.check_optimizer(recipe)
            losses.check_loss(recipe, len(prepared.titles))
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
            labels = {name: prepared.labels(part) for name, part in prepared.splits.items()}
            chance = measures.check(recipe, prepared.task.classes, labels)
            self._checked = (checked, notes, chance)
        resolved = self.resolve(recipe)
        bf16 = resolved.precision == "bf16"
        if bf16 and not factory.trains_in_bf16(recipe.model, height, width, self._device):
            raise ModelError(
                f"{recipe.model} on {width} x {height} pixels cannot train in bf16 on the CPU, "
                'where PyTorch miscomputes it; set precision = "fp32" or image_size = 32'
            )
        train = len(_train_images(prepared, recipe))
        shown = train * (1 + recipe.flip) + len(prepared.splits["validation"])
        notes = self._checked[1] + frozen.note(resolved, height, width, shown)
        return _noted(prepared.task, recipe, train, notes, self._checked[2])

    def train(
        self, recipe: Recipe, params: HyperParams, seed: RunSeed, checkpoints: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        """One run, epoch by epoch; see ``contract.Trainer.train``."""
        self.check(recipe)
        prepared = self._prepare(recipe.data)
        settled = weights.settle(self.resolve(recipe))
        job = loop.Job(
            recipe=settled,
            params=params,
            seed=seed,
            data=replace(prepared.data, how=settled.normalise),
            splits=prepared.splits | {"train": _train_images(prepared, recipe)},
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
            kept_outputs=self._kept_outputs,
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
        saved = _saved(checkpoints, recipe, data=prepared.task.digest)
        model = self._restore(recipe, saved)
        bf16 = self.resolve(recipe).precision == "bf16"
        data = replace(prepared.data, how=_as_trained(recipe, saved).normalise)
        return evaluate.score(model, data, chosen, bf16, VIEWS.load(recipe.test_view))

    def predict(self, recipe: Recipe, checkpoints: Path, images: Path) -> Predictions:
        """The newest model's outputs on images without labels; see ``contract.Trainer.predict``."""
        found = unlabelled(images)
        saved = _saved(checkpoints, recipe)
        model = self._restore(recipe, saved)
        bf16 = self.resolve(recipe).precision == "bf16"
        height, width = saved.about["size"]
        how = _as_trained(recipe, saved).normalise
        outputs: list[NDArray[np.float32]] = []
        waiting: list[decode.Pixels] = []

        def flush() -> None:
            pixels = torch.from_numpy(np.stack(waiting)).to(self._device)
            view = VIEWS.load(recipe.test_view)
            logits = evaluate.forward(model, pixels, recipe.data.image_size, bf16, view, how)
            outputs.append(logits.cpu().numpy())
            waiting.clear()

        for image in found.images(height, width):
            waiting.append(image)
            if len(waiting) == evaluate.BATCH:
                flush()
        if waiting:
            flush()
        return Predictions(found.names, np.concatenate(outputs), tuple(saved.about["classes"]))

    def combine(
        self, how: str, validation: Sequence[Scores], test: Sequence[Scores], judge: Judge = TOP_1
    ) -> tuple[Scores, tuple[float, ...]]:
        """The ensemble's scores and weights; see ``ensemble.combine``."""
        return ensemble.combine(how, validation, test, judge)

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
        bare = replace(_as_trained(recipe, saved), weights="none", head="new")
        model = factory.build(bare, len(saved.about["classes"]), seed=0)
        model.load_state_dict(saved.average or saved.model)
        model.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model


def _input_size(recipe: Recipe, data: Resident) -> tuple[int, int]:
    """(height, width) in pixels of the images that the model is given."""
    side = recipe.data.image_size
    return (side, side) if side else (data.images.shape[1], data.images.shape[2])


def _train_images(prepared: Prepared, recipe: Recipe) -> NDArray[np.int64]:
    """Indices of the images that a recipe trains on; DataError as ``splits.part``."""
    train = prepared.splits["train"]
    return splits.part(prepared.labels(), train, recipe.images, recipe.data.split_seed)


def _noted(
    task: Task, recipe: Recipe, images: int, notes: tuple[str, ...], chance: float | None
) -> Task:
    """The task with what is to be known about a recipe that trains on so many images."""
    if recipe.batch_size > images:
        notes = (
            *notes,
            f"batch_size = {recipe.batch_size:,} is more than the {images:,} training images: "
            "each epoch is a single step",
        )
    return replace(task, notes=(*task.notes, *notes), chance=chance)


def _trained(recipe: Recipe) -> dict[str, Any]:
    """The part of ``Checkpoint.run`` that comes from the recipe."""
    return {"recipe": identity(recipe)}


def _as_trained(recipe: Recipe, saved: Checkpoint) -> Recipe:
    """The recipe with the normalisation and the padding with which a checkpoint was trained, so
    that the file of its first weights is not needed. Before there was a choice they were these."""
    return replace(
        recipe,
        normalise=saved.about.get("normalise", "imagenet"),
        padding=saved.about.get("padding", "symmetric"),
    )


def _saved(checkpoints: Path, recipe: Recipe, **run: Any) -> Checkpoint:
    """The checkpoint of a run's last epoch: an earlier one is of another model."""
    found = checkpoint.load_newest(checkpoints, {**_trained(recipe), **run})
    if found is None or found.epoch < recipe.epochs:
        raise CheckpointError(
            f"{checkpoints} has no good checkpoint of epoch {recipe.epochs} of this recipe; train "
            "it to its end first, or put the folder back from a copy"
        )
    return found
