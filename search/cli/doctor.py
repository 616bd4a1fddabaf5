"""What works on this machine and what to fix: `tuneoff doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuneoff.retry import Patience
from tuneoff.search.cli.storage import open_storage
from tuneoff.search.errors import (
    ArtifactError,
    ArtifactOutage,
    SpecError,
    StorageError,
    StorageOutage,
)
from tuneoff.search.store.artifacts import open_artifacts
from tuneoff.search.store.dialects import is_yet_to_be_made, parse_url
from tuneoff.search.store.shown import shown
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.table import names as study_names
from tuneoff.trainer.recipe import DataSource, Recipe

if TYPE_CHECKING:
    from tuneoff.trainer.torch_trainer import TorchTrainer

LOW_DISK_GIB = 5.0
LEAST_BATCH = 2  # batch normalisation cannot train on one image
PATIENCE = Patience(10.0)  # with an artifact store


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``needed`` if studies cannot do without it."""

    subject: str
    text: str
    ok: bool
    needed: bool = True


def examine(storage: str, work: Path, machine: Mapping[str, str]) -> list[Finding]:
    """Look at everything that takes no longer than a few seconds.

    Args:
        machine: what ``Trainer.describe`` says.
    """
    return [
        *(Finding(key, value, True) for key, value in machine.items()),
        *_database(storage, work),
        _folder(work),
    ]


def examine_models(trainer: TorchTrainer) -> list[Finding]:
    """For each model with published weights: are they here and good, and which batches fit?"""
    from tuneoff.trainer.models.registry import pretrained
    from tuneoff.trainer.models.sources import imagenet_state

    found = [
        Finding(f"weights of {model}", text, here, needed=False)
        for model, (here, text) in ((model, imagenet_state(model)) for model in pretrained())
    ]
    # As in the paper: images scaled up to 224 pixels, the 200 classes of Tiny ImageNet.
    images = DataSource(image_size=224)
    for model in pretrained():
        recipe = Recipe(data=images, model=model)
        largest = trainer.largest_batch(recipe, 200, 224, 224)
        found.append(_batch(model, largest, trainer.resolve(recipe).precision))
    return found


def _database(url: str, work: Path) -> list[Finding]:
    try:
        parsed = parse_url(url)
        if is_yet_to_be_made(parsed):
            text = f"{shown(parsed)}: no studies yet; `tuneoff create` makes it"
            return [Finding("storage", text, True)]
        database = open_storage(url)
    except (StorageError, StorageOutage) as error:
        return [Finding("storage", str(error), False)]
    names = study_names(database)
    found = [Finding("storage", f"{database}; studies: {', '.join(names) or 'none'}", True)]
    stores: dict[str, None] = {}
    for name in names:
        try:
            store = open_study(database, name, work).spec.workers.artifacts
        except SpecError as error:
            found.append(Finding(f"study {name}", str(error), False))
        else:
            stores |= {} if store is None else {store: None}
    database.close()
    return found + [_artifacts(store) for store in stores]


def _artifacts(url: str) -> Finding:
    try:
        store = open_artifacts(url, PATIENCE)
        store.check()
    except (ArtifactError, ArtifactOutage) as error:
        return Finding("artifacts", str(error), False)
    return Finding("artifacts", f"{store}: can be written and read", True)


def _batch(model: str, largest: int, precision: str) -> Finding:
    fits = largest >= LEAST_BATCH
    text = f"{largest if fits else 'not even 2'} images of 224 x 224 pixels in {precision}"
    text += "" if fits else "; free some memory"
    return Finding(f"largest batch of {model}", text, fits, needed=False)


def _folder(work: Path) -> Finding:
    nearest = work.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    free = shutil.disk_usage(nearest).free / 2**30
    enough = free >= LOW_DISK_GIB
    text = f"{free:.0f} GiB free" + ("" if enough else "; free some, or choose another --work")
    return Finding(f"folder {work}", text, enough)
