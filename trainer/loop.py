"""One training run, from top to bottom: a generator of epoch records."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer import checkpoint, evaluate, models, optim, seeding
from trainer.checkpoint import Checkpoint
from trainer.contract import EpochRecord, HyperParams, Recipe, RunSeed, Split, Tick
from trainer.data import batches
from trainer.data.batches import Resident
from trainer.errors import Diverged, Interrupted

# Looking at the loss makes a GPU wait for it; on the CPU it costs nothing.
_LOOK_EVERY = {"cpu": 1}
_LOOK_EVERY_ELSEWHERE = 50


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """All that a run needs.

    Attributes:
        recipe: with every "auto" resolved.
        params: the optimiser's numbers.
        seed: of initialisation, order and flips.
        data: the images, on the device to train on.
        splits: indices into ``data``.
        classes: names of the classes.
        run: names this run; checkpoints of another are passed over.
        checkpoints: folder of this run's checkpoints.
    """

    recipe: Recipe
    params: HyperParams
    seed: RunSeed
    data: Resident
    splits: Mapping[Split, NDArray[np.int64]]
    classes: tuple[str, ...]
    run: Mapping[str, Any]
    checkpoints: Path


def train(job: Job, tick: Tick) -> Generator[EpochRecord, None, None]:
    """Trains from the newest good checkpoint, or from the start; see ``contract.Trainer.train``.

    Raises:
        Diverged, Interrupted, CheckpointError, ModelError: as the contract says.
    """
    recipe, params, seed = job.recipe, job.params, job.seed
    saved = checkpoint.load_newest(job.checkpoints, job.run)
    records = [EpochRecord(**record) for record in saved.records] if saved else []
    yield from (replace(record, replayed=True) for record in records)
    if len(records) == recipe.epochs:
        return

    device = job.data.images.device
    model = models.build(recipe, len(job.classes), seeding.torch_seed(seed, "init"))
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = optim.sgd(model, params)
    schedule = optim.ScheduleState()
    if saved:
        model.load_state_dict(saved.model)
        optimizer.load_state_dict(dict(saved.optimizer))
        schedule = optim.ScheduleState.from_dict(saved.schedule)

    train_images = job.splits["train"]
    steps = batches.count(len(train_images), recipe.batch_size)
    look_every = _LOOK_EVERY.get(device.type, _LOOK_EVERY_ELSEWHERE)
    loss_sum = torch.tensor(saved.loss_sum if saved else 0.0, dtype=torch.float64, device=device)
    seen, batch, spent = (saved.images_seen, saved.batch, saved.seconds) if saved else (0, 0, 0.0)

    def save() -> None:
        state = Checkpoint(
            run=job.run,
            about={"classes": job.classes, "size": tuple(job.data.images.shape[1:3])},
            model=model.state_dict(),
            optimizer=optimizer.state_dict(),
            schedule=schedule.to_dict(),
            epoch=len(records),
            batch=batch,
            loss_sum=float(loss_sum),
            images_seen=seen,
            seconds=spent + time.perf_counter() - started,
            records=[asdict(record) for record in records],
        )
        checkpoint.save(job.checkpoints, state)

    for epoch in range(len(records) + 1, recipe.epochs + 1):
        started = time.perf_counter()
        order = train_images[seeding.order(seed, epoch, len(train_images))]
        flips = seeding.flips(seed, epoch, len(train_images)) if recipe.flip else None
        model.train()
        for images, labels in batches.training_batches(
            job.data, order, flips, recipe.batch_size, start=batch
        ):
            step = (epoch - 1) * steps + batch
            optim.set_rate(optimizer, optim.rate(recipe, params, schedule, step, steps))
            loss_sum += _step(model, optimizer, images, labels, recipe.precision == "bf16")
            seen += len(labels)
            batch += 1
            if batch % look_every == 0 and not math.isfinite(loss_sum):
                raise Diverged(epoch)
            if tick():
                tick()
                save()
                raise Interrupted(len(records))

        # As a sign of life: the wish to stop is heard below.
        scores = evaluate.score(
            model, job.data, job.splits["validation"], recipe.precision == "bf16", between=tick
        )
        record = EpochRecord(
            epoch=epoch,
            train_loss=float(loss_sum) / seen,
            validation_loss=evaluate.cross_entropy(scores),
            validation_error=scores.error,
            lr=optim.rate(recipe, params, schedule, epoch * steps - 1, steps),
            seconds=spent + time.perf_counter() - started,
        )
        if not (math.isfinite(record.train_loss) and math.isfinite(record.validation_loss)):
            raise Diverged(epoch)
        records.append(record)
        schedule = optim.after_epoch(recipe, schedule, epoch, record.validation_error)
        loss_sum.zero_()
        seen, batch, spent = 0, 0, 0.0
        stop = tick()
        started = time.perf_counter()
        save()
        if stop:
            raise Interrupted(epoch)
        yield record


def _step(
    model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, bf16: bool
) -> Tensor:
    """One optimiser step; returns the batch's summed cross entropy, nats, float64."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
        outputs = model(images)
    loss = nn.functional.cross_entropy(outputs.float(), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach().double() * len(labels)
