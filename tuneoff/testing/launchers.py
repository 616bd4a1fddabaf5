"""What every launcher must do with the workers that it starts."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from pathlib import Path

from tuneoff.search.errors import UserError
from tuneoff.search.launch.base import Workers
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store import attempts
from tuneoff.search.store.database import open_database
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.study import Study

PATIENCE_SECONDS = 120.0


class LauncherConformance:
    """What the command line relies on in a launcher.

    Real workers are started, each of which imports torch: these tests take a minute.
    """

    def make_storage(self, tmp_path: Path) -> str:
        """The URL of an empty database that every worker reaches."""
        return f"sqlite:///{tmp_path / 'tuneoff.db'}"

    def make_workers(
        self, command: list[str], storage: str, logs: Path
    ) -> AbstractContextManager[Workers]:
        """A launcher of two workers on the CPU; entering it starts them, leaving it ends them.

        Args:
            command: what follows ``tuneoff worker``, without device and threads.
            storage: the database's URL.
            logs: folder for one log file a worker.
        """
        raise NotImplementedError

    def test_bad_input_is_the_workers_own_line(self, tmp_path: Path) -> None:
        storage = self.make_storage(tmp_path)
        open_database(storage, create=True).close()
        with self.make_workers(["nosuch"], storage, tmp_path / "logs") as workers:
            said = ""
            try:
                self._follow(workers)
            except UserError as error:
                said = str(error)
            assert "nosuch" in said

    def test_workers_that_are_done_have_left(self, tmp_path: Path) -> None:
        study = self._study(tmp_path)
        study.drain(True)
        with self._workers(study, tmp_path) as workers:
            self._follow(workers)
            assert not workers.poll()
        assert sorted((tmp_path / "logs").iterdir())

    def test_drained_workers_leave_nothing_live(self, tmp_path: Path) -> None:
        study = self._study(tmp_path)
        searches = [search.name for search in study.searches]
        with self._workers(study, tmp_path) as workers:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not attempts.live(study.database, searches):
                assert workers.poll()
                assert time.monotonic() < deadline, "no worker began"
                time.sleep(0.1)
            workers.drain()
            self._follow(workers)
        rows = attempts.read(study.database, searches)
        assert not any(row.live for row in rows)
        assert {row.end for row in rows} <= {"released", "paused", "finished"}

    def test_leaving_ends_every_worker(self, tmp_path: Path) -> None:
        study = self._study(tmp_path)
        searches = [search.name for search in study.searches]
        with self._workers(study, tmp_path):
            pass
        begun = len(attempts.read(study.database, searches))
        time.sleep(3)
        assert len(attempts.read(study.database, searches)) == begun
        assert not attempts.live(study.database, searches)

    def _study(self, tmp_path: Path) -> Study:
        from tuneoff.trainer.torch_trainer import TorchTrainer

        values = {
            "name": "launched",
            "repeats": 4,
            "data": {"name": "digits"},
            "trial": {"epochs": 40},
            "space": {"lr": {"low": 1e-3, "high": 0.1, "log": True}},
            "budget": {"epochs": 4000},
            "arms": {"random": {"sampler": "random"}},
        }
        spec = StudySpec.parse(values, "conformance")
        work = tmp_path / "work"
        task = TorchTrainer("cpu", cache=work / "cache").check(spec.our_recipe())
        database = open_database(self.make_storage(tmp_path), create=True)
        return create_study(database, spec, task, work)

    def _workers(self, study: Study, tmp_path: Path) -> AbstractContextManager[Workers]:
        url = study.database.url.render_as_string(hide_password=False)
        command = [study.name, "--work", str(study.work)]
        return self.make_workers(command, url, tmp_path / "logs")

    def _follow(self, workers: Workers) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while workers.poll():
            assert time.monotonic() < deadline, "the workers never left"
            time.sleep(0.1)
