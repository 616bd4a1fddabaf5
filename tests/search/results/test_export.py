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
from optuna.trial import TrialState

from tuneoff.search.errors import UserError
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.results.export import best
from tuneoff.search.results.export_file import Exported, dump, format_of, load
from tuneoff.search.study.evidence import known_configurations
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.trial_ref import TrialRef, add_trial
from tuneoff.search.work.promote import advance
from tuneoff.search.work.worker import work
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe

FORMATS = ("toml", "json", "yaml")
WRITERS: dict[str, Callable[[Any], str]] = {
    "toml": tomli_w.dumps,
    "json": json.dumps,
    "yaml": yaml.safe_dump,
}

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
positive = st.floats(1e-300, 1e6)
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
    batch_size=st.integers(2, 10**6),
    drop=st.floats(0.001, 0.999),
    warmup_epochs=st.floats(0, 1),
    layer_decay=st.dictionaries(text, st.floats(0, 1e6), max_size=2),
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
    evidence=st.dictionaries(text, st.floats(0, 1) | text, max_size=3),
)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read(form: str, tmp_path: Path) -> None:
    @given(st.lists(exports, max_size=3, unique_by=lambda one: one.rank))
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
    content = json.loads(dump("small", [exported()], "json"))
    change(content["tuneoff"])
    file = tmp_path / f"best.{form}"
    file.write_text(WRITERS[form](content))
    with pytest.raises(UserError, match=message) as caught:
        load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda entry: entry.update(rank=[1]),
            r"rank: input should be .*, not '\[1\]'",
        ),
        (lambda entry: entry.update(rank="1"), "rank: input should be a valid integer, not '1'"),
        (lambda entry: entry.update(rank=0), "ranks are not different numbers from 1 on"),
        (lambda entry: entry.pop("rank"), "'rank' is missing"),
        (lambda entry: entry.update(source=3), "source: input should be a valid string, not '3'"),
        (lambda entry: entry["environment"].update(threads="x"), "threads is 'x', and no number"),
        (lambda entry: entry["environment"].update(threads="0"), "threads is '0', and no number"),
        (lambda entry: entry["environment"].update(threads="9" * 5000), "threads is '9{40}', and"),
        (lambda entry: entry["environment"].update(threads=2), "environment.threads: input should"),
        (lambda entry: entry["hyperparams"].update(lr="0.1"), "hyperparams.lr: input should be a "),
        (lambda entry: entry["hyperparams"].update(lr=True), "hyperparams.lr: input should be a "),
        (
            lambda entry: entry["recipe"].update(epochs=2.5),
            "recipe.epochs: input should be ",
        ),
        (
            lambda entry: entry["recipe"].update(flip="no"),
            "recipe.flip: input should be ",
        ),
        (lambda entry: entry["recipe"].update(speed=2), "recipe.speed: unknown key"),
        (lambda entry: entry["seed"].update(study=-1), "study = -1 must be a number of at least 0"),
        (lambda entry: entry.update(expected={"seeds": "x"}), "expected.seeds: input should be a "),
    ],
)
def test_a_value_of_the_wrong_type_gets_one_line(
    form: str, change: Any, message: str, tmp_path: Path
) -> None:
    content = json.loads(dump("small", [exported()], "json"))
    change(content["configurations"][0])
    file = tmp_path / f"best.{form}"
    file.write_text(WRITERS[form](content))
    with pytest.raises(UserError, match=message) as caught:
        load(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(file))


def test_two_of_one_rank_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "best.toml"
    file.write_text(dump("small", [exported(), exported()], "toml"))
    with pytest.raises(UserError, match="ranks are not different numbers"):
        load(file)


