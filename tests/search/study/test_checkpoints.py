"""Two machines, with a database and an artifact store between them and no folder in common."""

from __future__ import annotations

import errno
import io
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from optuna.trial import TrialState

from tuneoff.retry import Patience
from tuneoff.search.errors import ArtifactError, ArtifactOutage, LeaseLost, StudyError
from tuneoff.search.policies.base import Decision
from tuneoff.search.store import attempts
from tuneoff.search.store.artifacts import Artifacts
from tuneoff.search.store.attempts import End
from tuneoff.search.store.attributes import ENSEMBLE
from tuneoff.search.study.checkpoints import Uploads, keep, read_scores
from tuneoff.search.study.opening import MARK, check_artifacts, create_study, open_study
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work.claim import Claim, claim
from tuneoff.search.work.outcome import Completed, Interruption, Paused, Pruned
from tuneoff.search.work.promote import advance, is_promoted
from tuneoff.search.work.trial import run_trial
from tuneoff.search.work.worker import work

EPOCHS = 6


class Killed(BaseException):
    """What SIGKILL does: nothing more is written."""


@dataclass
class Machine:
    """A study as one machine sees it, and its trainer."""

    study: Study
    trainer: Any

    def claim(self, worker: Any) -> Claim:
        found = claim(self.study, self.study.arms[0], worker)
        assert isinstance(found, Claim)
        return found

    def files(self) -> list[str]:
        return sorted(p.name for p in self.study.work.rglob("*") if p.is_file())


@pytest.fixture(params=["folder", "bucket"])
def store_url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


def at(point: str, do: Callable[[Path, int], None]) -> Callable[[str, Path, int], None]:
    """A trainer's hook that does something at one point."""
    return lambda name, folder, epoch: do(folder, epoch) if name == point else None


def in_batch(number: int, do: Callable[[], object]) -> Callable[[Path, int], None]:
    """Does something in a run's batch of this number."""

    def act(folder: Path, batch: int) -> None:
        if batch == number:
            do()

    return act


@pytest.fixture
def swift_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload takes less than an epoch: each ends before training goes on."""
    put = Uploads.put

    def and_wait(self: Uploads) -> None:
        put(self)
        self.flush(lambda: False)

    monkeypatch.setattr(Uploads, "put", and_wait)


@pytest.fixture
def machines(
    sqlite_database: Any, make_study: Any, make_trainer: Any, tmp_path: Path, store_url: str,
    swift_uploads: None,
) -> Callable[..., tuple[Machine, ...]]:  # fmt: skip
    """Machines of one study, each with a folder of its own: machines(2, budget=...)."""

    def make(count: int, **changes: Any) -> tuple[Machine, ...]:
        values = {"trial": {"epochs": EPOCHS}, "budget": {"epochs": EPOCHS}, **changes}
        workers = {"artifacts": store_url, **values.pop("workers", {})}
        study = make_study(sqlite_database, workers=workers, **values)
        return tuple(
            Machine(
                open_study(sqlite_database, study.name, tmp_path / f"machine-{i}"),
                replace(make_trainer(), root=tmp_path / f"machine-{i}"),
            )
            for i in range(count)
        )

    return make


@pytest.fixture
def stored(store_url: str, s3_server: Any) -> Callable[[Study], list[str]]:
    """The keys that a store has of a study, without its mark."""

    def keys(study: Study) -> list[str]:
        if store_url.startswith("file:"):
            root = Path(unquote(urlsplit(store_url).path))
            found = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
        else:
            listed = s3_server.client().list_objects_v2(Bucket=urlsplit(store_url).netloc)
            found = [e["Key"].removeprefix("some/prefix/") for e in listed.get("Contents", [])]
        mine = sorted(k for k in found if k.startswith(study.folder.name))
        assert f"{study.folder.name}/{MARK}" in mine
        return [k.removeprefix(f"{study.folder.name}/") for k in mine if not k.endswith(MARK)]

    return keys


def trained(machine: Machine) -> list[int]:
    """The epochs that all machines trained, one trial's."""
    return sorted(epoch for _, epoch in machine.trainer.trained().elements())


