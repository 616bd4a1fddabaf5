"""Tables of learning curves: out of a study that a worker ran, into a file, and back."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tuneoff.search.errors import StudyError, UserError
from tuneoff.search.results.curve_rows import curve_table
from tuneoff.search.results.curve_table import CurveTable, read_table, write_table
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attempts import Worker
from tuneoff.search.study.design import table_spec
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.work.worker import work
from tuneoff.testing import CurveTrainer
from tuneoff.testing.curve_trainer import TEN_CLASSES
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import HyperParams


def _error(params: HyperParams, seed: RunSeed, epoch: int) -> float:
    return 0.5 - 0.1 * epoch + 0.01 * seed.replica + params.lr / 100


@pytest.fixture
def trained(
    spec_values: Callable[..., dict[str, Any]], sqlite_database: Any, tmp_path: Path
) -> Any:
    """A table's study: two hand-tuned configurations and three others, two seeds, all trained."""
    values = spec_values(arms={"hand": {"configs": [{"lr": 0.02}, {"lr": 0.9}]}})
    spec = table_spec(StudySpec.parse(values, "test"), 3, 2)
    study = create_study(sqlite_database, spec, TEN_CLASSES, tmp_path)
    trainer = CurveTrainer(error=_error, diverges=lambda params, e: params.lr > 0.8 and e == 2)
    work(study, study.arms, trainer, Worker.here("cpu"), lambda: False)
    assert not list(study.folder.glob("table/**/*.pt"))
    assert not [p for p in study.folder.glob("table/**/*") if p.is_file()]  # no checkpoint stays
    return study


def test_every_run_is_a_row_and_the_file_holds_all_of_it(trained: Any, tmp_path: Path) -> None:
    made = curve_table(Snapshot.of(trained), "w" * 64, "CC0")
    epochs = trained.spec.trial.epochs
    assert [run.config for run in made.runs] == [i for i in range(5) for _ in range(2)]
    assert made.hand == {"hand": (0, 1)}
    for run in made.runs:
        lr = made.configs[run.config]["lr"]
        assert isinstance(lr, float)
        if run.diverged is not None:
            assert (lr > 0.8, run.diverged, run.test_error, len(run.errors)) == (True, 2, None, 1)
            continue
        expected = [_error(HyperParams(lr=lr), RunSeed(*run.seed), e + 1) for e in range(epochs)]
        assert run.errors == pytest.approx(expected)
        assert len(run.losses) == len(run.seconds) == epochs
        assert run.test_error is not None
    assert any(run.diverged for run in made.runs)
    path = tmp_path / "t.json.gz"
    write_table(made, path)
    content = path.read_bytes()
    write_table(read_table(path), path)
    assert path.read_bytes() == content
    found = read_table(path)
    assert [run.errors for run in found.runs] == [run.errors for run in made.runs]
    assert found.model_dump(exclude={"runs", "recipe"}) == made.model_dump(
        exclude={"runs", "recipe"}
    )


def test_a_study_that_is_no_table_has_none(make_study: Any, sqlite_database: Any) -> None:
    with pytest.raises(StudyError, match="is no table"):
        curve_table(Snapshot.of(make_study(sqlite_database)), None, "")


def test_files_that_are_no_tables(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.json.gz"
    table = curve_table(Snapshot.of(trained), None, "")
    write_table(table, path)
    whole, values = path.read_bytes(), json.loads(gzip.decompress(path.read_bytes()))

    def refused(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(UserError) as raised:
            read_table(path)
        (line,) = str(raised.value).splitlines()
        return line

    def changed(**changes: Any) -> bytes:
        return gzip.compress(json.dumps(values | changes).encode())

    assert "torn" in refused(whole[:-9])
    assert "torn" in refused(whole[: len(whole) // 2])
    assert "no table" in refused(b"name = 'digits'\n")
    assert "no table" in refused(b"")
    assert "no table" in refused(gzip.compress(b"[1, 2]"))
    assert "JSON" in refused(gzip.compress(b"\xff{"))
    assert "no table that this version reads" in refused(changed(format="tuneoff table 9"))
    assert "configurations and epochs" in refused(changed(epochs=7))
    assert "errors" in refused(changed(runs=[values["runs"][0] | {"errors": [2.0]}]))
    path.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        read_table(path)


@pytest.mark.slow
def test_losses_that_are_not_finite_are_kept_as_such(
    spec_values: Callable[..., dict[str, Any]], sqlite_database: Any, tmp_path: Path
) -> None:
    values = spec_values(name="infinite", arms={"hand": {"configs": [{"lr": 0.02}]}})
    spec = table_spec(StudySpec.parse(values, "test"), 1, 1)
    study = create_study(sqlite_database, spec, TEN_CLASSES, tmp_path)
    trainer = _Infinite()
    work(study, study.arms, trainer, Worker.here("cpu"), lambda: False)
    made = curve_table(Snapshot.of(study), None, "")
    assert isinstance(made, CurveTable)
    assert {loss for run in made.runs for loss in run.losses} == {None}


class _Infinite(CurveTrainer):
    """As its base, with a validation loss that overflows."""

    def train(self, *args: Any) -> Any:
        from dataclasses import replace

        for record in super().train(*args):
            yield replace(record, validation_loss=math.inf)
