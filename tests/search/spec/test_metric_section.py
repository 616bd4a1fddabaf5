"""[metric]: what a study measures, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tuneoff.metric import ERROR, Metric
from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.metric_section import check_measured
from tuneoff.search.spec.space import SearchSpace

Values = dict[str, Any]
Make = Callable[..., Values]


def spec(values: Make, metric: Values | None = None, **compare: float) -> StudySpec:
    more: Values = {} if metric is None else {"metric": metric}
    return StudySpec.parse(values(**more, compare=compare), "study.toml")


def test_a_study_without_it_measures_errors_and_keeps_its_digest(spec_values: Make) -> None:
    assert spec(spec_values).metric.metric() == ERROR
    assert spec(spec_values).digest() == spec(spec_values, {}).digest()


@pytest.mark.parametrize(
    ("section", "metric"),
    [
        ({"name": "auroc"}, Metric("auroc", "maximize", percent=False, worst=0.5)),
        ({"name": "AUROC", "worst": 0.0}, Metric("AUROC", "maximize", percent=False, worst=0.0)),
        ({"name": "accuracy"}, Metric("accuracy", "maximize")),
        (
            {"name": "validation loss", "worst": 20.0},
            Metric("validation loss", percent=False, worst=20.0),
        ),
        (
            {"name": "reward", "direction": "maximize", "worst": -5.0},
            Metric("reward", "maximize", percent=False, worst=-5.0),
        ),
    ],
)
def test_the_name_says_the_rest_where_it_is_known(
    spec_values: Make, section: Values, metric: Metric
) -> None:
    found = spec(spec_values, section)
    assert found.metric.metric() == metric
    assert found.digest() != spec(spec_values).digest()
    assert StudySpec.parse(found.model_dump(mode="json"), "again") == found


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"name": "reward"}, 'needs a direction for \'reward\': "minimize" or "maximize"'),
        ({"name": "AUROC", "direction": "minimize"}, "is the wrong one for AUROC; leave it out"),
        ({"direction": "maximize"}, "is the wrong one for error; leave it out"),
        ({"name": "loss", "direction": "down"}, "metric.direction: 'down' is refused"),
        ({"worst": 2.0}, "worst: 2 is refused; a share lies between 0 and 1"),
        ({"nmae": "loss"}, "did you mean 'name'?"),
        ({"name": "a\nb", "direction": "minimize"}, "printable characters"),
    ],
)
def test_what_is_refused(spec_values: Make, section: Values, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(spec_values, section)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_smallest_effect_is_in_the_unit_of_the_metric(spec_values: Make) -> None:
    loss = {"name": "perplexity", "worst": 1000.0}
    assert spec(spec_values, loss, smallest_effect=150.0).compare.smallest_effect == 150.0
    with pytest.raises(SpecError, match="150 points are refused; give less than 100"):
        spec(spec_values, smallest_effect=150.0)


# With our own trainer


def ours(values: Make, metric: str, section: Values | None = None) -> StudySpec:
    more: Values = {} if section is None else {"metric": section}
    return StudySpec.parse(values(trial={"metric": metric}, **more), "study.toml")


@pytest.mark.parametrize(
    ("name", "section", "metric", "how"),
    [
        ("error", None, ERROR, "auto"),
        ("error", {"name": "accuracy"}, Metric("accuracy", "maximize"), "auto"),
        ("macro-error", None, Metric("macro error"), "auto"),
        (
            "macro-error",
            {"name": "balanced accuracy"},
            Metric("balanced accuracy", "maximize"),
            "auto",
        ),
        ("log-loss", None, Metric("log loss", percent=False), "auto"),
        ("auroc", None, Metric("AUROC", "maximize", percent=False, worst=0.5), "-value"),
        ("auroc", {"worst": 0.1}, Metric("AUROC", "maximize", False, 0.1), "-value"),
        ("auroc", {"percent": True}, Metric("AUROC", "maximize", True, 0.5), "1 - value"),
        (
            "mine:f2",
            {"name": "F2", "direction": "maximize", "worst": 0.0},
            Metric("F2", "maximize", False, 0.0),
            "-value",
        ),
        (
            "mine:cost",
            {"name": "loss", "worst": 9.0},
            Metric("loss", percent=False, worst=9.0),
            "auto",
        ),
        ("mine:right", {"name": "accuracy"}, Metric("accuracy", "maximize"), "1 - value"),
    ],
)
def test_what_our_trainer_measures(
    spec_values: Make, name: str, section: Values | None, metric: Metric, how: str
) -> None:
    found = ours(spec_values, name, section)
    assert found.metric.metric() == metric
    assert found.our_recipe().metric_as == how
    assert found.our_recipe().metric == name
    check_measured(metric, found.trial)
    again = StudySpec.parse(found.model_dump(mode="json"), "again")
    assert (again, again.digest()) == (found, found.digest())
    assert found.references() == ((name,) if ":" in name else ())


def test_another_metric_is_another_study(spec_values: Make) -> None:
    plain = spec(spec_values)
    assert ours(spec_values, "error").digest() == plain.digest()
    changed = plain.changed(["trial.metric=auroc"])
    assert changed.metric.metric().name == "AUROC"
    assert changed.digest() == ours(spec_values, "auroc").digest() != plain.digest()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trial": {"metric": "auc"}}, "unknown metric 'auc'; did you mean 'auroc'"),
        (
            {"trial": {"metric": "auroc"}, "metric": {"name": "log loss"}},
            'metric.name: trial.metric = "auroc" measures AUROC, and no log loss',
        ),
        ({"trial": {"metric": "mine:f2"}}, 'metric.name: is missing; say what "mine:f2" measures'),
        ({"promote": {"epochs": 3, "metric": "auroc"}}, "metric is the same throughout a study"),
        ({"trial": {"metric_as": "-value"}}, "trial.metric_as: unknown key"),
    ],
)
def test_what_is_refused_of_our_trainer(spec_values: Make, changes: Values, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        StudySpec.parse(spec_values(**changes), "study.toml")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "section", "said"),
    [
        ("error", {"name": "AUROC"}, 'unless \\[trial\\] metric says so: one of .*"auroc"'),
        (
            "mine:f2",
            {"name": "F2", "direction": "maximize", "percent": False},
            "metric.worst: is missing",
        ),
    ],
)
def test_what_a_file_is_refused_for(
    spec_values: Make, metric: str, section: Values, said: str
) -> None:
    found = ours(spec_values, metric, section)
    with pytest.raises(ValueError, match=said):
        check_measured(found.metric.metric(), found.trial)


def test_it_is_no_parameter(spec_values: Make) -> None:
    found = StudySpec.parse(spec_values(space={"metric": ["error", "auroc"]}), "study.toml")
    with pytest.raises(ValueError, match=r"space\.metric: is fixed within a study"):
        SearchSpace.of(found)
