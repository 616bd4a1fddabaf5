"""Real processes for end-to-end tests, each in a folder of its own; all end with their test."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import sqlalchemy as sa
from browser import NAMES, find_browser
from PIL import Image

from tuneoff.files import write_text
from tuneoff.once import made_once

STUDY = Path(__file__).resolve().parents[2] / "studies" / "digits.toml"
SMALL = {
    "repeats": "2",
    "budget.epochs": "12",
    "trial.epochs": "3",
    "arms.bayes.startup": "2",
    "arms.hand.configs": """[
        { lr = 0.01, momentum = 0.9, weight_decay = 1e-4 },
        { lr = 0.03, momentum = 0.9, weight_decay = 1e-4 },
        { lr = 0.1, momentum = 0.9, weight_decay = 5e-4 },
    ]""",
    "promote.top": "1",
    "promote.seeds": "2",
    "promote.epochs": "3",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep every test of this folder out of the fast lane: they start processes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


def overrides(**changes: str) -> list[str]:
    """--set options that make studies/digits.toml take seconds; "__" stands for a dot."""
    values = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="session")
def digits() -> Callable[..., list[str]]:
    """The arguments that stand for a small study of digits: its file, and --set options."""
    return lambda **changes: [str(STUDY), *overrides(**changes)]


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """For subprocesses: one thread each, no settings of our own."""
    values = {k: v for k, v in os.environ.items() if not k.startswith("TUNEOFF_")}
    return values | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "80"}


@dataclass(frozen=True)
class Said:
    """What one command printed, line by line."""

    out: list[str]
    err: list[str]

    @property
    def text(self) -> str:
        return "".join(self.out) + "".join(self.err)


@dataclass
class Running:
    """A process whose output is read as it comes."""

    process: subprocess.Popen[str]
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        pairs = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self._readers = [threading.Thread(target=_read, args=pair, daemon=True) for pair in pairs]
        for reader in self._readers:
            reader.start()

    def wait(self, timeout: float = 120) -> int:
        """Its exit code, with all of its output read."""
        code = self.process.wait(timeout)
        for reader in self._readers:
            reader.join(10)
        return code

    @property
    def text(self) -> str:
        return "".join(self.out) + "".join(self.err)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def workers(self) -> list[psutil.Process]:
        """Its worker processes."""
        try:
            return [
                child
                for child in psutil.Process(self.process.pid).children()
                if "worker" in child.cmdline()
            ]
        except psutil.NoSuchProcess:
            return []


def _read(stream: io.TextIOBase, lines: list[str]) -> None:
    with contextlib.suppress(ValueError):
        lines.extend(iter(stream.readline, ""))


class Tuneoff:
    """Runs ``tuneoff`` in one folder, on one database there, and ends all that it started."""

    def __init__(self, folder: Path, environment: Mapping[str, str], storage: str) -> None:
        self.folder = folder
        self.storage = storage
        self.work = folder / "work"
        self._environment = dict(environment)
        self._started: list[Running] = []

    def command(self, *args: object) -> list[str]:
        words = [str(arg) for arg in args]
        place = words[:2] if words[0] == "data" else words[:1]
        options = ["--work", str(self.work)]
        if words[0] not in ("data", "train"):
            options += ["--storage", self.storage]
        return [sys.executable, "-P", "-m", "tuneoff", *place, *options, *words[len(place) :]]

    def start(self, *args: object, **environment: str) -> Running:
        """Start it, and go on."""
        process = subprocess.Popen(
            self.command(*args),
            cwd=self.folder,
            env=self._environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(Running(process))
        return self._started[-1]

    def __call__(
        self, *args: object, code: int = 0, limit: float = 120, **environment: str
    ) -> Running:
        """Run it to its end, which must come with this exit code, and within so many seconds."""
        running = self.start(*args, **environment)
        found = running.wait(limit)
        assert found == code, f"exit code {found}, not {code}:\n{running.text}"
        return running

    def leftovers(self) -> list[psutil.Process]:
        """Every process alive that names our work folder: nobody else's does."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if str(self.work) in process.cmdline() and process.is_running():
                    found.append(process)
        return [p for p in found if p.pid != os.getpid()]

    def close(self) -> None:
        """End everything, whatever state it is in."""
        for running in self._started:
            if running.process.poll() is None:
                running.process.kill()
        for process in self.leftovers():
            with contextlib.suppress(psutil.Error):
                process.kill()
        for running in self._started:
            running.wait(30)
            for stream in (running.process.stdout, running.process.stderr):
                assert stream is not None
                stream.close()


