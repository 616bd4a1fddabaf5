"""What it costs to keep optuna-dashboard's copy of a study of 20,000 trials up to date.

Nothing is trained: ``scale_fill`` writes the study into the database in one go.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa
from scale_fill import NAME, fill
from scale_reading import databases

from tuneoff.search.report.dashboard import publish as publication
from tuneoff.search.report.dashboard.mirror import copy_runs, find_mirror, look, make_mirror
from tuneoff.search.report.dashboard.publish import publish
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import open_study
from tuneoff.search.study.study import Study


def timed(action: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of CPU, seconds, and what was returned."""
    cpu, began = time.process_time(), time.perf_counter()
    found = action()
    return time.process_time() - cpu, time.perf_counter() - began, found


def measure(url: str, kind: str, trials: int, work: Path) -> dict[str, Any]:
    """Fill a database, and publish its study: at first, after one epoch, and unchanged."""
    fill(url, trials, 2, work)
    study = open_study(open_database(url), NAME, work)
    found: dict[str, Any] = {"database": kind, "trials": trials}

    def copy() -> None:
        with study.database.engine.connect() as connection:
            mirror = find_mirror(connection, study)
        assert mirror is not None
        assert copy_runs(study, mirror) is not None

    def looked() -> None:
        with study.database.engine.connect() as connection:
            look(connection, study)

    make_mirror(study)
    found["first copy"] = timed(copy)[:2]
    _train_an_epoch(study)
    found["copy after an epoch"] = timed(copy)[:2]
    found["page"] = timed(lambda: publish(study, now=True))[:2]
    found["whether something has changed"] = timed(looked)[:2]
    found["not due"] = timed(lambda: publish(study))[:2]
    with study.database.engine.connect() as connection:
        mirror = find_mirror(connection, study)
        assert mirror is not None
        copies = connection.scalar(
            sa.text("SELECT count(*) FROM trials WHERE study_id = :i"), {"i": mirror.id}
        )
        found["copies"] = copies
    stored = mirror.stored
    rest = publication.REST
    found["seconds between pages"] = max(publication.LEAST_PAGE_SECONDS, rest * stored.page_took)
    study.database.close()
    return found


def _train_an_epoch(study: Study) -> None:
    """Have a worker go on with a run that was paused, for one epoch."""
    search = next(s for s in study.arms if s.arm == "bayes")
    for row in attempts.read(study.database, [search.name]):
        if row.end == "paused":
            break
    me = Worker.here("cpu")
    number = row.number + 1
    mine = attempts.insert(study.database, me, search.name, row.trial, number, row.reached, 9)
    attempts.progress(study.database, mine, 1, 1.0)


@click.command()
@click.option("--trials", default="20000", show_default=True, help="Numbers, with commas.")
@click.option("--databases", "kinds", default="sqlite,postgres", show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path, dir_okay=False))
def main(trials: str, kinds: str, out: Path | None) -> None:
    """What it costs to show a study of many trials in the dashboard.

    \b
    Example:
      python benchmarks/scale_dashboard.py --trials 20000
    """
    rows = []
    chosen = kinds.split(",")
    with databases(chosen) as new, tempfile.TemporaryDirectory(prefix="tuneoff-") as folder:
        for kind in chosen:
            for count in map(int, trials.split(",")):
                rows.append(measure(new(kind), kind, count, Path(folder)))
                for name, value in rows[-1].items():
                    shown = value
                    if isinstance(value, tuple):
                        shown = f"{value[0]:.2f} s of CPU, {value[1]:.2f} s"
                    click.echo(f"{name}: {shown}")
    if out:
        out.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
