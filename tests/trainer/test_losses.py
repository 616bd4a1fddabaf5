"""Losses of a user's own: what they are asked, and what is no loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from tuneoff import references
from tuneoff.trainer import losses
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.data.augment import Targets
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

MODULE = """
import torch
from torch.nn.functional import cross_entropy

def focal(logits, labels, gamma=2.0):
    each = cross_entropy(logits, labels, reduction="none")
    return (1 - (-each).exp()) ** gamma * each

def mean(logits, labels):
    return cross_entropy(logits, labels)

def number(logits, labels):
    return 0.5

def wide(logits, labels):
    return logits

def still(logits, labels):
    return logits.detach().mean()

def endless(logits, labels):
    return (logits * 0).sum() / 0

def broken(logits, labels):
    raise RuntimeError("no such luck")

def one(logits):
    return logits.mean()

word = "loss"
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(references, "_allowed", set())
    monkeypatch.syspath_prepend(str(tmp_path))
    name = f"losses_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    references.allow([name])
    return name


def test_each_images_loss_or_their_mean_also_of_mixtures(module: str) -> None:
    outputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    labels, others = torch.arange(6) % 4, (torch.arange(6) + 1) % 4
    mixed = Targets(labels, others, torch.tensor(0.3))
    focal = losses.loss_of(Recipe(loss=f"{module}:focal", loss_options={"gamma": 0.0}))
    mean = losses.loss_of(Recipe(loss=f"{module}:mean"))
    wanted = 0.3 * cross_entropy(outputs, labels) + 0.7 * cross_entropy(outputs, others)
    for loss in (focal, mean, losses.loss_of(Recipe())):
        torch.testing.assert_close(mixed.loss(outputs, loss), wanted)
    harder = losses.loss_of(Recipe(loss=f"{module}:focal"))
    assert harder(outputs, labels) < mean(outputs, labels)


@pytest.mark.parametrize("name", ["focal", "mean"])
def test_what_is_a_loss(module: str, name: str) -> None:
    losses.check_loss(Recipe(loss=f"{module}:{name}"), 10)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("focal", {"beta": 1}, "fails for logits of shape (8, 10) and 8 labels, beta=1 (TypeError"),
        ("one", {}, "fails for logits of shape (8, 10) and 8 labels (TypeError"),
        ("broken", {}, "(RuntimeError: no such luck)"),
        ("number", {}, "returned a float; let it return a tensor with the mean loss"),
        ("wide", {}, "returned a Tensor of shape (8, 10); let it return"),
        ("still", {}, "fails for logits of shape (8, 10) and 8 labels (RuntimeError"),
        ("endless", {}, "is nan for ordinary logits (-1 to 1), with a gradient that is missing"),
        ("word", {}, "is no function, but a str; name one of logits and labels"),
        ("absent", {}, "has no absent"),
    ],
)
def test_what_is_no_loss_gets_one_line(
    module: str, name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError) as caught:
        losses.check_loss(Recipe(loss=f"{module}:{name}", loss_options=options), 10)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"loss": "focal"}, "unknown loss 'focal'"),
        ({"loss": "my:"}, 'loss = "my:" is no reference'),
        ({"loss_options": {"gamma": 2}}, "loss_options.gamma is not for cross-entropy"),
        ({"loss": "my:loss", "label_smoothing": 0.1}, "label_smoothing = 0.1 is for cross-entropy"),
        (
            {"loss": "my:loss", "loss_options": {"x": None}},
            "x = None must be a number",
        ),
    ],
)
def test_recipes_that_cannot_be(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        Recipe(**values)
    assert said in str(caught.value)


@pytest.mark.slow
def test_it_trains_and_goes_on_where_it_was_stopped(module: str, tmp_path: Path) -> None:
    recipe = Recipe(
        data=DataSource("digits"), images=300, epochs=2, loss=f"{module}:focal", mixup=0.2
    )
    trainer = TorchTrainer("cpu", cache=tmp_path / "cache")

    def errors(folder: str, **changes: Any) -> list[tuple[float, float]]:
        records = trainer.train(
            recipe.override(changes),
            HyperParams(lr=0.05),
            RunSeed(0, 0, 0),
            tmp_path / folder,
            lambda: False,
        )
        return [(record.train_loss, record.validation_error) for record in records]

    whole = errors("whole")
    assert whole[1][0] < whole[0][0]
    assert whole != errors("other", loss="cross-entropy")
    run = trainer.train(
        recipe, HyperParams(lr=0.05), RunSeed(0, 0, 0), tmp_path / "cut", lambda: False
    )
    next(run)
    run.close()
    assert errors("cut") == whole
