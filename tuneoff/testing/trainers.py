"""What every trainer must do."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tuneoff.trainer.contract import (
    AnyRecipe,
    EpochRecord,
    RunSeed,
    Tick,
    Trainer,
)
from tuneoff.trainer.errors import CheckpointError, Interrupted
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams, Recipe


class TrainerConformance:
    """What the search relies on in a trainer.

    A run of ``recipe`` must not diverge. Give it two epochs or more. That of a user's own code
    saves its state with every epoch, and has an ``other`` one that trains something else.
    """

    recipe: AnyRecipe = Recipe(epochs=3)
    other: AnyRecipe | None = None
    params = HyperParams(lr=0.03)

    def make_trainer(self, tmp_path: Path) -> Trainer:
        """A trainer, as a new process would have it; called several times in a test."""
        raise NotImplementedError

    def test_it_says_what_it_runs_on(self, tmp_path: Path) -> None:
        about = self.make_trainer(tmp_path).describe()
        assert about["device"]
        assert all(isinstance(v, str) for pair in about.items() for v in pair)

    def test_a_resolved_recipe_is_resolved(self, tmp_path: Path) -> None:
        trainer = self.make_trainer(tmp_path)
        resolved = trainer.resolve(self.recipe)
        assert isinstance(resolved, OwnTraining) or resolved.precision != "auto"
        assert trainer.resolve(resolved) == resolved

    def test_the_task_is_the_same_when_it_is_asked_again(self, tmp_path: Path) -> None:
        one = self.make_trainer(tmp_path).check(self.recipe)
        other = self.make_trainer(tmp_path).check(self.recipe)
        assert one == other
        assert one.digest
        if not one.is_own:
            assert len(one.classes) >= 2
            assert one.sizes["train"] > 0
            assert one.sizes["validation"] > 0

    def test_every_epoch_comes_once_in_order(self, tmp_path: Path) -> None:
        records = self._train(tmp_path, "run")
        assert [record.epoch for record in records] == list(range(1, self.recipe.epochs + 1))
        assert not any(record.replayed for record in records)
        assert all(0 <= record.validation_error <= 1 for record in records)
        assert all(record.seconds >= 0 for record in records)

    def test_equal_seeds_give_equal_runs(self, tmp_path: Path) -> None:
        assert _results(self._train(tmp_path, "one")) == _results(self._train(tmp_path, "other"))

    def test_a_run_that_was_closed_goes_on(self, tmp_path: Path) -> None:
        whole = self._train(tmp_path, "whole")
        trainer = self.make_trainer(tmp_path)
        run = self._run(trainer, tmp_path / "closed", lambda: False)
        next(run)
        run.close()
        again = self._train(tmp_path, "closed")
        assert again[0].replayed
        assert not any(record.replayed for record in again[1:])
        assert _results(again) == _results(whole)

    def test_a_run_that_was_stopped_within_an_epoch_goes_on(self, tmp_path: Path) -> None:
        whole = self._train(tmp_path, "whole")
        for stop_at in (1, 2, 5):
            folder = tmp_path / f"stopped-{stop_at}"
            ticks = 0

            def tick(stop_at: int = stop_at) -> bool:
                nonlocal ticks
                ticks += 1
                return ticks >= stop_at

            with suppress(Interrupted):
                list(self._run(self.make_trainer(tmp_path), folder, tick))
            if not isinstance(self.recipe, OwnTraining):  # which may save at ends of epochs alone
                assert self.make_trainer(tmp_path).newest(folder) is not None
            assert _results(self._train(tmp_path, folder.name)) == _results(whole)

    def test_a_finished_run_is_replayed(self, tmp_path: Path) -> None:
        first, again = self._train(tmp_path, "run"), self._train(tmp_path, "run")
        assert all(record.replayed for record in again)
        assert _results(again) == _results(first)

    def test_the_newest_file_alone_is_enough(self, tmp_path: Path) -> None:
        whole = self._train(tmp_path, "whole")
        trainer = self.make_trainer(tmp_path)
        run = self._run(trainer, tmp_path / "here", lambda: False)
        next(run)
        run.close()
        newest = trainer.newest(tmp_path / "here")
        assert newest is not None
        (tmp_path / "there").mkdir()
        shutil.copy(newest, tmp_path / "there")
        again = self._train(tmp_path, "there")
        assert again[0].replayed
        assert _results(again) == _results(whole)

    def test_more_progress_has_another_name(self, tmp_path: Path) -> None:
        trainer, names = self.make_trainer(tmp_path), []
        for _ in self._run(trainer, tmp_path / "run", lambda: False):
            newest = trainer.newest(tmp_path / "run")
            assert newest is not None  # it is there before its epoch is given out
            names.append(newest.name)
        assert len(set(names)) == self.recipe.epochs

    def test_a_checkpoint_of_another_run_is_passed_over(self, tmp_path: Path) -> None:
        self._train(tmp_path, "run")
        other = replace(self.params, lr=self.params.lr / 2)
        trainer, recipe = self.make_trainer(tmp_path), self.other or self.recipe
        records = list(trainer.train(recipe, other, RunSeed(), tmp_path / "run", lambda: False))
        assert not any(record.replayed for record in records)

    def test_what_the_tick_raises_passes_through(self, tmp_path: Path) -> None:
        class Lost(Exception):
            pass

        def tick() -> bool:
            raise Lost

        try:
            list(self._run(self.make_trainer(tmp_path), tmp_path / "run", tick))
        except Lost:
            pass
        else:
            raise AssertionError("the tick was not called, or its error was swallowed")
        assert self.make_trainer(tmp_path).newest(tmp_path / "run") is None

    def test_a_trained_model_is_scored(self, tmp_path: Path) -> None:
        last = self._train(tmp_path, "run")[-1]
        trainer = self.make_trainer(tmp_path)
        task = trainer.check(self.recipe)
        scores = trainer.evaluate(trainer.resolve(self.recipe), tmp_path / "run", "validation")
        images, classes = scores.logits.shape
        if not task.is_own:
            assert (images, classes) == (task.sizes["validation"], len(task.classes))
        assert abs(scores.error - last.validation_error) < 1.5 / images

    def test_a_model_that_was_not_trained_is_not_scored(self, tmp_path: Path) -> None:
        trainer = self.make_trainer(tmp_path)
        try:
            trainer.evaluate(trainer.resolve(self.recipe), tmp_path / "nothing", "validation")
        except CheckpointError:
            return
        raise AssertionError("a model without a checkpoint was scored")

    def test_a_model_whose_last_checkpoint_is_gone_is_not_scored(self, tmp_path: Path) -> None:
        if self.recipe.epochs < 2:
            return
        run = self._run(self.make_trainer(tmp_path), tmp_path / "run", lambda: False)
        next(run)
        run.close()
        trainer = self.make_trainer(tmp_path)
        try:
            trainer.evaluate(trainer.resolve(self.recipe), tmp_path / "run", "validation")
        except CheckpointError:
            return
        raise AssertionError("a model of an earlier epoch was scored in place of the last one")

    def _run(
        self, trainer: Trainer, folder: Path, tick: Tick
    ) -> Generator[EpochRecord, None, None]:
        return trainer.train(
            trainer.resolve(self.recipe), self.params, RunSeed(1, 2, 3), folder, tick
        )

    def _train(self, tmp_path: Path, name: str) -> list[EpochRecord]:
        return list(self._run(self.make_trainer(tmp_path), tmp_path / name, lambda: False))


def _results(records: Sequence[EpochRecord]) -> list[tuple[int, float, float]]:
    """What must be equal in equal runs; how long they took need not be."""
    return [(r.epoch, r.train_loss, r.validation_error) for r in records]
