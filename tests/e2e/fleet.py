"""Worker processes to be killed: the real loop on a real database, with a trainer of nothing.

As a script this is a nursery. It has imported all that a worker needs; for each order, one line of
JSON on its standard input, it forks a worker, and says on its standard output who was born and who
died of what. When its input ends, it kills those that are left.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import logging
import os
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import optuna

from tuneoff.search.errors import SearchError, StorageOutage
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.database import Database, open_database
from tuneoff.search.study.opening import create_study, open_study
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work import claim as claims
from tuneoff.search.work import trial as trials
from tuneoff.search.work import worker as workers
from tuneoff.search.work.signals import Stop
from tuneoff.testing import CurveTrainer
from tuneoff.trainer.contract import Task
from tuneoff.trainer.errors import Diverged, TrainerError

TASK = Task(
    classes=tuple("0123456789"), sizes={"train": 80, "validation": 20, "test": 0}, digest="d" * 64
)
BATCHES = 2  # in an epoch
OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of "
    "which 1.19 GiB is free."
)


@dataclass(frozen=True)
class Fault:
    """What is to befall a worker, and when.

    Attributes:
        at: a point: "before epoch", "in epoch", "before checkpoint", "in checkpoint" and "after
            checkpoint" in the trainer; "before NAME" and "after NAME" of the functions in
            ``_wrap_search``; "claim write" after each write of the worker's first claims.
        do: see ``Mishaps.befall``.
        nth: at which passing of that point; 0: at every one.
        trial: only in trials whose folder ends so.
    """

    at: str
    do: str
    nth: int = 1
    trial: str = ""


@dataclass(frozen=True)
class Order:
    """What a worker is to do.

    Attributes:
        diary: the file to which workers append what they do.
        log: the file for its output.
        spec: values of a study file to create the study from; None: it is there.
        epoch_seconds: how long an epoch takes.
        torch: with the real trainer's checkpoints, not with JSON files.
        skew: seconds by which its clock is ahead.
        zone: its time zone, for Postgres's client too.
        elsewhere: as if on another machine: nobody can see whether its process lives.
        patience: see Database.
    """

    url: str
    name: str
    work: str
    diary: str
    log: str
    spec: Mapping[str, Any] | None = None
    faults: Sequence[Fault] = ()
    epoch_seconds: float = 0.02
    torch: bool = False
    skew: float = 0.0
    zone: str = ""
    elsewhere: bool = False
    patience: float = 120.0

    @classmethod
    def parse(cls, line: bytes) -> Order:
        values = json.loads(line)
        return cls(**values | {"faults": [Fault(**fault) for fault in values["faults"]]})


@dataclass
class Diary:
    """One line of JSON for each thing that happened, in one file for all processes."""

    path: Path

    def note(self, what: str, **facts: Any) -> None:
        line = json.dumps({"what": what, "pid": os.getpid(), **facts}) + "\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode())
            os.fsync(file)
        finally:
            os.close(file)


@dataclass
class Mishaps:
    """Makes faults happen at the points that a worker passes."""

    faults: Sequence[Fault]
    diary: Diary
    passed: Counter[Fault] = field(default_factory=Counter)

    def point(self, name: str, folder: Path | None = None, epoch: int = 0) -> None:
        for fault in self.faults:
            if fault.at != name or not str(folder or "").endswith(fault.trial):
                continue
            self.passed[fault] += 1
            if fault.nth in (0, self.passed[fault]):
                self.diary.note("fault", at=name, do=fault.do)
                self.befall(fault.do, folder, epoch)

    def befall(self, do: str, folder: Path | None, epoch: int) -> None:
        if do == "hang":
            while True:
                time.sleep(3600)
        if do == "raise":
            raise ValueError("odd shape\nand more of it")
        if do == "out of memory":
            raise RuntimeError(OUT_OF_MEMORY)
        if do == "diverge":
            self.diary.note("trained", trial=_key(folder), epoch=epoch)  # it is paid for
            raise Diverged(epoch)
        if do == "disk full":
            Path.replace = _fail_once(Path.replace)  # type: ignore[assignment, method-assign]
            return
        for name in do.split():  # signals, in this order
            os.kill(os.getpid(), signal.Signals[f"SIG{name}"])


def _key(folder: Path | None) -> str:
    """ARM/REPEAT/NUMBER."""
    assert folder is not None
    return "/".join(folder.parts[-3:])


def _fail_once(replace: Callable[..., Path]) -> Callable[..., Path]:
    """As if the disk were full at the end of the next file that is written aside."""

    def full(path: Path, target: Path) -> Path:
        Path.replace = replace  # type: ignore[assignment, method-assign]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    return full


class Scripted(CurveTrainer):
    """A trainer of nothing that passes the points at which faults may happen."""

    def __init__(self, order: Order, diary: Diary, point: Callable[..., None]) -> None:
        super().__init__(at=self._pass, batches=BATCHES, seconds=order.epoch_seconds)
        self._order, self._diary, self._point = order, diary, point
        self._begun: tuple[Path, int] | None = None

    def _pass(self, name: str, folder: Path, epoch: int) -> None:
        if name == "epoch":
            self._begun = None
            self._point("before epoch", folder, epoch)
        elif name == "batch":
            if self._begun != (folder, epoch):
                self._begun = (folder, epoch)
                saved = self.newest(folder)
                done = saved is not None and not saved.stem.endswith("-00000000")
                self._diary.note("goes on" if done else "begins", trial=_key(folder), epoch=epoch)
            self._point("in epoch", folder, epoch)
            time.sleep(self._order.epoch_seconds / BATCHES)
        elif name == "checkpoint":
            self._point("before checkpoint", folder, epoch)
            self._diary.note("trained", trial=_key(folder), epoch=epoch)
        elif name == "in checkpoint":
            self._point("in checkpoint", folder, epoch)
        elif name == "checkpoint written":
            self._point("after checkpoint", folder, epoch)

    def newest(self, checkpoints: Path) -> Path | None:
        if not self._order.torch:
            return super().newest(checkpoints)
        from tuneoff.trainer import checkpoint

        return checkpoint.newest(checkpoints)

    def load(self, folder: Path, run: Any) -> tuple[list[dict[str, Any]], int]:
        if not self._order.torch:
            return super().load(folder, run)
        from tuneoff.trainer import checkpoint

        saved = checkpoint.load_newest(folder, {"run": run})
        return (saved.records, saved.batch) if saved else ([], 0)

    def save(self, folder: Path, run: Any, records: list[dict[str, Any]], batch: int) -> None:
        if not self._order.torch:
            super().save(folder, run, records, batch)
            return
        import torch

        from tuneoff.trainer import checkpoint

        state = checkpoint.Checkpoint(
            run={"run": run}, about={}, model={"weight": torch.zeros(8)}, average=None,
            optimizer={}, schedule={}, accumulation=1, epoch=len(records), batch=batch,
            loss_sum=0.0, images_seen=0, seconds=0.0, records=records,
        )  # fmt: skip
        checkpoint.save(folder, state)


def _wrap_search(point: Callable[..., None]) -> Callable[[Database], None]:
    """Make points of this process's calls in ``search``; returns what does so for a database."""
    claiming = [False]

    def wrap(owner: Any, name: str, *, writes: bool = False) -> None:
        inner = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            point(f"before {name}")
            answer = inner(*args, **kwargs)
            point(f"after {name}")
            if writes and claiming[0]:
                point("claim write")
            return answer

        setattr(owner, name, wrapped)

    module: Any = workers
    inner_claim = module.claim

    def claim(*args: Any, **kwargs: Any) -> Any:
        claiming[0] = True
        point("before claim")
        answer = inner_claim(*args, **kwargs)
        claiming[0] = False
        if isinstance(answer, claims.Claim):
            point("after resuming claim" if answer.before is not None else "after claim")
        return answer

    module.claim = claim
    wrap(trials, "record")
    for name in ("report", "tell"):
        wrap(TrialRef, name)
    for name in ("insert", "resumed_from", "progress", "touch", "diverged", "close"):
        wrap(attempts, name, writes=True)

    def wrap_storage(database: Database) -> None:
        for name in ("create_new_trial", "set_trial_state_values", "set_trial_user_attr"):
            wrap(database.optuna, name, writes=True)

    return wrap_storage


