"""Every process of ours runs in a folder whose own modules have names that ours, or Python's, have.

People keep a search.py, a trainer/ and a tests/ beside their study files, and now and then a
queue.py or a random.py. Python looks for modules in the working folder first where it is started
with -m or -c, and so do Ray's processes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MODULES = (
    "search.py",
    "queue.py",
    "random.py",
    "secrets.py",
    "statistics.py",
    "tuneoff.py",
    "trainer/__init__.py",
    "tests/__init__.py",
)
TRAP = """\
with open({note!r}, "a") as note:
    note.write(__file__ + "\\n")
raise RuntimeError("a user's own module was imported")
"""
STUDY = """\
name = "small"
repeats = 1
data = { name = "digits" }
trial = { model = "proxy", epochs = 1, flip = false }
space = { lr = { low = 1e-3, high = 0.1, log = true } }
budget = { epochs = 2 }
arms = { random = { sampler = "random" } }
"""
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Own:
    """A user's own folder.

    Attributes:
        note: the file that has the name of every trap that was imported.
    """

    folder: Path
    note: Path
    environment: dict[str, str]

    def __call__(self, *words: str, code: int = 0, **environment: str) -> str:
        """What a command prints that is run in the folder."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def imported(self) -> list[str]:
        """The traps that were imported."""
        return self.note.read_text().splitlines() if self.note.exists() else []


@pytest.fixture
def own(tmp_path: Path, environment: dict[str, str]) -> Iterator[Own]:
    """A folder of traps with a study file; none of them may have been imported in the end."""
    folder, note = tmp_path / "own", tmp_path / "imported"
    for name in MODULES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TRAP.format(note=str(note)))
    (folder / "study.toml").write_text(STUDY)
    found = Own(folder, note, environment | {"PATH": f"{BIN}:{os.environ['PATH']}"})
    yield found
    assert found.imported() == []


def test_the_traps_work(own: Own) -> None:
    own(sys.executable, "-m", "tuneoff", "--help", code=1)
    assert own.imported()
    own.note.unlink()


def test_on_this_machine(own: Own) -> None:
    """``run`` and ``launch``, whose workers are processes of their own, and torchrun's."""
    own("tuneoff", "run", "study.toml", "--workers", "1")
    own("tuneoff", "create", "study.toml", "--set", "name=launched")
    own("tuneoff", "launch", "launched", "--workers", "1")
    assert "2/2" in own("tuneoff", "status", "launched")
    own("tuneoff", "export", "small", "-o", "best.toml")
    torchrun = ["torchrun", "--standalone", "--nproc-per-node", "2", "--no-python"]
    said = own(*torchrun, "tuneoff", "train", "best.toml", "--device", "cpu")
    assert len(re.findall(r"validation error \S+ \(0\.", said)) == 1


def test_in_a_job_of_slurm(
    own: Own, slurm_cluster: Any, postgres_url: str, until: Callable[..., Any]
) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed")
    storage = ("--storage", postgres_url)
    own("tuneoff", "create", "study.toml", *storage)
    path = f"{slurm_cluster.bin}:{own.environment['PATH']}"
    place = {**slurm_cluster.environment, "PATH": path}
    own("tuneoff", "launch", "small", "--on", "slurm", "--workers", "1", *storage, **place)
    assert any("-P -u -m submitit" in line for line in slurm_cluster.script("101"))
    until(lambda: slurm_cluster.told("101") == "ENDED 0", "the end", 240)
    assert "2/2" in own("tuneoff", "status", "small", *storage)


def test_on_ray(own: Own, ray_folder: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    own("tuneoff", "create", "study.toml")
    launch = ("launch", "small", "--on", "ray", "--address", "local", "--workers", "1")
    own("tuneoff", *launch, RAY_TMPDIR=str(ray_folder))
    assert "2/2" in own("tuneoff", "status", "small")
