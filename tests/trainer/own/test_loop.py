"""A user's own loop: followed epoch by epoch, stopped, gone on with, and judged when it errs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tuneoff import references
from tuneoff.testing import TrainerConformance
from tuneoff.trainer.contract import EpochRecord, RunSeed, Trainer
from tuneoff.trainer.errors import (
    CheckpointError,
    DataError,
    Diverged,
    Interrupted,
    ModelError,
    OwnCodeError,
)
from tuneoff.trainer.own.loop import LoopTrainer
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams

_numbers = itertools.count()

FUNCTION = """
import numpy as np

def train(params, context):
    state = context.resume or {"x": context.seed % 7}
    for epoch in context.remaining:
        for _ in range(3):
            if context.should_stop():
                return
        state["x"] += params["lr"]
        context.save(state)
        context.report(epoch, round(state["x"] % 1, 6), test=0.5)

def predict(params, context, split):
    wrong = round(1000 * (context.resume["x"] % 1))
    labels = np.zeros(1000, int)
    return np.where(np.arange(1000)[:, None] < wrong, [0.1, 0.9], [0.8, 0.2]), labels

train.predict = predict
"""

GENERATOR = """
def train(params, context):
    x = context.resume or context.seed % 7
    while True:
        if context.should_stop():
            return
        x += params["lr"]
        yield round(x % 1, 6), x, 0.5
"""


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OwnTraining]:
    """Makes the recipe of a module with this text."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(text: str, epochs: int = 3, **params: Any) -> OwnTraining:
        name = f"ownloop{next(_numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        references.allow([name])
        return OwnTraining(epochs, f"{name}:train", params={"lr": 0.125, **params})

    return make


def run(
    recipe: OwnTraining, folder: Path, tick: Callable[[], bool] = lambda: False
) -> list[EpochRecord]:
    return list(LoopTrainer().train(recipe, HyperParams(), RunSeed(1, 2, 3), folder, tick))


class OfAnOwnLoop(TrainerConformance):
    """What the search relies on."""

    text: str

    @pytest.fixture(autouse=True)
    def _recipes(self, loop: Any) -> None:
        self.recipe = loop(self.text)
        self.other = self.recipe.override({"lr": 0.25})

    def make_trainer(self, tmp_path: Path) -> Trainer:
        return LoopTrainer("cpu", threads=1)


class TestFunction(OfAnOwnLoop):
    text = FUNCTION


class TestGenerator(OfAnOwnLoop):
    text = GENERATOR
    # It offers no predictions.
    test_a_trained_model_is_scored = None  # type: ignore[assignment]
    test_a_model_that_was_not_trained_is_not_scored = None  # type: ignore[assignment]
    test_a_model_whose_last_checkpoint_is_gone_is_not_scored = None  # type: ignore[assignment]

    def test_no_split_is_scored(self, tmp_path: Path) -> None:
        assert isinstance(self.recipe, OwnTraining)
        run(self.recipe, tmp_path / "run")
        assert not LoopTrainer().check(self.recipe).predicts
        with pytest.raises(OwnCodeError, match="has no predict"):
            LoopTrainer().evaluate(self.recipe, tmp_path / "run", "test")


def test_a_test_value_and_the_seconds_come_with_the_record(loop: Any, tmp_path: Path) -> None:
    records = run(loop(FUNCTION), tmp_path / "run")
    assert [record.test_error for record in records] == [0.5] * 3
    assert [record.lr for record in records] == [0.125] * 3
    again = run(loop(FUNCTION), tmp_path / "other")  # another module is another run
    assert [r.validation_error for r in again] == [r.validation_error for r in records]


def test_files_in_the_folder_are_there_again(loop: Any, tmp_path: Path) -> None:
    text = (
        "def train(params, context):\n"
        "    path = context.folder / 'deep' / 'model'\n"
        "    x = int(path.read_text()) if context.resume else 0\n"
        "    assert x == context.done and (context.resume is None or x > 0)\n"
        "    for epoch in context.remaining:\n"
        "        path.parent.mkdir(parents=True, exist_ok=True)\n"
        "        path.write_text(str(epoch))\n"
        "        context.save()\n"
        "        context.report(epoch, 0.5)\n"
    )
    recipe = loop(text)
    begun = LoopTrainer().train(
        recipe, HyperParams(), RunSeed(1, 2, 3), tmp_path / "run", lambda: False
    )
    next(begun)
    begun.close()
    (tmp_path / "run/files/deep/model").write_text("damaged by a crash within epoch 2")
    assert [r.replayed for r in run(recipe, tmp_path / "run")] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "trained"),
    [
        # It never saves.
        ("def train(p, c):\n    for e in c.remaining:\n        c.report(e, 0.5)\n", [1, 2, 3]),
        # It says that it cannot go on.
        (GENERATOR + "\ntrain.resumable = False\n", [1, 2, 3]),
        # It saves every second epoch.
        (
            "def train(p, c):\n    for e in c.remaining:\n        if e % 2 == 0:\n"
            "            c.save(e)\n        c.report(e, 0.5)\n",
            [3],
        ),
    ],
    ids=["never", "not resumable", "every second"],
)
def test_what_was_not_saved_is_trained_again(
    loop: Any, tmp_path: Path, text: str, trained: list[int]
) -> None:
    recipe = loop(text)
    begun = LoopTrainer().train(
        recipe, HyperParams(), RunSeed(1, 2, 3), tmp_path / "run", lambda: False
    )
    next(begun), next(begun)
    begun.close()
    again = run(recipe, tmp_path / "run")
    assert [r.epoch for r in again] == [1, 2, 3]
    assert [r.epoch for r in again if not r.replayed] == trained
    # What has come to its end is not trained again, whether it can go on or not.
    assert all(r.replayed for r in run(recipe, tmp_path / "run"))


