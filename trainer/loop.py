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
from torch import nn

from tuneoff import references
from tuneoff.trainer import checkpoint, evaluate, fine_tuning, schedules, seeding
from tuneoff.trainer.checkpoint import Checkpoint
from tuneoff.trainer.contract import EpochRecord, RunSeed, Scores, Split, Tick, measured
from tuneoff.trainer.data import augment, batches
from tuneoff.trainer.data.batches import Epoch, Resident
from tuneoff.trainer.distributed import Ranks
from tuneoff.trainer.errors import Diverged, Interrupted, OwnCodeError
from tuneoff.trainer.frozen import KeptOutputs
from tuneoff.trainer.models import factory
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.step_cache import StepCache

log = logging.getLogger(__name__)

# Batches from one look at the loss to the next. To read it the CPU has to wait for the GPU, which
# then runs out of work; on the CPU there is nothing to wait for.
_LOOK_EVERY = {"cpu": 1}
_LOOK_EVERY_ELSEWHERE = 50

# What rank 0 decides after a batch.
_GO_ON, _STOP, _DIVERGED = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Everything that a run needs.

    Attributes:
        recipe: with every "auto" resolved.
        params: the optimiser's numbers.
        seed: of initialisation, order and augmentation.
        data: the images, on the device to train on.
        splits: indices into ``data``.
        classes: names of the classes.
        titles: the classes in words.
        run: identifies this run; checkpoints of other runs are not used.
        checkpoints: folder of this run's checkpoints.
        ranks: the processes that share the run.
        step_cache: has the captured step of the run before, and keeps this run's for the next.
        kept_outputs: those of stages that stay frozen.
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
    step_cache: StepCache
    kept_outputs: KeptOutputs


