"""A data set by its name: its decoded images."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tuneoff.trainer.data import registry
from tuneoff.trainer.data.pack import Pack
from tuneoff.trainer.data.packing import Packing, Progress, default_threads
from tuneoff.trainer.data.sources.base import Source
from tuneoff.trainer.recipe import DataSource


def load(
    source: DataSource,
    cache: Path,
    progress: Progress | None = None,
    threads: int | None = None,
    verify: bool = False,
) -> Pack:
    """The decoded images of a data set, from the cache if they are there.

    Args:
        source: which data set; how it is split does not matter here.
        cache: folder that keeps decoded images.
        progress: told how far decoding is.
        threads: number of threads that read and decode; ``default_threads`` unless given.
        verify: see ``Packing``.

    Raises:
        DataError: the data set is missing, damaged or not what it says it is.
    """
    module, _, function = registry.entry(source.name).target.partition(":")
    load_source: Source = getattr(import_module(module), function)
    return load_source(source, Packing(cache, progress, threads or default_threads(), verify))