def ledger(machine: Machine) -> list[tuple[int, int]]:
    """(from_epoch, epochs) of each attempt at the first trial."""
    rows = attempts.read(machine.study.database, [machine.study.arms[0].name])
    return [(row.from_epoch, row.epochs) for row in sorted(rows, key=lambda r: r.number)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "again", "unpaid"),
    [
        # What A had done, when it was killed in its fourth epoch, that B cannot know of.
        ("epoch", [], 0),
        ("checkpoint", [], 0),
        ("checkpoint written", [4], 1),  # in the folder alone: as if killed within the epoch
        ("before the upload", [4], 0),
        ("after the upload", [], 0),
    ],
)
def test_another_machine_goes_on_from_the_store(
    machines: Any, doomed: Any, me: Any, never: Any, stored: Any,
    step: str, again: list[int], unpaid: int,
) -> None:  # fmt: skip
    a, b = machines(2)
    counts: dict[str, int] = {}

    def reach(name: str) -> None:
        counts[name] = counts.get(name, 0) + 1
        if name == step and counts[name] == 4:
            raise Killed

    a.trainer.at = lambda point, folder, epoch: reach(point)
    put = type(a.study.artifacts).put

    def watched(self: Any, key: str, path: Path, tick: Any) -> None:
        reach("before the upload")
        put(self, key, path, tick)
        reach("after the upload")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(a.study.artifacts), "put", watched)
        mine = a.claim(doomed)
        with pytest.raises(Killed):
            run_trial(mine, a.trainer, never)

    assert isinstance(run_trial(b.claim(me), b.trainer, never), Completed)
    assert trained(b) == sorted([*range(1, EPOCHS + 1), *again])
    assert sum(paid for _, paid in ledger(b)) == len(trained(b)) - unpaid
    (trial,) = b.study.trials(b.study.arms[0])
    run = TrialRef(b.study, b.study.arms[0], trial).run
    curve = {e: b.trainer.error(run.params, run.seed, e) for e in range(1, EPOCHS + 1)}
    assert trial.intermediate_values == curve
    # A finished search trial leaves nothing behind; what A had goes when A next looks.
    assert stored(b.study) == []
    assert b.files() == []
    assert a.files() != []
    work(a.study, a.study.arms, a.trainer, me, never)
    assert a.files() == []


@pytest.mark.slow
def test_who_is_asked_to_leave_hands_over_what_it_has(
    machines: Any, me: Any, never: Any, stored: Any
) -> None:
    a, b, c = machines(3)
    for machine, last in ((a, 3), (b, 5)):
        asked = threading.Event()
        machine.trainer.at = at("batch", in_batch(last, asked.set))
        outcome = run_trial(machine.claim(me), machine.trainer, asked.is_set)
        assert isinstance(outcome, Interruption)
        assert outcome.fatal is None
    assert isinstance(run_trial(c.claim(me), c.trainer, never), Completed)
    assert trained(c) == list(range(1, EPOCHS + 1))
    assert [start for start, _ in ledger(c)] == [0, 2, 4]
    assert sum(paid for _, paid in ledger(c)) == EPOCHS


