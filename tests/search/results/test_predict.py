"""Predictions of an ensemble: the rule decides, probabilities are calibrated means."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tuneoff.search.errors import StudyError, UserError
from tuneoff.search.results.predict import Predicted, predict_images, predictions_text
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.reading import StudyFile, preflight
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.study import Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work.promote import advance, enqueue_full
from tuneoff.search.work.worker import work
from tuneoff.trainer.contract import Scores
from tuneoff.trainer.ensemble import combine
from tuneoff.trainer.errors import DataError
from tuneoff.trainer.recipe import Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer

ENSEMBLE = {"members": [{"model": "proxy"}, {"model": "proxy-dense"}]}
PROMOTE = {"epochs": 2, "top": 1, "seeds": 1}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty digits as files."""
    folder = tmp_path_factory.mktemp("images")
    for i, digit in enumerate(load_digits().images[:60]):
        Image.fromarray((digit * 15.9).astype(np.uint8)).save(folder / f"digit_{i}.png")
    return folder


@pytest.mark.slow
class TestRealEnsemble:
    """Of two small networks on digits, with the paper's rule."""

    @pytest.fixture
    def trained(
        self, sqlite_database: Any, spec_values: Any, tmp_path: Path, me: Any, never: Any
    ) -> tuple[Study, TorchTrainer]:
        values = spec_values(
            name=f"predict-{tmp_path.name}",
            trial={"epochs": 3, "batch_size": 64, "precision": "fp32"},
            budget={"epochs": 3},
            arms={"hand": {"configs": [{"lr": 0.1}]}},
            promote={**PROMOTE, "epochs": 3},
            ensemble=ENSEMBLE,
        )
        trainer = TorchTrainer(cache=tmp_path / "cache")
        spec = StudySpec.parse(values, "test")
        study = create_study(
            sqlite_database, spec, preflight(StudyFile.of(spec), trainer.check), tmp_path / "work"
        )
        work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
        return study, trainer

    def test_the_rule_decides_and_calibrated_means_are_shown(
        self, trained: tuple[Study, TorchTrainer], images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study, trainer = trained
        found = predict_images(study, trainer, images)
        assert found.calibrated_on == study.task.sizes["validation"]
        folders = [TrialRef(study, study.ensemble, t).folder for t in study.trials(study.ensemble)]
        recipes = [
            TrialRef(study, study.ensemble, t).run.recipe for t in study.trials(study.ensemble)
        ]
        ours = [recipe for recipe in recipes if isinstance(recipe, Recipe)]
        outputs = [
            trainer.predict(trainer.resolve(r), f, images)
            for r, f in zip(ours, folders, strict=True)
        ]
        scores, _ = combine(
            "paper", [], [Scores(o.logits, np.zeros(60, np.int64)) for o in outputs]
        )
        assert (found.chosen == scores.logits.argmax(axis=1)).all()
        number = {f"digit_{i}.png": load_digits().target[i] for i in range(60)}
        right = [
            int(found.classes[c]) == number[name]
            for c, name in zip(found.chosen, found.names, strict=True)
        ]
        shown = [
            float(row["probability"])
            for row in csv.DictReader(io.StringIO(predictions_text(found, server_file=False)))
        ]
        assert max(shown) > 0.9  # of ten classes, none of the paper's softmax exceeds 0.232
        assert np.mean(shown) == pytest.approx(np.mean(right), abs=0.1)

        # On a machine without the images of training, and without the scores.
        def gone(*arguments: Any) -> Any:
            raise DataError("no images here")

        for folder in folders:
            (folder / "validation.npz").unlink()
        monkeypatch.setattr(trainer, "evaluate", gone)
        plain = predict_images(study, trainer, images)
        assert (plain.calibrated_on, plain.temperature) == (0, 1.0)
        assert (plain.chosen == found.chosen).all()
        assert plain.probabilities.sum(axis=1) == pytest.approx(np.ones(60))


def predicted(names: tuple[str, ...], classes: tuple[str, ...] = ("=a", "b")) -> Predicted:
    probabilities = np.tile([0.25, 0.75], (len(names), 1))
    chosen = np.zeros(len(names), np.int64)
    return Predicted(names, classes, chosen, probabilities, 0, 1.0)


def test_the_probability_is_that_of_the_chosen_class() -> None:
    rows = predictions_text(predicted(("1.png",)), server_file=False).splitlines()
    assert rows == ["image,class,probability", "1.png,'=a,0.2500"]


def test_formulas_are_made_safe_unless_asked_for_raw() -> None:
    found = predicted(("=1+1.png", "@x.png", "-0.5", "a,b.png"))
    safe = list(csv.reader(io.StringIO(predictions_text(found, server_file=False))))
    assert [row[0] for row in safe[1:]] == ["'=1+1.png", "'@x.png", "-0.5", "a,b.png"]
    raw = list(csv.reader(io.StringIO(predictions_text(found, server_file=False, raw=True))))
    assert [row[0] for row in raw[1:]] == list(found.names)
    assert raw[1][1] == "=a"


@pytest.mark.parametrize("name", ["a\nb.png", "a\rb.png", "a\u2028b.png"])
def test_a_name_with_an_end_of_line_is_refused_in_the_server_file(name: str) -> None:
    with pytest.raises(UserError, match="has an end of line in its name"):
        predictions_text(predicted((name,)), server_file=True)
    text = predictions_text(predicted((name,)), server_file=False)
    assert list(csv.reader(io.StringIO(text, newline="")))[1][0] == name


class TestWhyThereIsNothingToPredictWith:
    @pytest.fixture
    def refusal(self, make_trainer: Any, tmp_path: Path) -> Callable[[Any], str]:
        def refusal(study: Any) -> str:
            with pytest.raises(StudyError) as caught:
                predict_images(study, make_trainer(), tmp_path)
            assert "\n" not in str(caught.value)
            return str(caught.value)

        return refusal

    def test_not_promoted(
        self, make_study: Any, sqlite_database: Any, refusal: Callable[[Any], str]
    ) -> None:
        study = make_study(sqlite_database, promote=PROMOTE, ensemble=ENSEMBLE)
        assert f"has no ensemble yet; run `tuneoff promote {study.name}` first" in refusal(study)

    def test_no_section(
        self, make_study: Any, sqlite_database: Any, refusal: Callable[[Any], str]
    ) -> None:
        assert "has no [ensemble] section" in refusal(make_study(sqlite_database))

    @pytest.mark.slow
    def test_every_run_diverged(
        self,
        make_study: Any,
        make_trainer: Any,
        sqlite_database: Any,
        me: Any,
        never: Any,
        refusal: Callable[[Any], str],
    ) -> None:
        study = make_study(sqlite_database, promote=PROMOTE, ensemble=ENSEMBLE)
        broken = make_trainer(diverges=lambda params, epoch: True)
        work(study, study.searches, broken, me, never, lambda: advance(study, broken))
        assert "has no ensemble, because the only full training diverged" in refusal(study)
        assert not study.trials(study.ensemble)

    @pytest.mark.slow
    def test_every_member_diverged_or_failed(
        self,
        make_study: Any,
        make_trainer: Any,
        sqlite_database: Any,
        me: Any,
        never: Any,
        refusal: Callable[[Any], str],
    ) -> None:
        study = make_study(sqlite_database, promote=PROMOTE, ensemble=ENSEMBLE)
        trainer = make_trainer()
        work(study, study.arms, trainer, me, never)
        enqueue_full(study)
        work(study, (study.full,), trainer, me, never)
        assert advance(study, trainer)
        first, second = (TrialRef(study, study.ensemble, t) for t in study.trials(study.ensemble))
        first.start()
        first.tell_diverged(1)
        assert "has no ensemble yet" in refusal(study)
        second.start()
        second.fail("a bad disk")
        assert "because of 2 members 1 diverged and 1 failed" in refusal(study)

    def test_data_without_a_test_split(
        self, make_study: Any, sqlite_database: Any, refusal: Callable[[Any], str]
    ) -> None:
        from dataclasses import replace

        study = make_study(sqlite_database, promote=PROMOTE, ensemble=ENSEMBLE)
        task = replace(study.task, sizes={"train": 80, "validation": 20, "test": 0})
        assert "its data have no test split" in refusal(replace(study, task=task))
