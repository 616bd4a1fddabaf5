"""Things that are made once: by one process of several, and again if that one failed."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuneoff.once import made_once


def find(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def test_what_is_there_is_found_without_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "x.lock"
    assert made_once(lambda: "here", lambda: pytest.fail("made"), lock) == "here"
    assert not lock.parent.exists()


def test_what_is_missing_is_made(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "x.lock"
    assert made_once(lambda: None, lambda: "made", lock) == "made"
    assert lock.parent.exists()


def test_what_another_process_made_meanwhile_is_found(tmp_path: Path) -> None:
    answers = iter([None, "made meanwhile"])
    found = made_once(lambda: next(answers), lambda: pytest.fail("made"), tmp_path / "x.lock")
    assert found == "made meanwhile"


def test_the_next_one_tries_after_a_failure(tmp_path: Path) -> None:
    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        made_once(lambda: None, fail, tmp_path / "x.lock")
    assert made_once(lambda: None, lambda: "made", tmp_path / "x.lock") == "made"


def test_any_lock_will_do() -> None:
    inside: list[str] = []

    @contextmanager
    def lock() -> Iterator[None]:
        inside.append("in")
        yield
        inside.append("out")

    def make() -> str:
        inside.append("make")
        return "made"

    assert made_once(lambda: None, make, lock()) == "made"
    assert inside == ["in", "make", "out"]


def _make_in_child(path: Path) -> None:
    def make() -> str:
        with path.with_suffix(".log").open("a") as log:
            log.write("made\n")
        time.sleep(0.2)
        path.write_text("content")
        return "content"

    assert made_once(lambda: find(path), make, path.with_suffix(".lock")) == "content"


@pytest.mark.slow
def test_several_processes_make_it_once(tmp_path: Path) -> None:
    # Forked, because importlib mode gives the children no module to import this one from.
    context = multiprocessing.get_context("fork")
    path = tmp_path / "x"
    children = [context.Process(target=_make_in_child, args=(path,)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 4
    assert path.with_suffix(".log").read_text() == "made\n"
