"""Publication: the copy of all runs, notes and figures brought up to date, at bounded cost.

Copying and the page (notes and figures) have a pace each: the next time is not before ``REST``
times what the last one cost, whoever did it. When each was done is in the database, so that the
cost is the same with one publisher or many.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import sqlalchemy as sa

from tuneoff.search.report.dashboard.figures import dashboard_figures, main_panels
from tuneoff.search.report.dashboard.mirror import (
    Mirror,
    copy_runs,
    find_mirror,
    look,
    make_mirror,
    save_state,
)
from tuneoff.search.report.dashboard.notes import (
    OLD_HEADING,
    notes_of,
    write_figures,
    write_note,
)
from tuneoff.search.report.dashboard.words import comparison_note, search_note
from tuneoff.search.report.data import ReportData, read_report_data
from tuneoff.search.results.status import read_status
from tuneoff.search.store.clock import db_now
from tuneoff.search.store.study_writing import writing
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import Study

REST: Final = 40.0
"""Of copying and of the page, each: together they take a twentieth of the time."""
LEAST_SECONDS: Final = 5.0
"""Between two copyings."""
LEAST_PAGE_SECONDS: Final = 10.0
"""Between two pages."""


def publish(study: Study, *, now: bool = False) -> bool:
    """Bring what optuna-dashboard shows of a study up to date, if it is due and has changed.

    Args:
        now: do it at once, and the page even if nothing has changed.

    Returns:
        True if something was written.

    Raises:
        NotOurs: an Optuna study of this name is somebody else's.
        StudyError: one of the study's searches was deleted.
        sqlalchemy.exc.DBAPIError, StorageOutage: the database is away, or may not be written.
    """
    study = study.refreshed()
    with study.database.engine.connect() as connection:
        mirror = find_mirror(connection, study)
        moment: float = connection.scalar(sa.select(db_now())) or 0.0
        stored = None if mirror is None else mirror.stored
        trials_due = now or stored is None or _is_due(stored.at, stored.took, LEAST_SECONDS, moment)
        page_due = now or stored is None or _is_due(
            stored.page_at, stored.page_took, LEAST_PAGE_SECONDS, moment
        )  # fmt: skip
        if not (trials_due or page_due):
            return False
        seen = look(connection, study)
    trials_due &= stored is None or stored.seen != seen
    page_due &= now or stored is None or stored.page_seen != seen
    if not (trials_due or page_due):
        return False
    if mirror is None:
        make_mirror(study)
        with study.database.engine.connect() as connection:
            mirror = find_mirror(connection, study)
        if mirror is None:
            return False
    found: Mirror | None = mirror
    if trials_due:
        found = _publish_runs(study, mirror, seen)
    if page_due and found is not None:
        found = _publish_page(study, found, seen)
    return found is not None


class _Cost:
    """What this thread's work has cost since then.

    On a busy machine time says little: it is the thread's time of CPU, and as much again for the
    database, but no more than the time that has passed.
    """

    def __init__(self) -> None:
        self._time, self._cpu = time.perf_counter(), time.thread_time()

    def seconds(self) -> float:
        """See above."""
        passed, cpu = time.perf_counter() - self._time, time.thread_time() - self._cpu
        return min(passed, 2 * cpu)


def _is_due(at: float, took: float, least: float, now: float) -> bool:
    # A clock that was put back must not keep us waiting.
    return not 0 <= now - at < max(least, REST * took)


def _publish_runs(study: Study, mirror: Mirror, seen: str) -> Mirror | None:
    began = _Cost()
    copied = copy_runs(study, mirror)
    if copied is None:
        return None
    return _done(study, copied, seen=seen, took=began.seconds())


def _done(study: Study, mirror: Mirror, **values: float | str) -> Mirror | None:
    """Enter when something was published, for all publishers."""
    prefix = "page_" if "page_took" in values else ""
    with writing(study.database.engine) as connection:
        at = connection.scalar(sa.select(db_now()))
        return save_state(study, mirror, {**values, f"{prefix}at": at}, connection)


def _publish_page(study: Study, mirror: Mirror, seen: str) -> Mirror | None:
    began = _Cost()
    data = read_page_data(study)
    panels = main_panels(data)
    figures = {name: figure.to_json() for name, figure in dashboard_figures(panels).items()}
    status = read_status(study)
    with study.database.engine.connect() as connection:
        notes = notes_of(connection, [search.name for search in study.searches])
    ids = {name: study_id for name, (study_id, _) in notes.items()}
    note = comparison_note(data, status, study, ids, panels)
    wanted = {search.name: search_note(search, study, mirror.id) for search in study.searches}
    changed = [n for n, (_, body) in notes.items() if wanted[n] not in body or OLD_HEADING in body]
    with writing(study.database.engine) as connection:
        current = save_state(study, mirror, {}, connection)
        if current is None:
            return None
        write_note(connection, mirror.id, note)
        write_figures(connection, mirror.id, figures)
        for name in changed:
            write_note(connection, ids[name], wanted[name])
            write_figures(connection, ids[name], {})  # those that earlier versions put there
    return _done(study, current, page_seen=seen, page_took=began.seconds())


def read_page_data(study: Study) -> ReportData:
    """What the page of a study is drawn from: as a report's, without what is not shown there.

    No work folder either: whoever reads the page need not have the publisher's.
    """
    return replace(read_report_data(Snapshot.of(study), predictions=False), work="")