def test_a_study_is_told_that_it_begins_again(loop: Any) -> None:
    assert not LoopTrainer().check(loop(GENERATOR)).notes
    (note,) = LoopTrainer().check(loop(GENERATOR + "\ntrain.resumable = False\n")).notes
    assert "pays for its epochs again" in note


def test_a_changed_file_has_another_digest(loop: Any) -> None:
    one, other = loop(GENERATOR), loop(GENERATOR + "# changed\n")
    trainer = LoopTrainer()
    assert trainer.check(one).digest == trainer.check(one).digest != trainer.check(other).digest


def test_the_function_ends_where_it_is_closed(loop: Any, tmp_path: Path) -> None:
    done = tmp_path / "cleaned up"
    text = (
        "import pathlib\n"
        "def train(params, context):\n"
        "    try:\n"
        "        for epoch in context.remaining:\n"
        "            try:\n"
        "                context.report(epoch, 0.5)\n"
        "            except Exception:\n"
        "                raise AssertionError('it is no error of its own')\n"
        "    finally:\n"
        f"        pathlib.Path({str(done)!r}).touch()\n"
    )
    begun = LoopTrainer().train(
        loop(text), HyperParams(), RunSeed(), tmp_path / "run", lambda: False
    )
    next(begun)
    assert not done.exists()
    begun.close()
    assert done.exists()


def _body(*lines: str) -> str:
    return "def train(params, context):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_body("context.report(2, 0.5)"), "reported epoch 2 out of order; epoch 1 is due"),
        (_body("context.report(0, 0.5)"), "reported epoch 0 out of order; epoch 1 is due"),
        (
            _body("context.report(1, 0.5)", "context.report(1, 0.5)"),
            "reported epoch 1 again; epoch 2 is due",
        ),
        (_body("context.report('1', 0.5)"), "reported '1' as an epoch; epoch 1 is due"),
        (_body("context.report(1.0, 0.5)"), "reported 1.0 as an epoch; epoch 1 is due"),
        (_body("context.report(1, 'good')"), "reported 'good' as the value of epoch 1; report a"),
        (_body("context.report(1, '0.5')"), "reported '0.5' as the value of epoch 1; report a"),
        (_body("context.report(1, None)"), "reported None as the value of epoch 1; report a"),
        (_body("context.report(1, [1, 2])"), "reported [1, 2] as the value of epoch 1; report a"),
        (_body("context.report(1, 0.5, test='x')"), "reported 'x' as the test value of epoch 1"),
        (
            _body("context.report(1, 0.5, test=float('nan'))"),
            "reported nan as the test value of epoch 1",
        ),
        (
            _body("for e in range(1, 5): context.report(e, 0.5)"),
            "reported epoch 4 after its last, 3 (context.epochs)",
        ),
        (_body("context.report(1, 0.5)"), "ended after epoch 1 of 3 (context.epochs); report"),
        (_body("pass"), "ended after epoch 0 of 3 (context.epochs); report every epoch"),
        (_body("yield 0.5"), "ended after epoch 1 of 3 (context.epochs); report every epoch"),
        (_body("yield 0.5, 1, 0.5, 2"), "yielded 4 values; yield value, or value, state"),
        (_body("yield 'good', 1"), "reported 'good' as the value of epoch 1; report a number"),
        (_body("import sys", "sys.exit(3)"), "called sys.exit in epoch 1; return instead"),
        (_body("context.save(lambda: 0)"), "its state cannot be pickled"),
        (
            _body("try: context.report(7, 0.5)", "except Exception: pass", "context.report(1, 0)"),
            "reported epoch 7 out of order",  # though it would go on
        ),
    ],
)
def test_what_it_may_not_do_ends_the_run_with_one_line(
    loop: Any, tmp_path: Path, text: str, said: str
) -> None:
    recipe = loop(text)
    with pytest.raises(OwnCodeError) as raised:
        run(recipe, tmp_path / "run")
    assert said in str(raised.value)
    assert str(raised.value).startswith(recipe.code)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "-float('inf')"])
def test_a_value_that_is_no_finite_number_is_divergence(
    loop: Any, tmp_path: Path, value: str
) -> None:
    text = _body("yield 0.5, 1", f"yield {value}, 2", "yield 0.5, 3")
    with pytest.raises(Diverged) as raised:
        run(loop(text), tmp_path / "run")
    assert raised.value.epoch == 2


