"""What a worker's trainer is made with."""

from __future__ import annotations

from typing import Any

import pytest

from tuneoff.search.cli.trainers import threads_of


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "device", "given", "expected"),
    [
        (1, "cpu", 2, 1),
        (3, "cpu", None, 3),
        (None, "cpu", 2, 2),
        (None, "cpu", None, None),
        (1, "cuda:0", 2, 2),  # a GPU's sums do not depend on them
    ],
)
def test_threads_are_those_of_the_study_file(
    sqlite_database: Any, make_study: Any, said: int, device: str, given: int, expected: int
) -> None:
    study = make_study(sqlite_database, workers={} if said is None else {"threads": said})
    assert threads_of(study, device, given) == expected
