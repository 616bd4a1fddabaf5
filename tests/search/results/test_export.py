"""Export files: out and back in without loss, in three formats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.errors import UserError
from tuneoff.search.results.export import Exported, best, dump, format_of, load
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import work
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe

FORMATS = ("toml", "json", "yaml")

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
positive = st.floats(1e-300, 1e300)
values = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(-1e300, 1e300), text)
recipes = st.builds(
    Recipe,
    data=st.builds(
        DataSource,
        name=st.just("folder"),
        path=text.filter(bool),
        image_size=st.none() | st.integers(8, 999),
        validation=st.floats(0.001, 0.999),
        split_seed=st.integers(0, 2**32 - 1),
    ),
    weights=text.filter(bool),
    epochs=st.integers(1, 10**6),
    batch_size=st.integers(1, 10**6),
    drop=st.floats(0.001, 0.999),
    warmup_epochs=st.floats(0, 1),
    layer_decay=st.dictionaries(text, st.floats(0, 1e300), max_size=2),
    flip=st.booleans(),
)
exports = st.builds(
    Exported,
    rank=st.integers(1, 99),
    source=text,
    params=st.dictionaries(text, values, max_size=4),
    hyperparams=st.builds(
        HyperParams, lr=positive, momentum=st.floats(0, 0.999), weight_decay=positive
    ),
    recipe=recipes,
    seed=st.builds(RunSeed, *[st.integers(0, 2**40)] * 3),
    expected=st.dictionaries(text, st.floats(0, 1), max_size=3),
    environment=st.dictionaries(text, text, max_size=3),
)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read(form: str, tmp_path: Path) -> None:
    @given(st.lists(exports, max_size=3))
    def check(configurations: list[Exported]) -> None:
        file = tmp_path / f"best.{form}"
        file.write_text(dump("small", configurations, form), encoding="utf-8")
        assert load(file) == configurations

    check()


def exported() -> Exported:
    return Exported(1, "a/0#0", {"lr": 1e-4}, HyperParams(1e-4), Recipe(), RunSeed(), {}, {})


@pytest.mark.parametrize("form", FORMATS)
def test_small_numbers_stay_numbers(form: str, tmp_path: Path) -> None:
    file = tmp_path / f"best.{form}"
    file.write_text(dump("small", [exported()], form))
    assert load(file)[0].params == {"lr": 1e-4}


BAD = [
    "", "[", "[]", "{}", "1", "null", '"x"', "configurations = 3", "configurations: 3",
    "configurations = [1]", "configurations: [x]", '{"configurations": [{}]}',
    '{"configurations": {"a": 1}}', "configurations = [{}]", "a: [b", "\x00",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("content", BAD)
def test_a_bad_file_gets_one_line(form: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / f"best.{form}"
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: is not an export of tuneoff (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("proxy", "vgg"),
        ("digits", "mnist"),
        ("hyperparams", "hyperparameters"),
        ("weight_decay", "decay"),
        ("split_seed", "seed2"),
        ("0.0001", "-1.0"),
    ],
)
def test_a_damaged_entry_gets_one_line(form: str, good: str, bad: str, tmp_path: Path) -> None:
    file = tmp_path / f"best.{form}"
    content = dump("small", [replace(exported(), params={"x": 1})], form)
    assert good in content or "1.0e-04" in content or "1e-" in content
    file.write_text(content.replace(good, bad).replace("1.0e-04", "-1.0"))
    if file.read_text() == content:
        pytest.skip("written otherwise in this format")
    with pytest.raises(UserError, match="is not an export of tuneoff"):
        load(file)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.pop("format"), r"\('format' is missing\); write it with"),
        (lambda about: about.update(format=2), r"newer tuneoff \(format 2, this one"),
        (lambda about: about.update(format="1"), r"its format is '1', and formats are numbered"),
        (lambda about: about.update(format=True), r"its format is True, and formats are numbered"),
        (lambda about: about.update(format=0), r"its format is 0, and formats are numbered"),
    ],
)
def test_the_format_is_checked(form: str, change: Any, message: str, tmp_path: Path) -> None:
    writers: dict[str, Callable[[Any], str]] = {
        "toml": tomli_w.dumps,
        "json": json.dumps,
        "yaml": yaml.safe_dump,
    }
    content = json.loads(dump("small", [exported()], "json"))
    change(content["tuneoff"])
    file = tmp_path / f"best.{form}"
    file.write_text(writers[form](content))
    with pytest.raises(UserError, match=message) as caught:
        load(file)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_of_another_kind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(No such file"):
        load(tmp_path / "best.toml")
    with pytest.raises(UserError, match=r"best\.txt: name it \.toml, \.json or \.yaml"):
        load(tmp_path / "best.txt")
    (tmp_path / "best.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not an export"):
        load(tmp_path / "best.json")


@pytest.mark.parametrize(
    ("path", "wanted", "form"),
    [
        (None, None, "toml"),
        (Path("a.json"), None, "json"),
        (Path("a.yml"), None, "yaml"),
        (Path("a.yaml"), None, "yaml"),
        (Path("a.txt"), None, "toml"),
        (Path("a.json"), "yaml", "yaml"),
        (None, "json", "json"),
    ],
)
def test_the_format_is_asked_for_or_told_by_the_name(
    path: Path | None, wanted: str | None, form: str
) -> None:
    assert format_of(path, wanted) == form


def test_the_best_of_a_search_comes_without_expectations(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, promote={"epochs": 5})
    with pytest.raises(UserError, match="has no finished trial yet"):
        best(study, 1)
    work(study, study.arms, make_trainer(), me, never)
    first, second = best(study, 2)
    trials = sorted(study.trials(study.arms[0]), key=lambda t: t.value or 1)
    assert [first.params, second.params] == [trials[0].params, trials[1].params]
    assert [first.rank, second.rank] == [1, 2]
    assert first.source == f"random/0#{trials[0].number}"
    assert first.hyperparams.lr == first.params["lr"]
    assert (first.recipe.epochs, first.expected) == (5, {})


def test_the_best_after_full_training_says_what_to_expect(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, promote={"epochs": 2, "top": 2, "seeds": 2})
    trainer = make_trainer()
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    found = best(study, 9)
    assert [bool(entry.expected) for entry in found] == [True, True, False]
    runs = [t for t in study.trials(study.full) if t.params == found[0].params]
    values = [t.value or 0 for t in runs]
    assert found[0].expected["validation_error"] == values[0]
    assert found[0].expected["mean_validation_error"] == pytest.approx(sum(values) / 2)
    assert found[0].expected["seeds"] == 2
    assert "test_error" in found[0].expected
    assert found[0].environment == {"device": "cpu", "trainer": "curves"}
    assert found[0].recipe.precision == "fp32"
    assert found[0].seed == TrialRef(study, study.full, runs[0]).run.seed
    assert found[0].expected["mean_validation_error"] <= found[1].expected["mean_validation_error"]


def test_a_full_run_that_diverged_can_be_exported(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, promote={"epochs": 2, "top": 1, "seeds": 1})
    trainer = make_trainer()
    work(study, study.arms, trainer, me, never)
    broken = make_trainer(diverges=lambda params, epoch: True)
    work(study, study.searches, broken, me, never, lambda: advance(study, broken))
    (found,) = best(study, 1)
    assert found.expected["validation_error"] == pytest.approx(study.task.chance_error)
    assert found.recipe.epochs == 2
    assert found.environment == {}
