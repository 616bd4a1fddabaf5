"""Metrics: against scikit-learn, in training, and of a user's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuneoff import references
from tuneoff.trainer import measures
from tuneoff.trainer.contract import EpochRecord, RunSeed, Scores, measured
from tuneoff.trainer.errors import DataError, Interrupted, ModelError, OwnCodeError
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.registry import METRICS
from tuneoff.trainer.torch_trainer import TorchTrainer

RECIPE = Recipe(epochs=3, batch_size=256, precision="fp32", patience=1)
PARAMS = HyperParams(lr=0.05)


@st.composite
def scores(draw: st.DrawFn) -> Scores:
    """Scores with an image of each class at least."""
    classes = draw(st.integers(2, 5))
    more = draw(st.lists(st.integers(0, classes - 1), max_size=20))
    labels = np.array([*range(classes), *more], np.int64)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    spread = draw(st.sampled_from([0.0, 1.0, 30.0]))  # equal logits, plain ones, sure ones
    logits = np.round(spread * rng.standard_normal((len(labels), classes)), draw(st.integers(0, 3)))
    return Scores(logits.astype(np.float32), labels)


@given(scores())
def test_probabilities_are_torchs_softmax(given: Scores) -> None:
    expected = torch.from_numpy(given.logits).double().softmax(1).numpy()
    assert measures.softmax(given) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.slow
@given(scores())
def test_each_metric_is_scikit_learns(given: Scores) -> None:
    # The same probabilities for both: the AUROC hangs on which are equal to the last bit.
    shares, chosen = measures.softmax(given), given.logits.argmax(1)
    classes = range(shares.shape[1])
    of_two = shares[:, 1] if len(classes) == 2 else shares
    expected = {
        "error": 1 - sklearn.metrics.accuracy_score(given.labels, chosen),
        "macro-error": 1 - sklearn.metrics.balanced_accuracy_score(given.labels, chosen),
        "log-loss": sklearn.metrics.log_loss(given.labels, shares, labels=list(classes)),
        "auroc": -sklearn.metrics.roc_auc_score(given.labels, of_two, multi_class="ovr"),
    }
    assert set(expected) == set(METRICS)
    for name, value in expected.items():
        assert measured(Recipe(metric=name), given) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_a_class_without_images_does_not_count_in_the_macro_error() -> None:
    found = Scores(np.eye(3, dtype=np.float32)[[0, 1, 0]], np.array([0, 0, 2]))
    assert measured(Recipe(metric="macro-error"), found) == (0.5 + 1) / 2


@pytest.mark.parametrize(
    ("how", "value"), [("auto", -0.75), ("-value", -0.75), ("1 - value", 0.25)]
)
def test_what_is_kept_of_a_value_of_which_higher_is_better(how: str, value: float) -> None:
    logits = np.array([[0, 1], [0, 3], [0, 2], [0, 4]], np.float32)
    found = Scores(logits, np.array([0, 0, 1, 1]))
    assert measured(Recipe(metric="auroc", metric_as=how), found) == value


def test_what_is_known_is_not_computed() -> None:
    known = Scores(np.zeros((1, 2), np.float32), np.zeros(1, np.int64), 0.3)
    assert measured(Recipe(metric="auroc"), known) == 0.3


@pytest.mark.parametrize(
    ("name", "chance"),
    [("error", 0.9), ("macro-error", 0.9), ("log-loss", math.log(10)), ("auroc", -0.5)],
)
def test_what_guessing_comes_to(digits_trainer: TorchTrainer, name: str, chance: float) -> None:
    assert digits_trainer.check(replace(RECIPE, metric=name)).chance_error == chance


def test_a_split_without_a_class_has_no_auroc() -> None:
    labels: Any = {"validation": np.array([0, 2, 2]), "test": np.array([], np.int64)}
    said = 'metric = "auroc" needs images of every class, and the validation split has none of "b"'
    with pytest.raises(DataError, match=said):
        measures.check(Recipe(metric="auroc"), ("a", "b", "c"), labels)
    assert measures.check(Recipe(metric="macro-error"), ("a", "b", "c"), labels) is None


def run(
    trainer: TorchTrainer, recipe: Recipe, folder: Path, tick: Callable[[], bool] = lambda: False
) -> list[EpochRecord]:
    return list(trainer.train(recipe, PARAMS, RunSeed(), folder, tick))


@pytest.mark.slow
def test_a_run_is_judged_by_its_metric_and_goes_on_as_if_never_stopped(
    digits_trainer: TorchTrainer, tmp_path: Path
) -> None:
    recipe = replace(RECIPE, metric="auroc")
    whole = run(digits_trainer, recipe, tmp_path / "whole")
    assert all(-1 <= record.validation_error < -0.5 for record in whole)
    at_the_end = digits_trainer.evaluate(recipe, tmp_path / "whole", "validation")
    assert whole[-1].validation_error == measured(recipe, at_the_end)
    plain = run(digits_trainer, RECIPE, tmp_path / "plain")
    assert [r.validation_loss for r in plain] == [r.validation_loss for r in whole]
    assert [r.validation_error for r in plain] != [r.validation_error for r in whole]
    ticks = iter(range(1000))
    with pytest.raises(Interrupted):
        run(digits_trainer, recipe, tmp_path / "again", lambda: next(ticks) == 9)
    again = run(digits_trainer, recipe, tmp_path / "again")
    assert [r.validation_error for r in again] == [r.validation_error for r in whole]


# A user's own

OWN = """
import numpy as np, torch
number = 3
def top_2_error(labels, probabilities):
    assert labels.dtype == np.int64 and probabilities.dtype == np.float64
    assert labels.shape == probabilities.shape[:1]
    best = np.argsort(-probabilities, axis=1)[:, :2]
    labels[:] = 0  # ours is unharmed
    return 1 - (best == labels[:, None]).any(axis=1).mean()