@pytest.mark.slow
def test_a_run_paused_here_is_resumed_there(
    machines: Any, me: Any, never: Any, stored: Any
) -> None:
    a, b = machines(2)

    class Pause:
        stops = True

        def after(self, history: Any, trial: Any) -> Decision:
            done = max(trial.intermediate_values)
            return Decision.PAUSE if done in (2, 4) else Decision.CONTINUE

        def next(self, history: Any) -> Any:
            from tuneoff.search.policies.base import ResumeTrial

            return ResumeTrial(0, EPOCHS) if history.paused else None

    first = a.claim(me)
    policy: Any = Pause()
    search = replace(first.trial.search, make_policy=lambda: policy)
    first = replace(first, trial=replace(first.trial, search=search))
    assert run_trial(first, a.trainer, never) == Paused()
    assert stored(a.study) == ["random/0/00000/0/checkpoint"]
    for machine, outcome in ((b, Paused()), (a, None)):
        found = claim(machine.study, search, me)
        assert isinstance(found, Claim)
        ended = run_trial(found, machine.trainer, never)
        assert ended == outcome or (outcome is None and isinstance(ended, Completed))
    assert trained(a) == list(range(1, EPOCHS + 1))
    assert ledger(a) == [(0, 2), (2, 2), (4, 2)]
    assert stored(a.study) == []


