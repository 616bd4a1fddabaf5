"""A study of our trainer that is judged by AUROC: searched, trained in full, combined, compared."""

from __future__ import annotations

from typing import Any

import pytest
import sklearn.metrics

from tuneoff.search.report.data import read_report_data
from tuneoff.search.report.markdown import markdown
from tuneoff.search.results.export import best
from tuneoff.search.results.export_file import dump, load
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.store.attributes import TEST_ERROR
from tuneoff.search.study.checkpoints import read_scores
from tuneoff.search.study.opening import create_study
from tuneoff.search.study.selection import error_of
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import work
from tuneoff.trainer.contract import Scores
from tuneoff.trainer.ensemble import stack
from tuneoff.trainer.recipe import Recipe
from tuneoff.trainer.torch_trainer import TorchTrainer


def auroc(scores: Scores) -> float:
    """As scikit-learn has it."""
    (shares,) = stack([scores])
    return float(sklearn.metrics.roc_auc_score(scores.labels, shares, multi_class="ovr"))


@pytest.mark.slow
def test_a_study_of_auroc_from_its_searches_to_its_export(
    sqlite_database: Any, spec_values: Any, me: Any, never: Any, tmp_path: Any
) -> None:
    values = spec_values(
        trial={"epochs": 1, "metric": "auroc"},
        budget={"epochs": 2},
        arms={"hand": {"configs": [{"lr": 0.05}, {"lr": 1.0}]}, "random": {"sampler": "random"}},
        promote={"epochs": 2, "top": 1, "seeds": 1},
        ensemble={
            "combine": "weighted",
            "members": [{"model": "proxy"}, {"model": "proxy-residual"}],
        },
    )
    spec = StudySpec.parse(values, "test")
    trainer = TorchTrainer("cpu", cache=tmp_path / "cache", threads=1)
    task = trainer.check(spec.our_recipe())
    study = create_study(sqlite_database, spec, task, tmp_path / "work")
    assert study.worst == -0.5
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    for search in (study.full, study.ensemble):
        for trial in study.trials(search):
            ref = TrialRef(study, search, trial)
            assert error_of(trial) == pytest.approx(
                -auroc(read_scores(ref, "validation", trainer)), rel=1e-6
            )
            assert TEST_ERROR.of(trial) == pytest.approx(
                -auroc(read_scores(ref, "test", trainer)), rel=1e-6
            )
    now = Snapshot.of(study)
    members = [TrialRef(study, study.ensemble, t) for t in study.trials(study.ensemble)]
    validation, test = (
        [read_scores(member, split, trainer) for member in members]
        for split in ("validation", "test")
    )
    judge = study.judge(members[0].run.recipe)
    scores, weights = trainer.combine("weighted", validation, test, judge)
    assert now.ensemble is not None
    better = [max(0.0, auroc(one) - 0.5) for one in validation]
    assert weights == pytest.approx([one / sum(better) for one in better])
    assert [member.weight for member in now.ensemble.members] == pytest.approx(weights)
    assert -now.ensemble.test_error == pytest.approx(auroc(scores), rel=1e-6)
    said = markdown(read_report_data(now))
    assert "AUROC" in said
    assert "percentage points" not in said
    (tmp_path / "best.toml").write_text(dump(study.name, best(study, 1).configurations, "toml"))
    (found,) = load(tmp_path / "best.toml")
    assert isinstance(found.recipe, Recipe)
    assert (found.recipe.metric, found.recipe.metric_as) == ("auroc", "-value")
    assert found.metric.name == "AUROC"
    assert found.expected["validation_error"] > 0.5
