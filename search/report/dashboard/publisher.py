"""A thread that keeps what optuna-dashboard shows up to date, and hurts nobody if it cannot."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tuneoff.messages import first_line, printable, without_passwords
from tuneoff.search.errors import SearchError, SpecError
from tuneoff.search.store.database import Database
from tuneoff.search.store.outages import reason
from tuneoff.search.study import table
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.study import Study

log = logging.getLogger(__name__)

POLL_SECONDS = 2.0
"""Between questions whether something is due: a query or two for each study."""
REST = 20.0
"""At least so many times as long as the questions took, where nothing was due."""
FAILED_SECONDS = 60.0
"""Until the next attempt, where a study could not be published."""
ATTEMPTS = 10
PAUSE_SECONDS = 0.5
"""Between two attempts to publish at once."""
LEAVE_SECONDS = 20.0
"""How long a publication that is under way is waited for at the end."""


class Publisher:
    """Publishes studies from a thread of its own, as long as a ``with`` block lasts.

    Why a study cannot be published is said once, as a warning.
    """

    def __init__(
        self, studies: Callable[[], Iterable[Study]], say: Callable[[str], None] = log.warning
    ) -> None:
        """
        Args:
            studies: those to be published, asked again and again.
            say: is told, in a line, why one cannot be published.
        """
        self._studies, self._say = studies, say
        self._leave = threading.Event()
        self._said: set[str] = set()
        self._resting: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.set()
        self._thread.join(LEAVE_SECONDS)

    def _run(self) -> None:
        while True:
            idle = 0.0
            try:
                for study in self._studies():
                    if self._leave.is_set():
                        return
                    began = time.perf_counter()
                    if not self._publish(study):
                        idle += time.perf_counter() - began
            except Exception as error:  # see _publish
                self._tell("what is stored", error)
            if self._leave.wait(max(POLL_SECONDS, REST * idle)):
                return

    def _publish(self, study: Study) -> bool:
        """Publish a study where that is due; True if it was."""
        now = time.monotonic()
        if self._resting.get(study.name, now) > now:
            return False
        try:
            from tuneoff.search.report.dashboard.publish import publish  # plotly takes seconds

            return publish(study)
        except Exception as error:  # whatever it is: nobody's training depends on it
            self._resting[study.name] = now + FAILED_SECONDS
            self._tell(study.name, error)
            return False

    def _tell(self, what: str, error: Exception) -> None:
        said = why_not(what, error)
        if said not in self._said:
            self._said.add(said)
            self._say(said)


def every_study(database: Database) -> Iterator[Study]:
    """The studies of a database that can be opened, newest first."""
    for name in reversed(table.names(database)):
        with contextlib.suppress(SpecError):  # `tuneoff list` says what is wrong with it
            yield open_study(database, name, Path())  # none of its files are read


def publish_now(study: Study, say: Callable[[str], None]) -> None:
    """Publish a study at once; if that cannot be, say why in a line, and go on.

    Where another process writes at the same time, what it read may be older than what this one has
    to show: so this tries again until all of it is there, at most ``ATTEMPTS`` times.
    """
    from tuneoff.search.report.dashboard.publish import publish

    try:
        for _ in range(ATTEMPTS):
            if publish(study, now=True):
                break
            time.sleep(PAUSE_SECONDS)
    except Exception as error:  # as above
        say(why_not(study.name, error))


def why_not(what: str, error: Exception) -> str:
    """Why something is not shown in the dashboard, in one line without passwords."""
    why = first_line(error) if isinstance(error, SearchError) else reason(error)
    return printable(without_passwords(f"{what} is not up to date in the dashboard: {why}"))