HEAD = "tuneoff = {format = 1}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("toml", "a = " + "[" * 100_000),
        ("json", "[" * 100_000),
        ("yaml", "[" * 600 + "]" * 600),
        ("toml", HEAD + "configurations = [{params = {x = " + "[" * 400 + "]" * 400 + "}}]"),
        ("yaml", "a: &a [x, x]\nb: &b [*a, *a]\nconfigurations: [*b]"),
    ],
)  # fmt: skip
def test_deep_nesting_and_aliases_get_one_line(form: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / f"best.{form}"
    file.write_text(content)
    with pytest.raises(UserError, match="is not an export of tuneoff") as caught:
        load(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(file))


@pytest.mark.parametrize("form", FORMATS)
def test_a_byte_order_mark_is_read_over(form: str, tmp_path: Path) -> None:
    file = tmp_path / f"best.{form.upper()}"  # and what Windows makes of the name's ending
    file.write_text(dump("small", [exported()], form), encoding="utf-8-sig")
    assert load(file) == [exported()]


def test_a_study_file_is_called_one(tmp_path: Path) -> None:
    file = tmp_path / "digits.toml"
    file.write_bytes((Path(__file__).parents[3] / "studies" / "digits.toml").read_bytes())
    with pytest.raises(UserError, match=r"is a study file, not an export; `tuneoff run "):
        load(file)


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


@pytest.mark.slow
def test_the_best_of_a_search_comes_without_expectations(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, promote={"epochs": 5})
    with pytest.raises(UserError, match="has no finished trial yet"):
        best(study, 1)
    work(study, study.arms, make_trainer(), me, never)
    first, second = best(study, 2).configurations
    trials = sorted(study.trials(study.arms[0]), key=lambda t: t.value or 1)
    assert [first.params, second.params] == [trials[0].params, trials[1].params]
    assert [first.rank, second.rank] == [1, 2]
    assert first.source == f"random/0#{trials[0].number}"
    assert first.hyperparams.lr == first.params["lr"]
    assert (first.recipe.epochs, first.expected) == (5, {})


@pytest.mark.slow
def test_the_best_after_full_training_says_what_to_expect(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, promote={"epochs": 2, "top": 2, "seeds": 2})
    trainer = make_trainer()
    work(study, study.searches, trainer, me, never, lambda: advance(study, trainer))
    found = best(study, 9).configurations
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


@pytest.mark.slow
def test_only_who_asks_for_it_gets_a_configuration_that_diverged(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database, promote={"epochs": 2, "top": 1, "seeds": 1})
    trainer = make_trainer()
    work(study, study.arms, trainer, me, never)
    known = known_configurations(Snapshot.of(study))
    broken = make_trainer(diverges=lambda params, epoch: True)
    work(study, study.searches, broken, me, never, lambda: advance(study, broken))
    # What diverged in full training goes last, and those that have search runs alone go before it.
    rest = best(study, len(known))
    assert [c.params for c in rest.configurations] == [c.params for c in known[1:]]
    assert rest.notes[0] == "1 more diverged and are left out; --diverged exports them, too."
    found = best(study, 9, diverged=True).configurations[-1]
    assert found.params == known[0].params
    assert found.expected["validation_error"] == pytest.approx(study.task.chance_error)
    assert found.recipe.epochs == 2
    assert found.environment == {}
    assert found.evidence["decided_by"] == "full training"
    assert (found.evidence["full_trainings"], found.evidence["full_trainings_diverged"]) == (1, 1)


@pytest.mark.slow
def test_a_study_whose_every_run_diverged_exports_nothing(
    sqlite_database: Any, make_study: Any, make_trainer: Any, me: Any, never: Any
) -> None:
    study = make_study(sqlite_database)
    work(study, study.arms, make_trainer(diverges=lambda params, epoch: True), me, never)
    with pytest.raises(UserError, match=r"all \d+ configurations diverged.*--diverged"):
        best(study, 1)
    (found,) = best(study, 1, diverged=True).configurations
    assert found.evidence["search_runs_diverged"] == 1


def test_a_study_whose_every_trial_failed_says_why(sqlite_database: Any, make_study: Any) -> None:
    study = make_study(sqlite_database)
    add_trial(study, study.arms[0], TrialState.RUNNING, NewTrial({"lr": 0.1}, 3)).fail("no space")
    with pytest.raises(UserError, match=r"the only trial failed.*the last reason: no space"):
        best(study, 1)


def test_a_file_of_an_earlier_version_has_no_evidence(tmp_path: Path) -> None:
    content = json.loads(dump("small", [exported()], "json"))
    del content["configurations"][0]["evidence"]
    (tmp_path / "best.json").write_text(json.dumps(content))
    assert load(tmp_path / "best.json") == [exported()]
