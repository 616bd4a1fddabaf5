"""A loop of one's own: the example as a user runs it, and workers that are killed or hang."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from socket import gethostname
from typing import Any

import pytest

from tuneoff.search.launch.base import Exit
from tuneoff.search.launch.ray_actor import JobSpec, Resources, WorkerActor

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_loop"
SHORT = (
    "repeats=2", "trial.epochs=2", "budget.epochs=6", "promote.epochs=3", "arms.bayes.startup=2",
)  # fmt: skip
ENSEMBLE = (
    'ensemble={ combine = "mean", members = [{ epochs = 2 }, { params = { batch_size = 64 } }] }'
)


def test_the_example_is_searched_trained_in_full_exported_and_trained_again(
    tuneoff: Any, read_ledger: Any
) -> None:
    for file in EXAMPLE.glob("*.[pt][yo]*"):
        shutil.copy(file, tuneoff.folder)
    changes = [word for change in (*SHORT, ENSEMBLE) for word in ("--set", change)]
    said = tuneoff("run", "study.toml", *changes, "--workers", "2", limit=200).text
    assert "test error" in said
    ended = {(row.search, row.end) for row in read_ledger(tuneoff.storage).attempts()}
    assert ("own-loop/ensemble", "finished") in ended
    assert "Report:" in said
    compared = json.loads("".join(tuneoff("compare", "own-loop", "--json").out))
    assert "test_error" in json.dumps(compared)
    assert compared["results"]["ensemble"]["test_error"] < 0.5
    shown = tuneoff("show", "own-loop", "full#0").text
    assert "epochs = 3" in shown
    assert "test" in shown
    tuneoff("export", "own-loop", "-o", "best.toml")
    exported = (tuneoff.folder / "best.toml").read_text()
    assert 'trainer = "mytrain:train"' in exported
    assert "hyperparams" not in exported
    again = tuneoff("train", "best.toml", "--threads", "1", TUNEOFF_ALLOW="mytrain").text
    assert "mytrain:train for 3 epochs" in again
    assert "This is exactly what it was in the study." in again
    # Code that has changed is other code.
    with (tuneoff.folder / "mytrain.py").open("a") as file:
        file.write("# changed\n")
    refused = tuneoff("worker", "own-loop", "--allow", "mytrain", code=2).text
    assert "the code of mytrain:train is not that with which it was created" in refused


TRAIN = """
import os, pathlib, time

LOG, HUNG = pathlib.Path("log"), pathlib.Path("hung")

def train(params, context):
    done = context.resume or 0
    assert done == context.done
    for epoch in context.remaining:
        time.sleep(1.5)  # longer than the grace time, without a word
        if epoch == 3 and context.seed % 2 == int(params["odd"]) and not HUNG.exists():
            HUNG.touch()
            time.sleep(1000)
        context.save(epoch)
        with LOG.open("a") as log:
            log.write(f"{context.folder.parent} {epoch} {os.getpid()}\\n")
        context.report(epoch, 0.5 / epoch, test=0.25)
