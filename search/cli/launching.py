"""Launchers as the command line uses them: what they are asked, and how their workers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuneoff import references
from tuneoff.search.cli.console import console
from tuneoff.search.cli.failures import remark
from tuneoff.search.cli.following import follow
from tuneoff.search.cli.notifying import Notifier, webhook_of
from tuneoff.search.cli.trainers import count_gpus
from tuneoff.search.cli.until import judge_of
from tuneoff.search.errors import SearchError, UserError
from tuneoff.search.launch.base import Workers
from tuneoff.search.launch.launcher import Launcher, LaunchRequest
from tuneoff.search.launch.local import slots_here
from tuneoff.search.launch.registry import LAUNCHERS
from tuneoff.search.report.dashboard.publisher import Publisher, publish_now
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
    *,
    publish: bool = True,
) -> int:
    """Launch workers, and follow them where the launcher does; the exit code.

    Args:
        place: a name in LAUNCHERS.
        promote, workers, per_gpu: see ``LaunchRequest``.
        options: values of at least the launcher's own options.
        publish: bring the dashboard up to date at the end; not needed where a report follows,
            which does so too.

    Raises:
        NotAllowed: the study names code that nobody allowed this process to run.
        UserError, SearchError: see ``Launcher`` and ``Workers.poll``.
    """
    allow = study.spec.references()
    references.require_allowed(allow)
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
        allow=allow,
    )
    code = launcher.launch(request, _StudyTerminal(study, promote))
    if publish and code == 0:
        publish_now(study, remark)
    return code


def check_this_machine(workers: int | None, gpus: str | None, per_gpu: int) -> None:
    """Make sure that this machine has the GPUs that are asked for (UserError otherwise)."""
    slots_here(count_gpus(), workers, gpus, per_gpu)


def is_complete(study: Study) -> bool:
    """True if a study is searched, promoted, trained in full and to have no more repeats.

    Then nothing is left to launch.
    """
    from tuneoff.search.study.snapshot import Snapshot
    from tuneoff.search.work.done import is_idle, is_searched
    from tuneoff.search.work.promote import is_promoted

    study = study.refreshed()
    judge = judge_of(study)
    return (
        is_searched(study)
        and is_idle(study, study.queues)
        and is_promoted(study)
        and (judge is None or judge(Snapshot.of(study)).ended is not None)
    )


class _StudyTerminal:
    """The terminal of a launcher of one study's workers (see ``launcher.Terminal``)."""

    def __init__(self, study: Study, promote: bool = True) -> None:
        self._study = study
        self._promote = promote
        self._notifier = Notifier(study, webhook_of(study))

    def count_gpus(self) -> int:
        return count_gpus()

    def begin(self) -> None:
        if self._study.ledger.step(self._study.is_draining):
            self._study.ledger.step(self._study.drain, False)
            self.say(
                f"{self._study.name} was stopped by `tuneoff stop`. This takes it back: workers "
                "may go on, on every machine."
            )

    def say(self, line: str) -> None:
        console.print(line, soft_wrap=True)

    def follow(self, workers: Workers, patient: bool = False) -> int:
        notifier = self._notifier
        # Stop first: a signal that comes while workers start must drain them too.
        with Stop(patient=patient) as stop, Publisher(lambda: [self._study], remark), workers:
            try:
                follow(self._study, workers, stop, promote=self._promote, each=notifier.progress)
            except (SearchError, UserError) as error:
                notifier.failed(str(error))
                notifier.close()
                raise
            if stop.signal:
                self.say("Stopped. The same command goes on from here.")
            elif self._study.ledger.step(self._study.is_draining):
                self.say("Stopped by `tuneoff stop`. The same command goes on from here.")
            else:
                self.say(f"{self._study.name}: the workers are done.")
                if self._promote and self._study.ledger.step(is_complete, self._study):
                    notifier.ended()
        notifier.close()
        return 128 + stop.signal if stop.signal else 0


def _storage(study: Study) -> str:
    """The storage URL with its password, for workers in other folders too; never print it."""
    return from_any_folder(study.database.url).render_as_string(hide_password=False)
