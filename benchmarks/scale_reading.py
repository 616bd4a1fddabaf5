"""What it costs to look at a study of 20,000 trials: commands, the report, a worker's first claim.

Nothing is trained: ``scale_fill`` writes the study into the database in one go.
"""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
from scale import Server
from scale_fill import NAME

HERE = Path(__file__).parent
CLAIM = """
import json, sys, time
from contextlib import contextmanager
from pathlib import Path
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import open_database
from tuneoff.search.store.locks import Locks
from tuneoff.search.study.opening import open_study
from tuneoff.search.work.claim import Claim, claim

held, hold = [], Locks.hold

@contextmanager
def timed(self, name):
    with hold(self, name):
        began = time.perf_counter()
        yield
        held.append(time.perf_counter() - began)

Locks.hold = timed
study = open_study(open_database(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
began = time.perf_counter()
assert isinstance(claim(study, study.arms[0], Worker.here("cpu")), Claim)
print(json.dumps([time.perf_counter() - began, sum(held)]))
"""
"""Prints how long the first claim of a new worker takes, and how long it holds the lock."""


class Version:
    """The commands of one version of tuneoff.

    Attributes:
        label: "now", or the folder of another version's files.
    """

    def __init__(self, folder: Path | None) -> None:
        self.label = "now" if folder is None else str(folder)
        path = {} if folder is None else {"PYTHONPATH": str(folder.absolute())}
        self.environment = {**os.environ, **path}

    def run(self, *words: str, cwd: Path = HERE) -> tuple[float, float, str]:
        """Run Python with these arguments; seconds of CPU, seconds, and what it printed."""
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            [sys.executable, *words],
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise click.ClickException(f"{' '.join(words)}\n{done.stderr[-2000:]}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return cpu, wall, done.stdout

    def command(self, rounds: int, *words: str) -> tuple[float, float]:
        """The least seconds of CPU, and of time, that a command takes."""
        times = [self.run("-m", "tuneoff", *words)[:2] for _ in range(rounds)]
        return min(cpu for cpu, _ in times), min(wall for _, wall in times)


def measure(version: Version, url: str, kind: str, trials: int, rounds: int) -> dict[str, Any]:
    """Fill a database and look at it."""
    with tempfile.TemporaryDirectory(prefix="tuneoff-scale-") as folder:
        work = Path(folder)
        filling = "import sys; from pathlib import Path; from scale_fill import fill; "
        filling += f"fill(sys.argv[1], {trials}, 2, Path(sys.argv[2]))"
        version.run("-c", filling, url, folder)
        where = ["--storage", url, "--work", folder]
        found: dict[str, Any] = {"version": version.label, "database": kind, "trials": trials}
        for name in ("status", "compare"):
            found[name] = version.command(rounds, name, NAME, *where)
        out = work / "report"
        found["report"] = version.command(1, "report", NAME, "--no-publish", "-o", str(out), *where)
        found["page_megabytes"] = (out / "report.html").stat().st_size / 1e6
        found["first_claim"], found["under_the_lock"] = json.loads(
            version.run("-c", CLAIM, url, NAME, folder)[2]
        )
        found["dashboard"] = dashboard(version, where)
    return found


def dashboard(version: Version, where: list[str]) -> dict[str, Any]:
    """Seconds until the dashboard has sent its list of studies, and each study; megabytes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "tuneoff", "dashboard", "--port", str(port), *where]
    process = subprocess.Popen(
        words, env=version.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        address = f"http://127.0.0.1:{port}/api/studies"
        began = time.perf_counter()
        while True:
            try:
                urlopen(address).close()
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() > began + 120:
                    raise click.ClickException("the dashboard does not answer") from None
                time.sleep(0.1)
        studies, listing = _fetched(address)
        seconds, size = 0.0, 0.0
        for study in json.loads(studies)["study_summaries"]:
            text, took = _fetched(f"{address}/{study['study_id']}?after=0")
            seconds, size = max(seconds, took), max(size, len(text) / 1e6)
        return {"list_seconds": listing, "largest_search_seconds": seconds, "megabytes": size}
    finally:
        process.terminate()
        process.wait()


def _fetched(address: str) -> tuple[bytes, float]:
    began = time.perf_counter()
    with urlopen(address) as answer:
        return answer.read(), time.perf_counter() - began


@contextmanager
def databases(kinds: list[str]) -> Iterator[Any]:
    """Yields a function from a kind of database to the URL of a new one."""
    with tempfile.TemporaryDirectory(prefix="tuneoff-scale-", ignore_cleanup_errors=True) as folder:
        server = Server(f"{folder}/postgres") if "postgres" in kinds else None
        made: list[int] = []

        def new(kind: str) -> str:
            made.append(len(made))
            if kind == "postgres":
                assert server is not None
                return server.database()
            return f"sqlite:///{folder}/{len(made)}.db"

        try:
            yield new
        finally:
            if server is not None:
                server.close()


@click.command()
@click.option("--trials", default="100,20000", show_default=True, help="Numbers, with commas.")
@click.option("--databases", "kinds", default="sqlite,postgres", show_default=True)
@click.option("--rounds", default=3, show_default=True, help="The quickest of so many counts.")
@click.option("--against", type=click.Path(path_type=Path, exists=True, file_okay=False),
              help="Folder of another version, which is measured first.")  # fmt: skip
@click.option("--json", "out", type=click.Path(path_type=Path, dir_okay=False))
def main(trials: str, kinds: str, rounds: int, against: Path | None, out: Path | None) -> None:
    """What it costs to look at a study of many trials.

    \b
    Example:
      python benchmarks/scale_reading.py --against ../tuneoff-0.1.0 --json reading.json
    """
    versions = [Version(folder) for folder in ([against] if against else []) + [None]]
    rows: list[dict[str, Any]] = []
    for version in versions:
        start = {
            words: version.command(rounds, *words.split())[0]
            for words in ("--version", "--help", "status --help")
        }
        said = ", ".join(f"{words} {cpu:.2f}" for words, cpu in start.items())
        click.echo(f"{version.label}: seconds of CPU: {said}")
        rows.append({"version": version.label, "start": start})
    chosen = kinds.split(",")
    with databases(chosen) as new:
        for kind in chosen:
            for count in map(int, trials.split(",")):
                for version in versions:
                    row = measure(version, new(kind), kind, count, rounds)
                    rows.append(row)
                    click.echo(_line(row))
    if out:
        out.write_text(json.dumps(rows, indent=1))


def _line(row: dict[str, Any]) -> str:
    """A row for people: seconds of CPU (and of time)."""
    times = ", ".join(
        f"{name} {row[name][0]:.2f} ({row[name][1]:.2f})"
        for name in ("status", "compare", "report")
    )
    shown = row["dashboard"]
    return re.sub(
        r"\s+",
        " ",
        f"""{row["version"]}, {row["database"]}, {row["trials"]} trials: {times}; page
        {row["page_megabytes"]:.1f} MB; first claim {row["first_claim"]:.2f} s, of which under the
        lock {row["under_the_lock"]:.3f}; dashboard: list {shown["list_seconds"]:.1f} s, largest
        search {shown["largest_search_seconds"]:.1f} s, {shown["megabytes"]:.1f} MB""",
    )


if __name__ == "__main__":
    main()