"""
STUDY = """
name = "killed"
repeats = 1
[trial]
trainer = "slowly:train"
epochs = 4
[space]
odd = [true, false]
x = { low = 1, high = 9 }
[budget]
epochs = 8
[arms.hand]
configs = [{ odd = true, x = 1 }, { odd = false, x = 2 }]
[workers]
grace_seconds = 1.0
epoch_seconds = 5.0
"""


def test_killed_and_hung_workers_lose_nothing_and_nothing_is_run_twice(
    tuneoff: Any, read_ledger: Any, until: Any
) -> None:
    (tuneoff.folder / "slowly.py").write_text(TRAIN)
    (tuneoff.folder / "study.toml").write_text(STUDY)
    log = tuneoff.folder / "log"
    running = tuneoff.start("run", "study.toml", "--workers", "2")
    until(lambda: log.exists() and log.read_text().count("\n") >= 1, "an epoch")
    time.sleep(0.3)  # its report is entered, and the next epoch is not over
    os.kill(int(log.read_text().split()[2]), signal.SIGKILL)
    assert running.wait(120) == 0, running.text
    trained = Counter(line.rsplit(" ", 1)[0] for line in log.read_text().splitlines())
    assert len(trained) == 8
    assert set(trained.values()) == {1}
    rows = read_ledger(tuneoff.storage).attempts()
    assert sum(row.epochs for row in rows) == 8
    assert Counter(row.end for row in rows) == {"finished": 2, "lost": len(rows) - 2}
    assert len(rows) >= 3
    reasons = [row.reason or "" for row in rows]
    hung = (tuneoff.folder / "hung").exists()
    assert any("hung" in reason for reason in reasons) == hung


def test_a_run_in_which_every_trial_failed_says_why_and_is_a_failure(tuneoff: Any) -> None:
    loop = 'def train(params, context):\n    context.report(1, "good")\n'
    (tuneoff.folder / "slowly.py").write_text(loop)
    (tuneoff.folder / "study.toml").write_text(STUDY)
    once = ("--set", "workers.max_attempts=1")
    said = tuneoff("run", "study.toml", *once, "--workers", "1", code=1)
    assert "Nothing to compare: every trial failed (2 trials)" in said.text
    assert "Error: every trial failed; the last: killed/hand/0#1: " in said.err[-1]
    assert "slowly:train reported 'good' as the value of epoch 1; report a number" in said.err[-1]


def test_a_node_that_lacks_the_module_says_so_with_its_name(
    make_tuneoff: Any, postgres_url: str, slurm_cluster: Any, until: Any
) -> None:
    """As Slurm starts a worker on a node, and as Ray does."""
    tuneoff = make_tuneoff(postgres_url)
    module = tuneoff.folder / "slowly.py"
    module.write_text(TRAIN)
    (tuneoff.folder / "study.toml").write_text(STUDY)
    tuneoff("create", "study.toml")
    module.unlink()
    why = (
        f'trial.trainer = "slowly:train": there is no module slowly here (on {gethostname()}, in '
        f"{tuneoff.folder}); start in the folder that has slowly.py, or install it"
    )

    words = ("launch", "killed", "--on", "slurm", "--workers", "1", "--allow", "slowly")
    tuneoff(*words, **slurm_cluster.environment)
    until(lambda: slurm_cluster.told("101").startswith("ENDED"), "the end", 120)
    assert slurm_cluster.told("101") == "ENDED 2"
    assert slurm_cluster.runs("101") == 1
    logs = [path for path in tuneoff.work.rglob("*") if path.is_file()]
    texts = [path.read_text(errors="replace") for path in logs]
    assert any(why in text for text in texts), texts
    assert not any("Traceback" in text for text in texts)

    command = ("killed", "--allow", "slowly", "--work", str(tuneoff.work))
    log = tuneoff.folder / "ray-0.log"
    job = JobSpec(command, postgres_url, tuneoff.folder, log, Resources(1, 0.0))
    assert WorkerActor(job).run() == Exit(2, why)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"trainer": '"nowhere:train"'}, "there is no module nowhere here"),
        ({"trainer": '"slowly:other"'}, "slowly has no other"),
        ({"trainer": '"slowly.train"'}, "is no reference; write it as"),
        ({"batch_size": "64"}, "batch_size is for tuneoff's own trainer"),
        ({"params": "{ seed = 3 }"}, "seed is refused as a parameter's name"),
    ],
)
def test_what_can_be_known_is_said_when_the_study_is_created(
    tuneoff: Any, inside: Any, changed: dict[str, str], said: str
) -> None:
    (tuneoff.folder / "slowly.py").write_text(TRAIN)
    (tuneoff.folder / "study.toml").write_text(STUDY)
    changes = [word for key, value in changed.items() for word in ("--set", f"trial.{key}={value}")]
    done = inside(tuneoff, "create", "study.toml", *changes, code=2)
    assert said in done.text.replace("\n", " ")
    assert len(done.err) == 1