@pytest.fixture
def make_tuneoff(
    tmp_path: Path, environment: dict[str, str]
) -> Iterator[Callable[[str | None], Tuneoff]]:
    """Makes a Tuneoff on a database URL, or on an SQLite file of its own."""
    made: list[Tuneoff] = []

    def make(storage: str | None = None) -> Tuneoff:
        made.append(Tuneoff(tmp_path, environment, storage or f"sqlite:///{tmp_path}/tuneoff.db"))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def tuneoff(make_tuneoff: Callable[..., Tuneoff]) -> Tuneoff:
    """``tuneoff`` in an empty folder, on an SQLite file there."""
    return make_tuneoff()


@pytest.fixture
def inside(
    environment: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Said]:
    """Runs a command in this process, which is quicker: (Tuneoff, words, exit code) -> Said."""
    from tuneoff.search.cli.main import main

    def run(tuneoff: Tuneoff, *args: object, code: int = 0) -> Said:
        monkeypatch.chdir(tuneoff.folder)
        monkeypatch.setattr(sys, "argv", ["tuneoff", *tuneoff.command(*args)[4:]])
        monkeypatch.setenv("COLUMNS", "80")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code == code, f"exit code {ended.value.code}, not {code}:\n{out}{err}"
        return Said(out.splitlines(keepends=True), err.splitlines(keepends=True))

    return run


@dataclass(frozen=True)
class Finished:
    """A study that was run to its end."""

    folder: Path
    output: str


@pytest.fixture(scope="session")
def finished_once(
    tmp_path_factory: pytest.TempPathFactory,
    environment: dict[str, str],
    digits: Callable[..., list[str]],
) -> Finished:
    """A small study, run to its end by ``tuneoff run`` once for all tests; do not change it.

    The workers of pytest-xdist share it, so that it is run once and not by each of them.
    """
    base = tmp_path_factory.getbasetemp()
    place = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, output = place / "finished-study", place / "finished-study.txt"

    def find() -> Finished | None:
        return Finished(folder, output.read_text()) if output.exists() else None

    def make() -> Finished:
        shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed at it
        folder.mkdir()
        tuneoff = Tuneoff(folder, environment, f"sqlite:///{folder}/tuneoff.db")
        try:
            done = tuneoff("run", *digits(), "--workers", "2", limit=280)
        finally:
            tuneoff.close()
        said = "".join(done.out)
        write_text(output, said)
        return Finished(folder, said)

    return made_once(find, make, place / "finished-study.lock")


@pytest.fixture
def finished(finished_once: Finished, tuneoff: Tuneoff) -> Tuneoff:
    """``tuneoff`` on a copy of the finished study, which may be changed."""
    shutil.copytree(finished_once.folder, tuneoff.folder, dirs_exist_ok=True)
    return tuneoff


@dataclass(frozen=True)
class Row:
    """A row of the attempts table, as far as tests look at it."""

    search: str
    trial: int
    number: int
    token: str
    worker: str
    end: str | None
    reason: str | None
    from_epoch: int
    until_epoch: int
    epochs: int


