"""One training run, from top to bottom: a generator of epoch records."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tuneoff.trainer import checkpoint, evaluate, models, optim, seeding
from tuneoff.trainer.checkpoint import Checkpoint
from tuneoff.trainer.contract import EpochRecord, RunSeed, Split, Tick
from tuneoff.trainer.data import augment, batches
from tuneoff.trainer.data.batches import Epoch, Resident
from tuneoff.trainer.distributed import Ranks
from tuneoff.trainer.errors import Diverged, Interrupted
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.step_cache import Warm

log = logging.getLogger(__name__)

# Looking at the loss makes a GPU wait for it; on the CPU it costs nothing.
_LOOK_EVERY = {"cpu": 1}
_LOOK_EVERY_ELSEWHERE = 50

# What rank 0 makes of a batch.
_GO_ON, _STOP, _DIVERGED = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """All that a run needs.

    Attributes:
        recipe: with every "auto" resolved.
        params: the optimiser's numbers.
        seed: of initialisation, order and augmentation.
        data: the images, on the device to train on.
        splits: indices into ``data``.
        classes: names of the classes.
        titles: the classes in words.
        run: names this run; checkpoints of another are passed over.
        checkpoints: folder of this run's checkpoints.
        ranks: the processes that share the run.
        warm: steppers of runs before, for as long as there are runs.
    """

    recipe: Recipe
    params: HyperParams
    seed: RunSeed
    data: Resident
    splits: Mapping[Split, NDArray[np.int64]]
    classes: tuple[str, ...]
    titles: tuple[str, ...]
    run: Mapping[str, Any]
    checkpoints: Path
    ranks: Ranks
    warm: Warm


def train(job: Job, tick: Tick) -> Generator[EpochRecord, None, None]:
    """Trains from the newest good checkpoint, or from the start; see ``contract.Trainer.train``.

    Raises:
        Diverged, Interrupted, CheckpointError, ModelError: as the contract says.
        torch.OutOfMemoryError: memory does not suffice, and the recipe does not say to halve.
    """
    accumulation, given = job.recipe.accumulation, 0
    while True:
        try:
            for record in _run(job, tick, accumulation):
                if record.epoch > given:
                    given = record.epoch
                    yield record
            return
        except torch.OutOfMemoryError:
            saved = checkpoint.load_newest(job.checkpoints, job.run)
            accumulation = 2 * max(accumulation, saved.accumulation if saved else 1)
            parts = math.ceil(job.recipe.batch_size / accumulation)
            if not job.recipe.halve_on_oom or job.ranks.world > 1 or parts < 2:
                raise
        # Outside of the handler, whose traceback holds the model.
        log.warning("out of memory: going on with parts of %d images of each batch", parts)
        if job.data.device.type == "cuda":
            torch.cuda.empty_cache()


def _run(job: Job, tick: Tick, accumulation: int) -> Generator[EpochRecord, None, None]:
    recipe, params, seed, ranks = job.recipe, job.params, job.seed, job.ranks
    saved = ranks.share(lambda: checkpoint.load_newest(job.checkpoints, job.run))
    records = [EpochRecord(**record) for record in saved.records] if saved else []
    yield from (replace(record, replayed=True) for record in records)
    if len(records) == recipe.epochs:
        return

    accumulation = max(accumulation, saved.accumulation if saved else 1)
    device, bf16 = job.data.device, recipe.precision == "bf16"
    model = models.build(recipe, len(job.classes), seeding.torch_seed(seed, "init"), job.titles)
    blank = partial(batches.blank, job.data, recipe.batch_size)
    stepper = job.warm.stepper(model, recipe, params, accumulation, ranks, device, blank)
    schedule = optim.ScheduleState()
    if saved:
        stepper.load(saved)
        schedule = optim.ScheduleState.from_dict(saved.schedule)

    train_images = job.splits["train"]
    count = len(train_images)
    steps = batches.count(count, recipe.batch_size)
    look_every = _LOOK_EVERY.get(device.type, _LOOK_EVERY_ELSEWHERE)
    before = saved.loss_sum if saved and ranks.leads else 0.0
    loss_sum = torch.tensor(before, dtype=torch.float64, device=device)
    seen, batch, spent = (saved.images_seen, saved.batch, saved.seconds) if saved else (0, 0, 0.0)

    def save() -> None:
        total = float(ranks.sum(loss_sum.clone()))
        if ranks.leads:
            state = Checkpoint(
                run=job.run,
                about={"classes": job.classes, "size": tuple(job.data.images.shape[1:3])},
                model=stepper.model.state_dict(),
                average=None if stepper.average is None else stepper.average.state_dict(),
                optimizer=stepper.optimizer.state_dict(),
                schedule=schedule.to_dict(),
                accumulation=accumulation,
                epoch=len(records),
                batch=batch,
                loss_sum=total,
                images_seen=seen,
                seconds=spent + time.perf_counter() - started,
                records=[asdict(record) for record in records],
            )
            checkpoint.save(job.checkpoints, state)

    for epoch in range(len(records) + 1, recipe.epochs + 1):
        started = time.perf_counter()
        shown = Epoch(
            order=train_images[seeding.order(seed, epoch, count)],
            flips=seeding.flips(seed, epoch, count) if recipe.flip else None,
            crops=augment.crop_offsets(seed, epoch, count, recipe.crop_padding)
            if recipe.crop_padding
            else None,
            padding=recipe.crop_padding,
            side=batches.side(recipe, epoch, job.data),
        )
        stepper.freeze(epoch <= recipe.frozen_epochs)
        wish = False
        for images, labels in batches.training_batches(
            job.data, shown, recipe.batch_size, start=batch
        ):
            step = (epoch - 1) * steps + batch
            images, targets = augment.mix(images, labels, recipe, seed, epoch, batch)
            loss_sum += stepper.step(
                images[ranks.part],
                targets[ranks.part],
                whole=len(labels),
                rate=optim.rate(recipe, params, schedule, step, steps),
                number=step,
            )
            seen += len(labels)
            batch += 1
            wish = tick() or wish
            verdict = _STOP if wish else _GO_ON
            looks = batch % look_every == 0
            if looks and not math.isfinite(loss_sum):
                verdict = _DIVERGED
            if ranks.world > 1:  # all ranks must come to the same verdict, after the same batch
                verdict = ranks.decide(verdict) if looks else _GO_ON
            if verdict == _DIVERGED:
                raise Diverged(epoch)
            if verdict == _STOP:
                tick()
                save()
                raise Interrupted(len(records))

        # As a sign of life: the wish to stop is heard below.
        scores = evaluate.score(
            stepper.judged, job.data, job.splits["validation"], bf16, between=tick, ranks=ranks
        )
        record = EpochRecord(
            epoch=epoch,
            train_loss=float(ranks.sum(loss_sum.clone())) / seen,
            validation_loss=evaluate.cross_entropy(scores),
            validation_error=scores.error,
            lr=optim.rate(recipe, params, schedule, epoch * steps - 1, steps),
            seconds=spent + time.perf_counter() - started,
            accumulation=accumulation,
        )
        if not (math.isfinite(record.train_loss) and math.isfinite(record.validation_loss)):
            raise Diverged(epoch)
        records.append(record)
        schedule = optim.after_epoch(recipe, schedule, epoch, record.validation_error)
        loss_sum.zero_()
        seen, batch, spent = 0, 0, 0.0
        stop = ranks.decide(tick())
        started = time.perf_counter()
        save()
        if stop:
            raise Interrupted(epoch)
        yield record