@pytest.mark.slow
def test_only_the_newest_and_the_one_before_are_kept(
    machines: Any, doomed: Any, never: Any, stored: Any
) -> None:
    fleet = machines(4, trial={"epochs": 9}, budget={"epochs": 9})
    for machine in fleet:
        left = iter(range(2))

        def die(folder: Path, epoch: int, left: Any = left) -> None:
            if next(left, None) is None:
                raise Killed

        machine.trainer.at = at("epoch", die)
        with pytest.raises(Killed):
            run_trial(machine.claim(doomed), machine.trainer, never)
    assert [start for start, _ in ledger(fleet[0])] == [0, 2, 4, 6]
    assert stored(fleet[0].study) == [f"random/0/00000/{n}/checkpoint" for n in (2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["cut", "empty", "foreign"])
def test_a_damaged_object_falls_back_to_the_attempt_before(
    machines: Any, doomed: Any, me: Any, never: Any, damage: str
) -> None:
    a, b, c = machines(3)
    for machine, count in ((a, 2), (b, 3)):
        left = iter(range(count))

        def die(folder: Path, epoch: int, left: Any = left) -> None:
            if next(left, None) is None:
                raise Killed

        machine.trainer.at = at("epoch", die)
        last = machine.claim(doomed)
        with pytest.raises(Killed):
            run_trial(last, machine.trainer, never)
    store = c.study.artifacts
    folder = last.trial.folder.relative_to(last.trial.study.work)
    key = f"{store.prefix}{folder.as_posix()}/1/checkpoint"
    with closing(store.store.open_reader(key)) as reader:
        whole = reader.read()
    bad = {"cut": whole[:-5], "empty": b"", "foreign": b"\x89PNG" + whole}[damage]
    store.store.write(key, io.BytesIO(bad))
    assert isinstance(run_trial(c.claim(me), c.trainer, never), Completed)
    # Epochs 3 to 5 are lost with the object, and the ledger says so.
    assert ledger(c) == [(0, 2), (2, 3), (2, 4)]
    assert trained(c) == [1, 2, 3, 3, 4, 4, 5, 5, 6]


@pytest.mark.slow
def test_a_stalled_worker_overwrites_nothing_of_its_successors(
    age: Any, machines: Any, me: Any, never: Any, stored: Any, reopen: Any
) -> None:
    a, b, c = machines(3)
    hanging, go = threading.Event(), threading.Event()

    def hang(folder: Path, epoch: int) -> None:
        if epoch == 3:
            hanging.set()
            assert go.wait(60)

    a.trainer.at = at("batch", hang)
    mine = a.claim(me)
    stalled = replace(a.study, database=reopen(a.study.database))
    stalling = replace(mine, trial=replace(mine.trial, study=stalled))
    outcome: list[Any] = []

    def stall() -> None:
        try:
            outcome.append(run_trial(stalling, a.trainer, never))
        except LeaseLost as error:
            outcome.append(error)
        stalled.database.optuna.remove_session()

    thread = threading.Thread(target=stall)
    thread.start()
    assert hanging.wait(60)
    age(b.study.database, mine.attempt, 2 * b.study.spec.workers.grace_seconds)
    theirs = claim(b.study, mine.trial.search, me)
    assert isinstance(theirs, Claim)
    assert thread.is_alive()
    left = iter(range(2))

    def stop_after_two(folder: Path, epoch: int) -> None:
        if next(left, None) is None:
            raise Killed

    b.trainer.at = at("epoch", stop_after_two)
    with pytest.raises(Killed):
        run_trial(theirs, b.trainer, never)
    before = stored(b.study)
    go.set()
    thread.join(60)
    assert [type(found) for found in outcome] == [LeaseLost]
    # The stalled worker's own third epoch is in its folder and nowhere else.
    assert stored(b.study) == before == [f"random/0/00000/{n}/checkpoint" for n in (0, 1)]
    folder = mine.trial.folder.relative_to(a.study.work)
    path = c.study.artifacts.get(f"{folder.as_posix()}/1/checkpoint", c.study.work)
    assert path is not None
    assert path.name == "000004-00000000.json"


@pytest.mark.slow
def test_a_store_that_is_gone_releases_the_trial_and_says_so(
    machines: Any, me: Any, never: Any, store_url: str, s3_server: Any
) -> None:
    a, b = machines(2)

    def lose(folder: Path, epoch: int) -> None:
        if epoch != 3:
            return
        if store_url.startswith("file:"):
            root = Path(unquote(urlsplit(store_url).path))
            shutil.move(root, root.with_name("gone"))
        else:
            s3_server.stop()

    a.trainer.at = at("batch", lose)
    a.study.__dict__["artifacts"] = replace(a.study.artifacts, patience=Patience(0.5))
    outcome = run_trial(a.claim(me), a.trainer, never)
    assert isinstance(outcome, Interruption)
    assert isinstance(outcome.fatal, ArtifactOutage)
    assert "could not be reached for" in outcome.reason
    (row,) = attempts.read(a.study.database, [a.study.arms[0].name])
    assert (row.end, row.reason, row.epochs) == ("released", outcome.reason, 3)
    with pytest.raises(ArtifactOutage):
        work(a.study, a.study.arms, a.trainer, me, never)
    # It comes back: the third epoch was in A's folder alone.
    if store_url.startswith("file:"):
        root = Path(unquote(urlsplit(store_url).path))
        shutil.move(root.with_name("gone"), root)
    else:
        s3_server.start()
    assert isinstance(run_trial(b.claim(me), b.trainer, never), Completed)
    assert trained(b) == [1, 2, 3, 3, 4, 5, 6]
    assert sum(paid for _, paid in ledger(b)) == 7


@pytest.mark.slow
def test_a_bucket_that_is_deleted_releases_the_trial_at_once(
    bucket_url: str, s3_server: Any, sqlite_database: Any, make_study: Any, make_trainer: Any,
    me: Any, never: Any, swift_uploads: None,
) -> None:  # fmt: skip
    study = make_study(sqlite_database, workers={"artifacts": bucket_url})
    bucket = urlsplit(bucket_url).netloc

    def lose(folder: Path, epoch: int) -> None:
        client = s3_server.client()
        for entry in client.list_objects_v2(Bucket=bucket).get("Contents", []):
            client.delete_object(Bucket=bucket, Key=entry["Key"])
        client.delete_bucket(Bucket=bucket)

    with pytest.raises(ArtifactError, match="there is no such bucket; make it"):
        work(study, study.arms, make_trainer(during=lose), me, never)
    (row,) = attempts.read(sqlite_database, [study.arms[0].name])
    assert row.end == "released"
    assert "there is no such bucket" in str(row.reason)


@pytest.mark.slow
def test_what_was_promoted_here_is_combined_there(
    machines: Any, me: Any, never: Any, stored: Any, doomed: Any
) -> None:
    a, b = machines(
        2,
        promote={"top": 1, "seeds": 1, "epochs": 3},
        ensemble={"members": [{"model": "proxy"}, {"model": "proxy-dense"}]},
    )
    done = work(a.study, a.study.searches, a.trainer, me, never, lambda: step(a))
    assert done.stopped is False
    assert b.files() == []
    assert not is_promoted(b.study)
    work(b.study, b.study.searches, b.trainer, me, never, lambda: advance(b.study, b.trainer))
    assert is_promoted(b.study)
    table = ENSEMBLE.of(b.study.optuna_study(b.study.ensemble))
    assert len(table.members) == 2
    for trial in b.study.trials(b.study.ensemble):
        assert trial.state == TrialState.COMPLETE
        scores = read_scores(TrialRef(b.study, b.study.ensemble, trial), "test", b.trainer)
        assert scores.error == table.members[trial.number].test_error
    assert {key.rsplit("/", 1)[1] for key in stored(b.study)} == {
        "checkpoint",
        "validation.npz",
        "test.npz",
    }


def step(machine: Machine) -> bool:
    """``advance``, but for what comes after the members are trained."""
    from tuneoff.search.work.promote import enqueue_full, enqueue_members

    return bool(enqueue_full(machine.study) or enqueue_members(machine.study))


class TestSlowStore:
    """Uploads that take longer than epochs."""

    @dataclass
    class Gate:
        """Holds uploads up before they begin."""

        open: threading.Event = field(default_factory=threading.Event)
        reached: threading.Event = field(default_factory=threading.Event)
        held_from: int = 1
        begun: int = 0

        def wait(self) -> None:
            self.begun += 1
            if self.begun >= self.held_from:
                self.reached.set()
                assert self.open.wait(60)

    @pytest.fixture
    def gate(self, monkeypatch: pytest.MonkeyPatch) -> TestSlowStore.Gate:
        gate, put = self.Gate(), Artifacts.put

        def held_up(self: Artifacts, key: str, *rest: Any, **options: Any) -> None:
            if key.endswith("checkpoint"):
                gate.wait()
            put(self, key, *rest, **options)

        monkeypatch.setattr(Artifacts, "put", held_up)
        return gate

    @pytest.fixture
    def study(self, sqlite_database: Any, make_study: Any, folder_url: str) -> Any:
        return make_study(
            sqlite_database,
            trial={"epochs": EPOCHS},
            budget={"epochs": 4 * EPOCHS},
            workers={"artifacts": folder_url},
        )

    def claimed(self, study: Any, me: Any, policy: Any = None) -> Claim:
        found = claim(study, study.arms[0], me)
        assert isinstance(found, Claim)
        search = replace(
            found.trial.search, make_policy=lambda: policy or found.trial.search.policy
        )
        return replace(found, trial=replace(found.trial, search=search))

    def test_training_is_not_held_up(
        self, gate: Gate, study: Any, make_trainer: Any, me: Any, never: Any
    ) -> None:
        """All epochs are trained, entered and reported while the first upload lasts."""
        ended: list[Any] = []

        def at_the_end(point: str) -> None:
            ended.append(point)
            if ended.count("checkpoint written") == EPOCHS:
                gate.open.set()

        trainer = make_trainer(step=at_the_end)
        mine = self.claimed(study, me)
        assert isinstance(run_trial(mine, trainer, never), Completed)
        # The first checkpoint, and the newest when that was stored: those between never were.
        assert gate.begun == 2

    @pytest.mark.slow
    @pytest.mark.parametrize("end", ["paused", "released"])
    def test_what_others_rely_on_is_stored_before_the_ledger_says_so(
        self, gate: Gate, study: Any, make_trainer: Any, me: Any, monkeypatch: Any,
        tmp_path: Path, end: str,
    ) -> None:  # fmt: skip
        asked = threading.Event()

        class Pause:
            stops = True

            def after(self, history: Any, trial: Any) -> Decision:
                if max(trial.intermediate_values) < 4:
                    return Decision.CONTINUE
                threading.Timer(0.5, gate.open.set).start()
                asked.set()
                return Decision.PAUSE if end == "paused" else Decision.CONTINUE

        mine = self.claimed(study, me, Pause())
        close = attempts.close

        def watched(database: Any, attempt: Any, how: End, reason: Any) -> None:
            elsewhere = tmp_path / "elsewhere"
            key = mine.trial.folder.relative_to(study.work) / "0" / "checkpoint"
            stored = study.artifacts.get(key.as_posix(), elsewhere)
            assert stored is not None
            assert stored.name == make_trainer().newest(mine.trial.folder).name
            close(database, attempt, how, reason)

        monkeypatch.setattr(attempts, "close", watched)
        run_trial(mine, make_trainer(), asked.is_set if end == "released" else lambda: False)
        (row,) = attempts.read(study.database, [study.arms[0].name])
        assert (row.end, row.epochs) == (end, 4)

    @pytest.mark.slow
    def test_a_kill_loses_what_was_not_stored_yet(
        self, gate: Gate, study: Any, make_trainer: Any, doomed: Any, me: Any, never: Any,
        tmp_path: Path,
    ) -> None:  # fmt: skip
        """The first checkpoint is stored; the second is on its way, the newest one waits."""
        gate.held_from = 2

        def die(folder: Path, epoch: int) -> None:
            if epoch == 2:
                wait_until(lambda: gate.begun == 1 and stored_in(study) == ["000001-00000000.json"])
            if epoch == 5:
                assert gate.reached.wait(60)
                # Only now: what is on its way when a process is killed does not arrive.
                threading.Timer(0.2, gate.open.set).start()
                raise Killed

        with pytest.raises(Killed):
            run_trial(self.claimed(study, doomed), make_trainer(fails=die), never)
        gate.held_from = 99
        b = open_study(study.database, study.name, tmp_path / "machine-b")
        trainer = replace(make_trainer(), root=b.work)
        outcome = run_trial(self.claimed(b, me), trainer, never)
        assert isinstance(outcome, Completed)
        rows = attempts.read(study.database, [study.arms[0].name])
        assert [(row.from_epoch, row.epochs) for row in rows] == [(0, 4), (1, EPOCHS - 1)]

    @pytest.mark.slow
    def test_a_worker_whose_store_hangs_does_not_keep_its_trial(
        self, gate: Gate, study: Any, make_trainer: Any, me: Any, never: Any
    ) -> None:
        """While it waits for an upload, it shows no more life than the upload does."""
        mine = self.claimed(study, me)
        mine.trial.folder.mkdir(parents=True)
        (mine.trial.folder / "000001-00000000.json").write_text("{}")
        ticks: list[bool] = []

        def tick() -> bool:
            ticks.append(gate.open.is_set())
            return False

        with Uploads(mine.trial, mine.attempt, make_trainer(), never) as uploads:
            uploads.put()
            assert gate.reached.wait(60)
            threading.Timer(1.5, gate.open.set).start()
            uploads.flush(tick)
        assert False not in ticks
        assert stored_in(study) == ["000001-00000000.json"]

    @pytest.mark.slow
    def test_a_run_that_is_pruned_waits_for_no_upload(
        self, gate: Gate, study: Any, make_trainer: Any, me: Any, never: Any
    ) -> None:
        class Prune:
            stops = True

            def after(self, history: Any, trial: Any) -> Decision:
                assert gate.reached.wait(60)
                threading.Timer(0.2, gate.open.set).start()
                return Decision.PRUNE

        outcome = run_trial(self.claimed(study, me, Prune()), make_trainer(), never)
        assert outcome == Pruned()
        assert stored_in(study) == []

    @pytest.mark.slow
    @pytest.mark.parametrize("epoch", [1, EPOCHS])
    def test_a_store_that_refuses_ends_the_attempt(
        self, study: Any, make_trainer: Any, me: Any, never: Any, monkeypatch: Any, epoch: int
    ) -> None:
        """Whenever that is noticed: before a later epoch, or when all have been trained."""
        refused = threading.Event()

        def refuse(self: Artifacts, key: str, *rest: Any, **options: Any) -> None:
            if epoch == 1 or "6" in str(trainer.newest(mine.trial.folder)):
                refused.set()
                raise ArtifactError("no more")

        def wait(folder: Path, now: int) -> None:
            if now == epoch + 1:
                assert refused.wait(60)

        monkeypatch.setattr(Artifacts, "put", refuse)
        mine, trainer = self.claimed(study, me), make_trainer(fails=wait)
        outcome = run_trial(mine, trainer, never)
        assert isinstance(outcome, Interruption)
        assert isinstance(outcome.fatal, ArtifactError)
        (row,) = attempts.read(study.database, [study.arms[0].name])
        assert (row.end, row.reason) == ("released", "no more")
        assert study.trials(study.arms[0])[0].state == TrialState.RUNNING


def stored_in(study: Any) -> list[str]:
    """The names of the files that a folder has in store, without the study's mark."""
    store: Any = study.artifacts.store
    headers = [p.read_bytes().split(b"\n")[0] for p in store.folder.rglob("checkpoint")]
    return [header.split()[-1].decode() for header in headers]


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def promoted(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> Machine:
    """A machine on which the only member of an ensemble is trained, and not combined yet."""
    study = make_study(
        sqlite_database,
        budget={"epochs": 3},
        promote={"top": 1, "seeds": 1, "epochs": 2},
        ensemble={"members": [{"model": "proxy"}]},
    )
    machine = Machine(study, make_trainer())
    work(study, study.searches, machine.trainer, me, never, lambda: step(machine))
    return machine


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def hostile(content: bytes) -> bytes:
    file = io.BytesIO()
    np.savez(file, logits=np.array([Path("x")], dtype=object), labels=np.zeros(1, np.int64))
    return file.getvalue()


def of_other_images(content: bytes) -> bytes:
    file = io.BytesIO()
    np.savez(file, logits=np.zeros((3, 10), np.float32), labels=np.zeros(3, np.int64))
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize(
    "damage",
    [None, lambda content: b"", torn, lambda content: b"junk" * 99, hostile, of_other_images],
    ids=["deleted", "empty", "torn", "junk", "pickled", "of other images"],
)
def test_lost_scores_are_made_again_from_the_checkpoint(
    promoted: Machine, never: Any, me: Any, split: Any, damage: Any, caplog: Any
) -> None:
    study, trainer = promoted.study, promoted.trainer
    (trial,) = study.trials(study.ensemble)
    member = TrialRef(study, study.ensemble, trial)
    path = member.folder / f"{split}.npz"
    good = path.read_bytes()
    path.unlink() if damage is None else path.write_bytes(damage(good))
    before = len(trainer.evaluated)
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    assert is_promoted(study)
    assert len(trainer.evaluated) == before + 1
    assert f"{path}: was missing or damaged, and was made again" in caplog.text
    # It is there again for the next reader.
    again = read_scores(member, split, trainer)
    with np.load(io.BytesIO(good)) as first:
        assert (again.logits == first["logits"]).all()
    assert len(trainer.evaluated) == before + 1


def test_lost_scores_are_made_again_where_they_cannot_be_kept(
    promoted: Machine, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    study = promoted.study
    member = TrialRef(study, study.ensemble, study.trials(study.ensemble)[0])
    (member.folder / "test.npz").write_bytes(b"")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    assert len(read_scores(member, "test", promoted.trainer).labels) == study.task.sizes["test"]
    assert "No space left on device" in caplog.text


def test_scores_that_are_nowhere(promoted: Machine) -> None:
    study = promoted.study
    elsewhere = replace(study, work=study.work / "elsewhere")
    with pytest.raises(StudyError) as caught:
        advance(elsewhere, promoted.trainer)
    message = str(caught.value)
    assert "validation.npz and its checkpoint are missing or damaged" in message
    assert f"use the --work with which trial {study.name}/ensemble#0 was trained" in message
    assert "\n" not in message


@pytest.mark.slow
def test_scores_that_are_damaged_here_come_from_the_store(
    machines: Any, me: Any, never: Any
) -> None:
    a, b = machines(
        2, promote={"top": 1, "seeds": 1, "epochs": 3}, ensemble={"members": [{"model": "proxy"}]}
    )
    work(a.study, a.study.searches, a.trainer, me, never, lambda: advance(a.study, a.trainer))
    for machine in (a, b):  # B has never had any
        study = machine.study
        member = TrialRef(study, study.ensemble, study.trials(study.ensemble)[0])
        if machine is a:
            (member.folder / "test.npz").write_bytes(b"")
        before = len(machine.trainer.evaluated)
        scores = read_scores(member, "test", machine.trainer)
        assert len(scores.labels) == study.task.sizes["test"]
        assert len(machine.trainer.evaluated) == before


@pytest.mark.slow
def test_a_store_that_is_not_the_studys(
    machines: Any, store_url: str, never: Any, s3_server: Any, tmp_path: Path
) -> None:
    a, b = machines(2)
    check_artifacts(a.study, never)
    # On B, another folder or bucket hides behind the same URL: one that is not mounted, say.
    other = s3_server.create_bucket() if store_url.startswith("s3:") else (tmp_path / "other")
    if isinstance(other, Path):
        other.mkdir()
        other = other.as_uri()
    spec = b.study.spec
    moved = spec.model_copy(
        update={"workers": spec.workers.model_copy(update={"artifacts": str(other)})}
    )
    elsewhere = replace(b.study, spec=moved)
    with pytest.raises(ArtifactError, match=r"contains no file of study .*`tuneoff create` again"):
        check_artifacts(elsewhere, never)
    # A store may be exchanged.
    study = create_study(b.study.database, moved, b.study.task, b.study.work)
    check_artifacts(study, never)
    assert open_study(b.study.database, study.name, b.study.work).spec == moved


@pytest.mark.slow
def test_a_study_with_a_bad_store_is_not_created(
    sqlite_database: Any, make_study: Any, bucket_url: str
) -> None:
    name = f"never-{os.getpid()}"
    for url, message in (
        (bucket_url.replace("bucket-", "no-bucket-"), "there is no such bucket"),
        ("file:///nowhere/at/all", "does not exist"),
        ("nonsense", "is no artifact store"),
    ):
        with pytest.raises(ArtifactError, match=message):
            make_study(sqlite_database, name=name, workers={"artifacts": url})
    with pytest.raises(StudyError, match="there is no study"):
        open_study(sqlite_database, name, Path("nowhere"))


@pytest.mark.slow
def test_a_long_upload_keeps_the_lease(
    database: Any, make_study: Any, me: Any, bucket_url: str, tmp_path: Path
) -> None:
    study = make_study(database, workers={"artifacts": bucket_url})
    mine = claim(study, study.arms[0], me)
    assert isinstance(mine, Claim)
    file = tmp_path / "file"
    file.write_bytes(os.urandom(20 * 2**20))
    seen: list[tuple[str, float]] = []

    def tick() -> bool:
        # boto3 reads the parts of an object in threads of its own.
        attempts.touch(database, mine.attempt)
        (row,) = attempts.read(database, [mine.trial.search.name])
        seen.append((threading.current_thread().name, row.progressed))
        return False

    keep(mine.trial, mine.attempt, file, tick)
    assert len({thread for thread, _ in seen}) > 1
    assert len(seen) >= 4
    assert [when for _, when in seen] == sorted(when for _, when in seen)
    assert seen[0][1] < seen[-1][1]