def train(job: Job, tick: Tick) -> Generator[EpochRecord, None, None]:
    """Trains from the newest good checkpoint, or from the start; see ``contract.Trainer.train``.

    Raises:
        Diverged, Interrupted, CheckpointError, ModelError: as the contract says.
        torch.OutOfMemoryError: memory does not suffice, and ``recipe.halve_on_oom`` is off or
            cannot divide the batches any further.
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
            accumulation = 2 * max(accumulation, _saved_accumulation(job))
            parts = math.ceil(job.recipe.batch_size / accumulation)
            if not job.recipe.halve_on_oom or job.ranks.world > 1 or parts < 2:
                raise
        # Here the error, whose traceback refers to the model, is gone and memory can be freed.
        log.warning("out of memory: each batch is now divided into parts of %d images", parts)
        if job.data.device.type == "cuda":
            torch.cuda.empty_cache()


def _saved_accumulation(job: Job) -> int:
    saved = checkpoint.load_newest(job.checkpoints, job.run)
    return saved.accumulation if saved else 1


def _run(job: Job, tick: Tick, accumulation: int) -> Generator[EpochRecord, None, None]:
    recipe, params, seed, ranks = job.recipe, job.params, job.seed, job.ranks
    saved = ranks.share(lambda: checkpoint.load_newest(job.checkpoints, job.run))
    records = [EpochRecord(**record) for record in saved.records] if saved else []
    yield from (replace(record, replayed=True) for record in records)
    if len(records) == recipe.epochs:
        return

    accumulation = max(accumulation, saved.accumulation if saved else 1)
    device, bf16 = job.data.device, recipe.precision == "bf16"
    model = factory.build(recipe, len(job.classes), seeding.torch_seed(seed, "init"), job.titles)
    kept = job.kept_outputs.of(model, recipe, job.data, job.splits, job.run["data"], ranks, tick)
    stored = kept.stored
    blank = partial(batches.blank, job.data, recipe.batch_size)
    if stored:
        blank = partial(stored.blank, recipe.batch_size)
    stepper = job.step_cache.stepper(
        model, recipe, params, accumulation, ranks, device, blank, kept.frozen
    )
    # Models that are not ours may draw at random in other ways, as stochastic depth does.
    drops = any(isinstance(module, nn.Dropout) for module in stepper.model.modules())
    drops = drops or references.is_reference(recipe.model)
    schedule = schedules.ScheduleState()
    if saved:
        stepper.load(saved)
        schedule = schedules.ScheduleState.from_dict(saved.schedule)

    train_images = job.splits["train"]
    count = len(train_images)
    steps = batches.count(count, recipe.batch_size)
    look_every = _LOOK_EVERY.get(device.type, _LOOK_EVERY_ELSEWHERE)
    before = saved.loss_sum if saved and ranks.leads else 0.0
    loss_sum = torch.tensor(before, dtype=torch.float64, device=device)
    seen, batch, spent = (saved.images_seen, saved.batch, saved.seconds) if saved else (0, 0, 0.0)
    spent += kept.seconds  # whoever computes the outputs of frozen stages has that in its epoch
    started = time.perf_counter()
    del saved  # its tensors, twice or three times the model's, would stay as long as the run

    def save() -> None:
        total = float(ranks.sum(loss_sum.clone()))
        if ranks.leads:
            state = Checkpoint(
                run=job.run,
                about={
                    "classes": job.classes,
                    "size": tuple(job.data.images.shape[1:3]),
                    "normalise": recipe.normalise,
                    "padding": recipe.padding,
                },
                model=stepper.model.state_dict(),
                average=stepper.average.model.state_dict() if stepper.average else None,
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

    if kept.asked_to_stop:
        tick()
        save()
        raise Interrupted(len(records))

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
        stepper.freeze(fine_tuning.frozen_in(recipe, epoch))
        asked_to_stop = False
        for images, labels in (
            stored.training_batches(shown, recipe.batch_size, start=batch)
            if stored
            else batches.training_batches(job.data, shown, recipe.batch_size, start=batch)
        ):
            step = (epoch - 1) * steps + batch
            images, targets = augment.mix(images, labels, recipe, seed, epoch, batch)
            if drops:  # so that a run that is resumed here drops what it would have dropped
                _reseed(seeding.dropout(seed, step, ranks.rank), device)
            loss_sum += stepper.step(
                images[ranks.shard],
                targets[ranks.shard],
                whole=len(labels),
                rate=schedules.rate(recipe, params, schedule, step, steps),
                number=step,
            )
            seen += len(labels)
            batch += 1
            asked_to_stop = tick() or asked_to_stop
            verdict = _STOP if asked_to_stop else _GO_ON
            looks = batch % look_every == 0
            if looks and not math.isfinite(loss_sum):
                verdict = _DIVERGED
            if ranks.world > 1:  # all ranks must stop after the same batch
                verdict = ranks.decide(verdict) if looks else _GO_ON
            if verdict == _DIVERGED:
                raise Diverged(epoch, spent + time.perf_counter() - started)
            if verdict == _STOP:
                tick()
                save()
                raise Interrupted(len(records))

        # Between batches of validation ``tick`` is only told that the run is alive. If it returns
        # True it does so again after validation, where the run can stop.
        validation = job.splits["validation"]
        if stored:
            scores = evaluate.score_stored(
                stepper.evaluated_part, stored, validation, bf16, between=tick, ranks=ranks
            )
        else:
            scores = evaluate.score(
                stepper.evaluated, job.data, validation, bf16, between=tick, ranks=ranks
            )
        train_loss = float(ranks.sum(loss_sum.clone())) / seen
        validation_loss = evaluate.cross_entropy(scores)
        if not (math.isfinite(train_loss) and math.isfinite(validation_loss)):
            raise Diverged(epoch, spent + time.perf_counter() - started)
        record = EpochRecord(
            epoch=epoch,
            train_loss=train_loss,
            validation_loss=validation_loss,
            validation_error=_measured(recipe, scores, ranks),
            lr=schedules.rate(recipe, params, schedule, epoch * steps - 1, steps),
            seconds=spent + time.perf_counter() - started,
            accumulation=accumulation,
        )
        records.append(record)
        schedule = schedules.after_epoch(recipe, schedule, epoch, record.validation_error)
        loss_sum.zero_()
        seen, batch, spent = 0, 0, 0.0
        stop = ranks.decide(tick())
        started = time.perf_counter()
        save()
        if stop:
            raise Interrupted(epoch)
        yield record


def _measured(recipe: Recipe, scores: Scores, ranks: Ranks) -> float:
    """What the scores come to on rank 0, on which all ranks' learning rates may depend.

    Raises:
        OwnCodeError: the metric is a user's own and failed, on every rank.
    """

    def made() -> float | str:
        try:
            return measured(recipe, scores)
        except OwnCodeError as error:
            return str(error)

    if ranks.world == 1 or not references.is_reference(recipe.metric):
        return measured(recipe, scores)
    found = ranks.share(made)
    if isinstance(found, str):
        raise OwnCodeError(found)
    return float(found)


def _reseed(seed: int, device: torch.device) -> None:
    """Seeds the generators from which a device draws."""
    if device.type == "cpu":
        # torch.manual_seed would also note, with a traceback, what is to be done on GPUs later.
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