def test_numbers_of_any_kind_are_values(loop: Any, tmp_path: Path) -> None:
    text = "import numpy as np, torch\n" + _body(
        "yield np.float32(0.5)", "yield torch.tensor(0.5)", "yield 1"
    )
    assert [r.validation_error for r in run(loop(text), tmp_path / "run")] == [0.5, 0.5, 1.0]


def test_its_own_errors_pass_through(loop: Any, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run(loop(_body("yield 0.5", "1 / 0")), tmp_path / "run")


def test_a_state_that_cannot_be_read_is_said(loop: Any, tmp_path: Path) -> None:
    recipe = loop(GENERATOR)
    begun = LoopTrainer().train(
        recipe, HyperParams(), RunSeed(1, 2, 3), tmp_path / "run", lambda: False
    )
    next(begun)
    begun.close()
    newest = LoopTrainer().newest(tmp_path / "run")
    assert newest is not None
    newest.write_bytes(newest.read_bytes()[:-600])  # damaged: it begins again
    assert not any(r.replayed for r in run(recipe, tmp_path / "run"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train = 3\n", "is of type int, not a function; name one that takes params, context"),
        ("class train: pass\n", "is a class, not a function"),
        ("def train(params): pass\n", "takes (params); it is called with (params, context)"),
        ("def train(params, context, more): pass\n", "it is called with (params, context)"),
        (
            "def train(params, context): pass\ntrain.predict = lambda params: 0\n",
            "its predict takes (params); it is called with (params, context, split)",
        ),
        ("def train(params, context): pass\ntrain.predict = 3\n", "predict is no function"),
        ("def train(params, context): pass\ntrain.resumable = 'no'\n", "resumable is 'no'"),
        ("raise ValueError('no\\nGPU')\n", "cannot be imported: ValueError: no"),
        ("import nowhere_to_be_found\n", "needs a module that is not here"),
        ("other = 3\n", "has no train"),
        ("def train(:\n", "cannot be imported: SyntaxError"),
    ],
)
def test_what_is_no_training_function_is_refused_in_one_line(
    loop: Any, text: str, said: str
) -> None:
    with pytest.raises(ModelError) as raised:
        LoopTrainer().check(loop(text))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_not_there_or_not_allowed_is_refused() -> None:
    references.allow(["nowhere_at_all"])
    with pytest.raises(ModelError, match="there is no module nowhere_at_all here"):
        LoopTrainer().check(OwnTraining(3, "nowhere_at_all:train"))
    with pytest.raises(ModelError, match="--allow nobody_allowed_it"):
        LoopTrainer().check(OwnTraining(3, "nobody_allowed_it:train"))


def test_a_tick_within_an_epoch_keeps_what_was_saved_there(loop: Any, tmp_path: Path) -> None:
    text = (
        "def train(params, context):\n"
        "    step = context.resume or 0\n"
        "    while step < 10 * context.epochs:\n"
        "        if context.should_stop():\n"
        "            context.save(step)\n"
        "            return\n"
        "        step += 1\n"
        "        if step % 10 == 0:\n"
        "            context.save(step)\n"
        "            context.report(step // 10, step / 100)\n"
    )
    recipe, ticks = loop(text), itertools.count()
    with pytest.raises(Interrupted) as raised:
        run(recipe, tmp_path / "run", lambda: next(ticks) >= 15)
    assert raised.value.epoch == 1
    asked = itertools.count()
    again = run(recipe, tmp_path / "run", lambda: next(asked) < 0)
    assert [r.replayed for r in again] == [True, False, False]
    assert [r.validation_error for r in again] == [0.1, 0.2, 0.3]
    assert next(asked) < 25  # and not the thirty of three whole epochs


@pytest.mark.parametrize("returned", ["3", "[[0.5, 0.5]], [0, 1]", "[0.5], [0]", "'x', 'y'"])
def test_predictions_of_another_form_are_said(loop: Any, tmp_path: Path, returned: str) -> None:
    text = _body("yield 0.5, 1") + f"train.predict = lambda params, context, split: ({returned})\n"
    recipe = loop(text, epochs=1)
    run(recipe, tmp_path / "run")
    with pytest.raises(OwnCodeError, match="its predict returned no pair of probabilities"):
        LoopTrainer().evaluate(recipe, tmp_path / "run", "validation")


def test_predictions_become_scores_and_are_combined(loop: Any, tmp_path: Path) -> None:
    recipe = loop(FUNCTION)
    run(recipe, tmp_path / "run")
    trainer = LoopTrainer()
    scores = trainer.evaluate(recipe, tmp_path / "run", "test")
    assert np.allclose(np.exp(scores.logits).sum(axis=1), 1)
    combined, weights = trainer.combine("mean", [scores, scores], [scores, scores])
    assert combined.error == scores.error
    assert weights == (0.5, 0.5)
    with pytest.raises(CheckpointError):
        trainer.evaluate(recipe.override({"epochs": 4}), tmp_path / "run", "test")
    with pytest.raises(DataError, match="code of your own"):
        trainer.predict(recipe, tmp_path / "run", tmp_path)