class Worst:
    def __call__(self, labels, probabilities):
        return torch.tensor(0.25)
worst = Worst()
def one(labels): return 0.0
def raises(labels, probabilities): raise KeyError("speed")
def nan(labels, probabilities): return float("nan")
def text(labels, probabilities): return "0.5"
def each(labels, probabilities): return torch.zeros(len(labels))
def nothing(labels, probabilities): return None
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "its_metric.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(references, "_allowed", {"its_metric"})


@pytest.mark.usefixtures("own")
def test_a_metric_of_ones_own(digits_trainer: TorchTrainer) -> None:
    found = Scores(np.eye(3, dtype=np.float32)[[0, 1, 0]], np.array([0, 0, 2]))
    assert measured(Recipe(metric="its_metric:worst"), found) == 0.25
    assert measured(Recipe(metric="its_metric:worst", metric_as="1 - value"), found) == 0.75
    recipe = Recipe(metric="its_metric:top_2_error")
    assert measured(recipe, found) == measured(recipe, found)
    assert found.labels.tolist() == [0, 0, 2]
    with pytest.raises(OwnCodeError, match="returned nan"):
        measured(Recipe(metric="its_metric:nan"), found)
    assert digits_trainer.check(recipe).chance_error == 1


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("its_metric:speed", "its_metric has no speed"),
        ("its_metrics:speed", "nobody allowed this process to run"),
        ("its_metric:number", "is no function but int"),
        ("its_metric:one", "failed on 40 labels .* takes 1 positional argument but 2 were given"),
        ("its_metric:raises", "failed on 40 labels and probabilities of 40 x 10: 'speed'"),
        ("its_metric:nan", "returned nan; return a finite number"),
        ("its_metric:text", "returned str '0.5'; return a single number"),
        ("its_metric:each", r"returned Tensor of shape \(40,\); return a single number"),
        ("its_metric:nothing", "returned NoneType None; return a single number"),
    ],
)
def test_what_is_no_metric_is_one_line(digits_trainer: TorchTrainer, name: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        digits_trainer.check(Recipe(metric=name))
    assert f'metric = "{name}"' in str(caught.value) or "allow" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("auc", "unknown metric 'auc'; did you mean 'auroc'?"),
        ("my metric:f", 'metric = "my metric:f" is no reference'),
    ],
)
def test_a_name_that_is_none(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Recipe(metric=name)