class Ledger:
    """The attempts table and the trials, read past the program under test."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, poolclass=sa.pool.NullPool)

    def _rows(self, query: str) -> list[Mapping[str, Any]]:
        with self._engine.connect() as connection:
            return [dict(row._mapping) for row in connection.execute(sa.text(query))]

    def attempts(self) -> list[Row]:
        """Every attempt; none while there is no such table yet."""
        try:
            rows = self._rows("SELECT * FROM tuneoff_attempts ORDER BY started, trial, number")
        except (sa.exc.OperationalError, sa.exc.ProgrammingError):
            return []
        return [Row(**{name: row[name] for name in Row.__dataclass_fields__}) for row in rows]

    def spent(self) -> int:
        """Epochs that all attempts have trained."""
        return sum(row.epochs for row in self.attempts())

    def trials(self) -> list[Mapping[str, Any]]:
        """Every trial of a search, with its search, number, state, value and last reported epoch.

        Those of the study NAME, which optuna-dashboard shows, are copies and are left out.
        """
        return self._rows(
            'SELECT s.study_name AS "search", t.number, t.state, v.value, '
            "(SELECT MAX(step) FROM trial_intermediate_values i WHERE i.trial_id = t.trial_id)"
            " AS epochs FROM trials t JOIN studies s ON s.study_id = t.study_id"
            " LEFT JOIN trial_values v ON v.trial_id = t.trial_id"
            " WHERE s.study_name LIKE '%/%'"
            " ORDER BY s.study_name, t.number"
        )


@pytest.fixture(scope="session")
def read_ledger() -> Callable[[str], Ledger]:
    """Reads the tables behind a URL."""
    return Ledger


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Waits until something is true (or no longer empty), and returns it."""

    def wait(condition: Callable[[], Any], what: str, timeout: float = 90) -> Any:
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, f"never came: {what}"
            time.sleep(0.1)
        return found

    return wait


@pytest.fixture
def bad_network(postgres_server: Any) -> Iterator[Any]:
    """A network between us and Postgres, good as yet (see network.py)."""
    postgres_server.start()
    spec = importlib.util.spec_from_file_location("network", Path(__file__).with_name("network.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["network"] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    folder = sa.make_url(postgres_server.url("x")).query["host"]
    made = module.BadNetwork(f"{folder}/.s.PGSQL.5432")
    yield made
    made.close()
    del sys.modules["network"]


@pytest.fixture
def slurm_cluster(tmp_path: Path) -> Iterator[Any]:
    """One machine as a Slurm cluster, without a job (see slurm_cluster.py)."""
    spec = importlib.util.spec_from_file_location(
        "slurm_cluster", Path(__file__).with_name("slurm_cluster.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Cluster(tmp_path / "slurm")
    yield made
    made.close()


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its logs and sockets: their names may not be as long as tmp_path's."""
    folder = Path(tempfile.mkdtemp(prefix="tuneoff-ray-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def jpeg(shade: int, noise: int) -> bytes:
    """A small image that depends on its class and its number."""
    pixels = np.random.default_rng((shade, noise)).integers(0, 80, (16, 16, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels + np.uint8(shade)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="session")
def tiny_files() -> dict[str, bytes]:
    """Tiny ImageNet's layout in small: two classes, twelve training and four val images each."""
    wnids = ("n01443537", "n01629819")
    root = "tiny-imagenet-200"
    files = {
        f"{root}/wnids.txt": "".join(f"{w}\n" for w in wnids).encode(),
        f"{root}/words.txt": "".join(f"{w}\tname of {w}\n" for w in wnids).encode(),
    }
    annotations = []
    for label, wnid in enumerate(wnids):
        for i in range(12):
            files[f"{root}/train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(20 + 120 * label, i)
        for i in range(4):
            name = f"val_{4 * label + i}.JPEG"
            files[f"{root}/val/images/{name}"] = jpeg(20 + 120 * label, 100 + i)
            annotations.append(f"{name}\t{wnid}\t0\t0\t15\t15\n")
    files[f"{root}/val/val_annotations.txt"] = "".join(annotations).encode()
    return files


@pytest.fixture
def write_zip(tmp_path: Path) -> Callable[..., Path]:
    """Writes files into a zip file, which may be cut short."""

    def write(files: Mapping[str, bytes], name: str = "tiny.zip", cut: int = 0) -> Path:
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            for inner, content in files.items():
                archive.writestr(inner, content)
        if cut:
            path.write_bytes(path.read_bytes()[:-cut])
        return path

    return write


@pytest.fixture(scope="session")
def dump_dom() -> Callable[..., str]:
    """The document at a URL after its scripts have run, in a real browser."""
    browser = find_browser()
    if browser is None:
        pytest.skip(f"no browser here: none of {', '.join(NAMES)}")

    def dump(url: str, profile: Path, *options: str) -> str:
        command = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
            *options,
            "--dump-dom",
            url,
        ]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            out, _ = process.communicate(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
        return out.decode()

    return dump