def _shift_clocks(seconds: float, zone: str) -> None:
    """Set this process's clocks wrong, as far as it asks for them in Python."""
    if zone:
        os.environ["TZ"] = os.environ["PGTZ"] = zone
        time.tzset()
    if not seconds:
        return
    right = time.time
    time.time = lambda: right() + seconds

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=seconds)

    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        if name.split(".")[0] in ("tuneoff", "optuna") and vars(module).get("datetime") is datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]


def work(order: Order) -> int:
    """Be a worker; the exit code is ``tuneoff worker``'s."""
    _shift_clocks(order.skew, order.zone)
    diary = Diary(Path(order.diary))
    mishaps = Mishaps(order.faults, diary)
    wrap_storage = _wrap_search(mishaps.point)
    trainer = Scripted(order, diary, mishaps.point)
    me = Worker.here("cpu")
    if order.elsewhere:
        me = replace(me, process="")
    with Stop() as stop:
        try:
            study = _study(order, stop)
            study.ledger.step(wrap_storage, study.database)
            workers.work(study, study.arms, trainer, me, stop)
        except (SearchError, TrainerError) as error:
            print(f"Error: {error}", flush=True)
            outage = isinstance(error, StorageOutage)
            return 128 + stop.signal if stop.signal and outage else 1
    return 128 + stop.signal if stop.signal else 0


