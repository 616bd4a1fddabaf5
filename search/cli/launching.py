"""Launchers as the command line uses them: what they are asked, and how their workers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuneoff.search.cli.following import follow
from tuneoff.search.cli.terminal import console
from tuneoff.search.cli.trainers import count_gpus
from tuneoff.search.launch.base import Workers
from tuneoff.search.launch.launcher import Launcher, LaunchRequest
from tuneoff.search.launch.local import slots_here
from tuneoff.search.launch.registry import LAUNCHERS
from tuneoff.search.store.dialects import from_any_folder, is_sqlite
from tuneoff.search.study.study import Study
from tuneoff.search.work.signals import Stop


def launch_workers(
    study: Study,
    place: str,
    promote: bool,
    workers: int | None,
    per_gpu: int,
    options: Mapping[str, Any],
) -> int:
    """Launch workers, and follow them where the launcher does; the exit code.

    Args:
        place: a name in LAUNCHERS.
        promote, workers, per_gpu: see ``LaunchRequest``.
        options: values of at least the launcher's own options.

    Raises:
        UserError, SearchError: see ``Launcher`` and ``Workers.poll``.
    """
    launcher: Launcher = LAUNCHERS.load(place)
    request = LaunchRequest(
        study=study.name,
        work=study.work,
        folder=study.folder,
        storage=_storage(study),
        database=str(study.database),
        one_machine=is_sqlite(study.database.url),
        shared=study.artifacts is None,
        promote=promote,
        workers=workers,
        per_gpu=per_gpu,
        options={option.key: options[option.key] for option in launcher.options},
    )
    return launcher.launch(request, _StudyTerminal(study))


def check_this_machine(workers: int | None, gpus: str | None, per_gpu: int) -> None:
    """Make sure that this machine has the GPUs that are asked for (UserError otherwise)."""
    slots_here(count_gpus(), workers, gpus, per_gpu)


def is_complete(study: Study) -> bool:
    """True if a study is searched, promoted and trained in full: nothing is left to launch."""
    from tuneoff.search.work.done import is_idle, is_searched
    from tuneoff.search.work.promote import is_promoted

    return (
        is_searched(study) and is_idle(study, (study.full, study.ensemble)) and is_promoted(study)
    )


class _StudyTerminal:
    """The terminal of a launcher of one study's workers (see ``launcher.Terminal``)."""

    def __init__(self, study: Study) -> None:
        self._study = study

    def count_gpus(self) -> int:
        return count_gpus()

    def begin(self) -> None:
        self._study.drain(False)

    def say(self, line: str) -> None:
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    def follow(self, workers: Workers, patient: bool = False) -> int:
        # Stop first: a signal that comes while workers start must drain them too.
        with Stop(patient=patient) as stop, workers:
            follow(self._study, workers, stop)
            if stop.signal:
                console.print("Stopped. The same command goes on from here.")
        return 128 + stop.signal if stop.signal else 0


def _storage(study: Study) -> str:
    """The storage URL with its password, for workers in other folders too; never print it."""
    return from_any_folder(study.database.url).render_as_string(hide_password=False)