def _study(order: Order, stop: Callable[[], bool] = lambda: False) -> Study:
    create = order.spec is not None
    database = open_database(order.url, create=create, patience=order.patience, stop=stop)
    if order.spec is None:
        return open_study(database, order.name, Path(order.work))
    return create_study(database, StudySpec.parse(order.spec, "order"), TASK, Path(order.work))


@contextmanager
def _newborn(order: Order) -> Generator[None, None, None]:
    """Make this fork of the nursery a process of its own; it ends with the block."""
    code = 1
    try:
        log_file = os.open(order.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for file, number in ((null, 0), (log_file, 1), (log_file, 2)):
            os.dup2(file, number)
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
        yield
        code = 0
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        logging.exception("the worker crashed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _rehearse() -> None:
    """Import what is imported at first use, so that no worker has to."""
    with contextlib.suppress(ImportError):
        import psycopg  # noqa: F401
    values = {
        "name": "rehearsal",
        "data": {"name": "digits"},
        "trial": {"epochs": 1},
        "space": {"lr": {"low": 0.1, "high": 1.0}},
        "budget": {"epochs": 1},
        "arms": {"random": {"sampler": "random"}},
        "repeats": 1,
    }
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tuneoff.db"
        diary, log = f"{folder}/diary", f"{folder}/log"
        order = Order(url, "rehearsal", work=folder, diary=diary, log=log, spec=values)
        study = _study(order)
        trainer = Scripted(order, Diary(Path(order.diary)), lambda *_: None)
        workers.work(study, study.arms, trainer, Worker.here("cpu"), lambda: False)
        study.database.close()


def _say(**facts: Any) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def main() -> NoReturn:
    """Be the nursery."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Workers inherit it, from their first moment until Stop hears the signal.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _rehearse()
    gc.freeze()
    children: set[int] = set()
    buffer = b""
    try:
        while True:
            if select.select([0], [], [], 0.02)[0]:
                read = os.read(0, 1 << 16)
                if not read:
                    sys.exit(0)
                *lines, buffer = (buffer + read).split(b"\n")
                for line in lines:
                    order = Order.parse(line)
                    if order.torch:
                        importlib.import_module("tuneoff.trainer.checkpoint")
                    if (pid := os.fork()) == 0:
                        with _newborn(order):
                            sys.exit(work(order))
                    children.add(pid)
                    _say(born=pid)
            while children:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                children.discard(pid)
                _say(died=pid, code=os.waitstatus_to_exitcode(status))
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
