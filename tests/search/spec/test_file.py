"""The study file: every mistake gets one line that names the field and the fix."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.reading import read_study_file
from tuneoff.search.spec.registry import PRUNERS, SAMPLERS
from tuneoff.search.spec.sections import TrialSpec
from tuneoff.trainer.recipe import HyperParams, Recipe
from tuneoff.trainer.registry import SCHEDULES

LR = {"low": 1e-4, "high": 1.0, "log": True}
HAND = {"hand": {"configs": [{"lr": 0.01}]}}

# What is wrong with the small study file, and what the one line must name.
MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"repeat": 3}, ["repeat: unknown key", "did you mean 'repeats'"]),
    "unknown key in a section": (
        {"trial": {"epoch": 3}},
        ["trial.epoch: unknown", "did you mean 'epochs'"],
    ),
    "unknown key in an arm": (
        {"arms": {"a": {"samplr": "gp"}}},
        ["arms.a.samplr", "did you mean 'sampler'"],
    ),
    "unknown key in an arm called space": (
        {"arms": {"space": {"samplr": "gp"}}},
        ["arms.space.samplr", "did you mean 'sampler'"],
    ),
    "two budgets": ({"budget": {"hours": 2}}, ["budget: has epochs and hours; give one of"]),
    "a budget of nothing": (
        {"budget": {"epochs": None}},
        ["budget: has none of them; give one of epochs, seconds and hours"],
    ),
    "a budget of time with a rule that counts epochs": (
        {"budget": {"epochs": None, "seconds": 5, "stop_when": "gain < 0.1 within 50 epochs"}},
        ["budget: stop_when looks epochs ahead, and the budget is in seconds; give it in epochs"],
    ),
    "a budget of time for a sampler that shares out epochs": (
        {"budget": {"epochs": None, "hours": 1}, "arms": {"a": {"sampler": "top-k"}}},
        ["arms.a: sampler 'top-k' shares out a budget in epochs; give budget.epochs, or another"],
    ),
    "a key begun": ({"workers": {"grace": 3}}, ["workers.grace", "did you mean 'grace_seconds'"]),
    "a key whose right name is missing": (
        {"budget": None, "buget": {"epochs": 9}},
        ["buget: unknown key; did you mean 'budget'? (and 1 more)"],
    ),
    "a layer's factor without quotes": (
        {"space": {"layer_decay": {"fc": {"low": 0.1, "high": 10}}}},
        ['space.layer_decay.fc: unknown key; write the whole name in quotes: "layer_decay.fc"'],
    ),
    "one value in the space": ({"space": {"lr": 0.1}}, ["space.lr: 0.1", "write { low = "]),
    "a value for a table": ({"arms": {"a": "tpe"}}, ["arms.a: 'tpe'", "write a table"]),
    "no members": (
        {"promote": {"epochs": 3}, "ensemble": {"members": []}},
        ["ensemble.members: is empty; give at least 1"],
    ),
    "a sampler in capitals": ({"arms": {"a": {"sampler": "TPE"}}}, ["did you mean 'tpe'"]),
    "a number in quotes": (
        {"arms": {"a": {"configs": [{"lr": "0.01"}]}}},
        ["arms.a.configs.0: lr = '0.01' has the wrong type; lr is a number"],
    ),
    "a note misspelt": (
        {"arms": {"a": {"configs": [{"lr": 0.01, "nte": "why"}]}}},
        ["arms.a.configs.0: nte is not searched in this study; did you mean 'note'?"],
    ),
    "unknown key unlike any": ({"zzz": 1}, ["zzz: unknown key; take it out"]),
    "missing section": ({"budget": None}, ["budget: is missing; add it"]),
    "missing key": ({"data": {"name": None}}, ["data.name: is missing"]),
    "number as text": ({"seed": "1"}, ["seed: '1' has the wrong type", "integer"]),
    "text as number": ({"name": 3}, ["name: 3 has the wrong type", "string"]),
    "name with capitals and a blank": (
        {"name": "My Study"},
        ["name: 'My Study' is refused: use at most 64 of a-z, A-Z, 0-9, dots"],
    ),
    "fraction of an epoch": ({"trial": {"epochs": 2.5}}, ["trial.epochs: 2.5", "integer"]),
    "flag as text": ({"trial": {"flip": "no"}}, ["trial.flip: 'no' has the wrong type"]),
    "not a number": ({"trial": {"lr": float("nan")}}, ["trial.lr"]),
    "empty space": ({"space": {"lr": None}}, ["space", "at least 1"]),
    "empty range": (
        {"space": {"lr": {"low": None}}},
        ["space.lr: needs a low and a high end", "low = "],
    ),
    "range upside down": ({"space": {"lr": {"low": 2}}}, ["space.lr", "low must be smaller"]),
    "range of one point": ({"space": {"lr": {"low": 1}}}, ["space.lr", "low must be smaller"]),
    "log range from 0": ({"space": {"lr": {"low": 0}}}, ["space.lr", "starts above 0"]),
    "log range with a step": ({"space": {"lr": {"step": 0.1}}}, ["space.lr", "log = false"]),
    "endless range": ({"space": {"lr": {"high": float("inf")}}}, ["space.lr.high"]),
    "a batch beyond any sense": (
        {"trial": {"batch_size": 10**20 - 1}},
        ["trial: batch_size = 99999999999999999999 must be at most 1,000,000"],
    ),
    "a number of hundreds of digits": (
        {"trial": {"epochs": 10**400}},
        ["trial: epochs = 1.0e+400 must be at most 1,000,000"],
    ),
    "a batch of one in the space": (
        {"space": {"batch_size": {"low": 1, "high": 64, "log": True}}},
        ["space.batch_size: batch_size = 1 cannot train batch normalisation; use 2 or more"],
    ),
    "a range beyond any sense": (
        {"space": {"batch_size": {"low": 2, "high": 10**20}}},
        ["space.batch_size: batch_size = 1.0e+20 must be at most 1,000,000"],
    ),
    "a rate beyond any sense": (
        {"space": {"lr": {"high": 1e300}}},
        ["space.lr: lr = 1e+300 must be at most 1,000,000"],
    ),
    "an end of hundreds of digits": (
        {"space": {"lr": {"high": 10**400}}},
        ["space.lr.high: 1.0e"],
    ),
    "a budget beyond any sense": (
        {"budget": {"epochs": 10**30}},
        ["budget.epochs: 1.0e+30 is"],
    ),
    "repeats beyond any sense": ({"repeats": 10**6}, ["repeats: 1000000 is refused", "1000"]),
    "points beyond any sense": (
        {"arms": {"a": {"sampler": "grid", "points": 10**6}}},
        ["arms.a.points: 1000000 is refused", "1000"],
    ),
    "a grid beyond any sense": (
        {
            "arms": {"a": {"sampler": "grid", "points": 1000}},
            "space": {"momentum": {"low": 0.1, "high": 0.9}},
        },
        ["arms.a: points = 1000 makes a grid of 1000000 configurations; lower it"],
    ),
    "attempts beyond any sense": (
        {"workers": {"max_attempts": 10**30}},
        ["workers.max_attempts: 1.0e+30 is refused", "1000"],
    ),
    "a long text": ({"name": "x" * 500}, ["name: 'xxx", "xx... is refused"]),
    "one choice": ({"space": {"schedule": ["step"]}}, ["space.schedule", "add one"]),
    "a choice twice": (
        {"space": {"schedule": ["step", "cosine", "step"]}},
        ["space.schedule", "twice"],
    ),
    "equal choices": ({"space": {"warmup_epochs": [1, 1.0]}}, ["warmup_epochs", "twice"]),
    "choices and range": (
        {"space": {"lr": {"choices": [0.1, 0.2]}}},
        ["space.lr: has choices and a range"],
    ),
    "no parameter": (
        {"space": {"speed": {"low": 1, "high": 2}}},
        [
            "space.speed: is not a parameter; choose from: lr, momentum",
            ", model, model_options.NAME, weights",
            ", optimizer, optimizer_options.NAME, nesterov",
            ", loss, loss_options.NAME",
        ],
    ),
    "a table of options": (
        {"space": {"optimizer_options": {"low": 0.9, "high": 0.99}}},
        ["space.optimizer_options: search each of its values", '"optimizer_options.NAME" = {'],
    ),
    "epochs are fixed": (
        {"space": {"epochs": {"low": 1, "high": 2}}},
        ["space.epochs", "is fixed within a study"],
    ),
    "half an image": (
        {"space": {"batch_size": {"low": 1.5, "high": 8}}},
        ["space.batch_size", "whole number"],
    ),
    "choice of another type": ({"space": {"batch_size": [32, "64"]}}, ["space.batch_size", "'64'"]),
    "flag spelt out": ({"space": {"flip": ["yes", "no"]}}, ["space.flip", "is a bool"]),
    "range of flags": ({"space": {"flip": {"low": 0, "high": 1}}}, ["space.flip", "is a bool"]),
    "impossible choice": ({"space": {"model": ["proxy", "vgg"]}}, ["space.model", "'vgg'"]),
    "impossible end": ({"space": {"momentum": {"low": 0, "high": 1}}}, ["momentum", "below 1"]),
    "step that misses the end": (
        {"space": {"batch_size": {"low": 16, "high": 60, "step": 16}}},
        ["space.batch_size", "write high = 48"],
    ),
    "no budget": ({"budget": {"epochs": 0}}, ["budget.epochs: 0", "greater than 0"]),
    "negative budget": ({"budget": {"epochs": -9}}, ["budget.epochs: -9"]),
    "budget below one trial": (
        {"budget": {"epochs": 2}},
        ["budget.epochs = 2", "trial.epochs = 3", "raise the one or lower the other"],
    ),
    "no arms": ({"arms": {}}, ["arms", "at least 1"]),
    "unknown sampler": (
        {"arms": {"a": {"sampler": "tpee"}}},
        ["arms.a", "'tpee'", "did you mean 'tpe'", "quasi-random"],
    ),
    "unknown pruner": (
        {"arms": {"a": {"sampler": "gp", "pruner": "medium"}}},
        ["arms.a", "pruner 'medium'", "did you mean 'median'"],
    ),
    "sampler and list": (
        {"arms": {"a": {"sampler": "gp", "configs": [{"lr": 0.1}]}}},
        ["arms.a", "not both"],
    ),
    "curve-gp with a pruner": (
        {"arms": {"a": {"sampler": "curve-gp", "pruner": "median"}}},
        ["arms.a", "take the pruner out"],
    ),
    "no sampler but a pruner": (
        {"arms": {"a": {"pruner": "median"}}},
        ["arms.a", "take the pruner out"],
    ),
    "start of another sampler": (
        {"arms": {"a": {"sampler": "gp", "start_from": "a"}}},
        ["arms.a", 'for sampler = "curve-gp"'],
    ),
    "prior of another sampler": (
        {"arms": {"a": {"sampler": "tpe", "prior_from": "hand"}, **HAND}},
        ['arms.a: start_from and prior_from are for sampler = "curve-gp"; take them out'],
    ),
    "prior from nowhere": (
        {"arms": {"a": {"prior_from": "nobody"}}},
        ["arms.a: prior_from = 'nobody' is not an arm with configs", "name a hand-tuned arm"],
    ),
    "a key under both of its names": (
        {"arms": {"a": {"prior_from": "hand", "believe": "hand"}, **HAND}},
        ["arms.a: has prior_from and believe, its old name; take believe out"],
    ),
    "start from no list": (
        {"arms": {"a": {"start_from": "b"}, "b": {"sampler": "random"}}},
        ["arms.a: start_from = 'b' is not an arm with configs", "name a hand-tuned arm"],
    ),
    "reserved arm": ({"arms": {"full": {"sampler": "gp"}}}, ["arms.full", "cannot be used"]),
    "arm with a slash": ({"arms": {"a/b": {"sampler": "gp"}}}, ["arms.a/b", "cannot be used"]),
    "arm without letters": ({"arms": {"": {"sampler": "gp"}}}, ["arms.", "cannot be used"]),
    "arm too long": ({"arms": {"a" * 65: {"sampler": "gp"}}}, ["cannot be used"]),
    "unknown model": ({"trial": {"model": "resnet19"}}, ["trial", "'resnet19'", "resnet18"]),
    "unknown schedule": ({"trial": {"schedule": "x"}}, ["trial", "schedule", "plateau"]),
    "no batch": ({"trial": {"batch_size": 0}}, ["trial", "batch_size = 0", "at least 1"]),
    "unknown dataset": ({"data": {"name": "mnist"}}, ["data", "'mnist'", "tiny-imagenet"]),
    "dataset without path": ({"data": {"name": "folder"}}, ["data", "path is missing"]),
    "all for validation": ({"data": {"validation": 1.0}}, ["data", "validation", "between 0 and"]),
    "name with a blank": ({"name": "my study"}, ["name: 'my study'"]),
    "name with a slash": ({"name": "a/b"}, ["name: 'a/b'"]),
    "empty name": ({"name": ""}, ["name: ''"]),
    "negative seed": ({"seed": -1}, ["seed: -1"]),
    "seed too large": ({"seed": 2**32}, ["seed: 4294967296"]),
    "no repeats": ({"repeats": 0}, ["repeats: 0"]),
    "config outside of the space": (
        {"arms": {"hand": {"configs": [{"lr": 0.1}, {"lr": 7.0}]}}},
        ["arms.hand.configs.1", "lr = 7.0", "0.0001 to 1, log", "widen [space]"],
    ),
    "config incomplete": (
        {"arms": HAND, "space": {"momentum": [0.5, 0.9]}},
        ["arms.hand.configs.0", "momentum is missing"],
    ),
    "config with another parameter": (
        {"arms": {"hand": {"configs": [{"lr": 0.1, "momentum": 0.9}]}}},
        ["arms.hand.configs.0", "momentum is not searched"],
    ),
    "promotion without epochs": ({"promote": {"top": 2}}, ["promote.epochs: is missing"]),
    "promotion of none": ({"promote": {"epochs": 1, "top": 0}}, ["promote.top: 0"]),
    "promotion to no model": ({"promote": {"epochs": 1, "model": "x"}}, ["promote", "'x'"]),
    "ensemble without promotion": (
        {"ensemble": {"members": [{"model": "proxy"}]}},
        ["ensemble: needs a [promote] section"],
    ),
    "ensemble of none": ({"ensemble": {"members": []}}, ["ensemble.members", "at least 1"]),
    "member of no kind": (
        {"promote": {"epochs": 1}, "ensemble": {"members": [{"model": "x"}]}},
        ["ensemble.members.0", "'x'"],
    ),
    "unknown key of a member": (
        {"promote": {"epochs": 1}, "ensemble": {"members": [{"model": "proxy", "epoch": 1}]}},
        ["ensemble.members.0.epoch", "did you mean 'epochs'"],
    ),
    "unknown combination": (
        {"promote": {"epochs": 1}, "ensemble": {"combine": "men", "members": [{"model": "proxy"}]}},
        ["ensemble.combine", "did you mean 'mean'"],
    ),
    "impatience": ({"workers": {"grace_seconds": 0}}, ["workers.grace_seconds: 0"]),
    "no threads": ({"workers": {"threads": 0}}, ["workers.threads: 0"]),
    "nobody at work": ({"workers": {"per_search": 0}}, ["workers.per_search: 0"]),
    "steps of another sampler": (
        {"arms": {"a": {"sampler": "random", "order": ["lr"]}}},
        ["arms.a: order is for", '"one-at-a-time"', "take it out"],
    ),
    "steps of a list": (
        {"arms": {"a": {"configs": [{"lr": 0.1}], "start": {"lr": 0.1}}}},
        ["arms.a: start is for", '"one-at-a-time"'],
    ),
    "start outside of the space": (
        {"arms": {"a": {"sampler": "one-at-a-time", "start": {"lr": 7.0}}}},
        ["arms.a.start: lr = 7.0", "0.0001 to 1, log"],
    ),
    "start of what is not searched": (
        {"arms": {"a": {"sampler": "one-at-a-time", "start": {"momentum": 0.9}}}},
        ["arms.a.start: momentum is not searched"],
    ),
    "order with a misspelt name": (
        {"arms": {"a": {"sampler": "one-at-a-time", "order": ["lrr"]}}},
        ["arms.a.order: lrr is not searched", "did you mean 'lr'"],
    ),
    "order that names one twice": (
        {"arms": {"a": {"sampler": "one-at-a-time", "order": ["lr", "lr"]}}},
        ["arms.a.order: names a parameter twice"],
    ),
    "order of none": (
        {"arms": {"a": {"sampler": "one-at-a-time", "order": []}}},
        ["arms.a.order: is empty"],
    ),
    "factor that does not step": (
        {"arms": {"a": {"sampler": "one-at-a-time", "factors": {"lr": 1.0}}}},
        ["arms.a.factors: lr = 1 is refused", "logarithmic"],
    ),
    "share that leaves the range": (
        {
            "space": {"momentum": {"low": 0.5, "high": 0.9}},
            "arms": {"a": {"sampler": "one-at-a-time", "factors": {"momentum": 3.0}}},
        },
        ["arms.a.factors: momentum = 3 is refused", "share"],
    ),
    "factor of choices": (
        {
            "space": {"momentum": [0.5, 0.9]},
            "arms": {"a": {"sampler": "one-at-a-time", "factors": {"momentum": 3.0}}},
        },
        ["arms.a.factors: momentum has choices", "take it out"],
    ),
    "candidates of another sampler": (
        {"arms": {"a": {"sampler": "random", "candidates": 4}}},
        ["arms.a: candidates is for", '"top-k"', "take it out"],
    ),
    "top-k with a pruner": (
        {"arms": {"a": {"sampler": "top-k", "pruner": "median"}}},
        ["arms.a: top-k pauses weak runs itself"],
    ),
    "more in full than candidates": (
        {"arms": {"a": {"sampler": "top-k", "candidates": 2, "full": 3}}},
        ["arms.a: full = 3 is more than candidates = 2"],
    ),
    "candidates that leave no full run": (
        {"arms": {"a": {"sampler": "top-k", "candidates": 8}}},
        ["arms.a: 8 configurations for 1 epoch and 1 of them in full take 10", "budget.epochs = 9"],
    ),
    "full runs that the budget cannot pay": (
        {"arms": {"a": {"sampler": "top-k", "full": 4}}},
        ["arms.a: 4 configurations", "take 12 epochs", "lower full"],
    ),
    "unknown persona": (
        {"arms": {"a": {"persona": "carful"}}},
        ["arms.a.persona: unknown persona 'carful'; did you mean 'careful'"],
    ),
    "persona and sampler": (
        {"arms": {"a": {"persona": "grid", "sampler": "random"}}},
        ["arms.a: has a sampler and a persona"],
    ),
    "persona and a list": (
        {"arms": {"a": {"persona": "grid", "configs": [{"lr": 0.1}]}}},
        ["arms.a: has a persona and configs"],
    ),
    "persona of a kind that is none": (
        {"arms": {"a": {"persona": 3}}},
        ["arms.a.persona: unknown persona '3'"],
    ),
    "persona outside of the space": (
        {
            "space": {"lr": {"low": 1e-3, "high": 1.0, "log": True}},
            "arms": {"a": {"persona": "careful"}},
        },
        ['arms.a.persona: the list "careful" does not fit: lr = 0.0003 lies outside', "widen"],
    ),
    "no attempts": ({"workers": {"max_attempts": 0}}, ["workers.max_attempts: 0"]),
}


def toml(values: dict[str, Any]) -> str:
    import tomli_w

    return tomli_w.dumps(values)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line(spec_values: Any, tmp_path: Path, mistake: str) -> None:
    changes, named = MISTAKES[mistake]
    file = tmp_path / "study.toml"
    file.write_text(toml(spec_values(**changes)))
    with pytest.raises(SpecError) as caught:
        read_study_file(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert "\n" not in message
    for part in named:
        assert part in message


def test_the_small_study_file_is_good(spec_values: Any, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text(toml(spec_values()))
    found = read_study_file(file)
    assert found.spec.name == "small"
    assert list(found.space.distributions) == ["lr"]


def test_a_file_that_is_not_toml_or_not_there(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    with pytest.raises(SpecError, match=r"study.toml: cannot be read \(No such file"):
        StudySpec.load(file)
    for content in (b"name = ", b"x = " + 99_999 * b"["):
        file.write_bytes(content)
        with pytest.raises(SpecError, match=r"study.toml: is not valid TOML"):
            StudySpec.load(file)
    file.write_bytes("name".encode("utf-16"))
    with pytest.raises(SpecError, match=r"study.toml: is not text in UTF-8; save it as UTF-8"):
        StudySpec.load(file)


def test_a_byte_order_mark_is_passed_over(spec_values: Any, tmp_path: Path) -> None:
    """Editors on Windows write one."""
    file = tmp_path / "study.toml"
    file.write_text(toml(spec_values()), encoding="utf-8-sig")
    assert file.read_bytes().startswith(b"\xef\xbb\xbf")
    assert StudySpec.load(file).name == "small"


@pytest.mark.parametrize(
    ("change", "read"),
    [
        ("budget.epochs=20", lambda s: s.budget.epochs == 20),
        ("budget.epochs = 20", lambda s: s.budget.epochs == 20),
        ("trial.model=resnet18", lambda s: s.trial.model == "resnet18"),
        ('trial.model="resnet18"', lambda s: s.trial.model == "resnet18"),
        ("trial.lr=1e-2", lambda s: s.trial.lr == 0.01),
        ("trial.flip=false", lambda s: not s.trial.flip),
        ("data.image_size=32", lambda s: s.data.image_size == 32),
        ("promote.epochs=5", lambda s: s.promote.epochs == 5),  # a section that was not there
        ("space.lr.high=2", lambda s: s.space["lr"].high == 2),
        ("space.batch_size=[16, 32]", lambda s: s.space["batch_size"].choices == (16, 32)),
        ("arms.random.pruner=median", lambda s: s.arms["random"].pruner == "median"),
        ("name=other", lambda s: s.name == "other"),
    ],
)
def test_set_changes_any_value(spec_values: Any, tmp_path: Path, change: str, read: Any) -> None:
    file = tmp_path / "study.toml"
    file.write_text(toml(spec_values()))
    assert read(StudySpec.load(file, [change]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("budget.epochs", "write it as --set budget.epochs=20"),
        ("=20", "write it as --set budget.epochs=20"),
        ("name.epochs=20", "name is not a table"),
        ("budget.epoch=20", "did you mean 'epochs'"),
        ("budget.epochs=many", "budget.epochs: 'many' has the wrong type"),
        ("seed=1\nname = 'x'", "seed: \"1\\nname = 'x'\" has the wrong type"),
    ],
)
def test_a_bad_set_gets_one_line(
    spec_values: Any, tmp_path: Path, change: str, message: str
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(toml(spec_values()))
    with pytest.raises(SpecError) as caught:
        StudySpec.load(file, [change])
    assert message in str(caught.value)


# Valid specs

names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
arm_names = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("full", "ensemble")
)
floats = st.floats(1e-6, 1.0)
ranges = st.tuples(floats, floats, st.booleans()).filter(lambda r: r[0] < r[1])
params = st.one_of(
    ranges.map(lambda r: {"low": r[0], "high": r[1], "log": r[2]}),
    st.lists(floats, min_size=2, max_size=4, unique=True),
)
arms = st.one_of(
    st.builds(
        lambda sampler, pruner, startup: {
            "sampler": sampler,
            "pruner": "none" if SAMPLERS.entry(sampler).stops_runs else pruner,
            "startup": startup,
        },
        st.sampled_from(SAMPLERS.names),
        st.sampled_from(PRUNERS.names),
        st.integers(1, 20),
    ),
    st.lists(
        st.builds(lambda lr, note: {"lr": lr, "note": note}, floats, st.text()), min_size=1
    ).map(lambda configs: {"configs": configs}),
)
specs = st.fixed_dictionaries(
    {
        "name": names,
        "data": st.fixed_dictionaries(
            {"name": st.just("folder"), "path": st.text(min_size=1)},
            optional={"image_size": st.integers(8, 300), "validation": st.floats(0.01, 0.99)},
        ),
        "space": st.fixed_dictionaries(
            {"lr": params},
            optional={"schedule": st.just(list(SCHEDULES)), "batch_size": st.just([8, 16])},
        ),
        "budget": st.fixed_dictionaries({"epochs": st.integers(9, 10**6)}),
        "arms": st.dictionaries(arm_names, arms, min_size=1, max_size=3),
    },
    optional={
        "seed": st.integers(0, 2**32 - 1),
        "repeats": st.integers(1, 99),
        "promote": st.fixed_dictionaries({"epochs": st.integers(1, 99)}),
        "workers": st.fixed_dictionaries({"grace_seconds": st.floats(0.1, 1e6)}),
    },
)


@pytest.mark.slow
@given(specs)
def test_a_spec_survives_storing(values: dict[str, Any]) -> None:
    spec = StudySpec.parse(values, "test")
    again = StudySpec.parse(json.loads(spec.model_dump_json()), "stored")
    assert again == spec
    assert again.digest() == spec.digest()
    assert again.differences(spec) == []
    assert list(again.space) == list(spec.space)


@pytest.mark.slow
@given(specs, st.text(min_size=1), st.floats(0.1, 1e6))
def test_where_data_lie_and_patience_are_no_part_of_a_study(
    values: dict[str, Any], path: str, grace: float
) -> None:
    spec = StudySpec.parse(values, "test")
    moved = StudySpec.parse(
        {
            **values,
            "data": {**values["data"], "path": path},
            "workers": {"grace_seconds": grace, "max_attempts": 9},
        },
        "test",
    )
    assert moved.digest() == spec.digest()
    assert spec.differences(moved) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": 8}, "seed is 7, not 8"),
        ({"trial": {"lr": 0.5}}, "trial.lr is 0.01, not 0.5"),
        ({"budget": {"epochs": 12}}, "budget.epochs is 9, not 12"),
        ({"space": {"lr": {"high": 2.0}}}, "space.lr.high is 1.0, not 2.0"),
        ({"data": {"validation": 0.2}}, "data.validation is 0.1, not 0.2"),
        ({"promote": {"epochs": 5}}, "promote.epochs is None, not 5"),
        ({"arms": {"random": {"sampler": "tpe"}}}, "arms.random.sampler is 'random', not 'tpe'"),
        ({"arms": {**HAND, "random": {"sampler": "random"}}}, "arms.hand.configs is None"),
    ],
)
def test_a_difference_is_named(spec_values: Any, changes: dict[str, Any], field: str) -> None:
    ours = StudySpec.parse(spec_values(), "test")
    theirs = StudySpec.parse(spec_values(**changes), "test")
    assert any(line.startswith(field) for line in ours.differences(theirs))
    assert ours.digest() != theirs.digest()


# Keys that had another name in earlier versions

HAND_AND_PRIOR = {"hand": {"configs": [{"lr": 0.1}]}, "gp": {"prior_from": "hand"}}


def test_an_old_key_is_read_with_one_line_of_warning(
    spec_values: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = tmp_path / "old.toml", tmp_path / "new.toml"
    new.write_text(toml(spec_values(arms=HAND_AND_PRIOR)))
    old.write_text(new.read_text().replace("prior_from", "believe"))
    with caplog.at_level(logging.WARNING):
        spec = StudySpec.load(new)
        assert caplog.messages == []
        assert StudySpec.load(old) == spec
    (line,) = caplog.messages
    assert line == (
        f"{old}: arms.gp.believe is called arms.gp.prior_from now; the old name still works"
    )
    assert spec.arms["gp"].prior_from == "hand"


def test_a_study_that_was_stored_with_an_old_key_goes_on(
    spec_values: Any, caplog: pytest.LogCaptureFixture
) -> None:
    stored = json.loads((Path(__file__).parent / "stored_with_believe.json").read_text())
    with caplog.at_level(logging.WARNING):
        spec = StudySpec.parse(stored, "stored study")
        assert caplog.messages == []  # nobody could change what is stored
    today = StudySpec.parse(spec_values(arms=HAND_AND_PRIOR), "test")
    assert spec == today
    assert spec.differences(today) == today.differences(spec) == []
    # As the version that stored it had it.
    assert (
        spec.digest()
        == today.digest()
        == "e32c9cbde7798edcc55da54f5f9078b11c37b9da5d82587259e45d5cdf36c6fd"
    )


def test_a_file_changed_with_set_is_the_file_so_written(spec_values: Any, tmp_path: Path) -> None:
    plain, changed = tmp_path / "plain.toml", tmp_path / "changed.toml"
    plain.write_text(toml(spec_values()))
    changed.write_text(toml(spec_values(budget={"epochs": 30})))
    assert StudySpec.load(plain, ["budget.epochs=30"]) == StudySpec.load(changed)


def test_full_training_and_members_build_on_the_trial(spec_values: Any) -> None:
    spec = StudySpec.parse(
        spec_values(
            promote={"epochs": 20, "schedule": "cosine"},
            ensemble={"members": [{"model": "proxy-dense"}, {"model": "proxy", "epochs": 4}]},
        ),
        "test",
    )
    assert spec.full_recipe() == spec.our_recipe().override({"epochs": 20, "schedule": "cosine"})
    dense, short = spec.member_recipes()
    assert (dense.model, dense.epochs, dense.schedule) == ("proxy-dense", 20, "cosine")
    assert (short.model, short.epochs) == ("proxy", 4)
    assert spec.our_recipe().data.split_seed == spec.seed
    with pytest.raises(SpecError, match="no \\[promote\\] section"):
        StudySpec.parse(spec_values(), "test").full_recipe()


def test_a_part_of_the_images_is_for_the_search_alone(spec_values: Any) -> None:
    values = spec_values(
        promote={"epochs": 20},
        ensemble={"members": [{"model": "proxy"}, {"model": "proxy-dense", "images": 80}]},
        horizon={"epochs": [3, 9]},
    )
    values["trial"]["images"] = 200
    spec = StudySpec.parse(values, "test")
    assert spec.our_recipe().images == 200
    assert spec.full_recipe().images == 0
    assert [recipe.images for recipe in spec.member_recipes()] == [0, 80]
    horizons = [spec.our_recipe().override(c) for c in list(spec.later_changes().values())[-2:]]
    assert [(recipe.epochs, recipe.images) for recipe in horizons] == [(3, 200), (9, 200)]
    values["promote"]["images"] = 400
    assert StudySpec.parse(values, "test").full_recipe().images == 400
    assert [r.images for r in StudySpec.parse(values, "test").member_recipes()] == [400, 80]
    del values["trial"]["images"], values["promote"]["images"]
    assert "images" not in StudySpec.parse(values, "test").full_changes()


def test_trial_section_has_the_recipes_fields_and_defaults() -> None:
    fields = {f.name: getattr(Recipe(), f.name) for f in dataclasses.fields(Recipe)}
    del fields["data"], fields["metric_as"]  # which [data] and [metric] say
    assert TrialSpec().recipe_fields() == fields
    assert TrialSpec().hyperparams() == HyperParams()


def test_a_number_with_more_digits_than_python_reads(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(f"seed = {'9' * 5000}")
    with pytest.raises(SpecError, match="is not valid TOML: Exceeds the limit") as caught:
        StudySpec.load(path)
    assert "\n" not in str(caught.value)


def test_a_budget_is_in_one_currency(spec_values: Any) -> None:
    spec = StudySpec.parse(spec_values(), "test")
    assert spec.model_dump(mode="json")["budget"] == {"epochs": 9, "stop_when": None}
    hours = spec.changed(["budget.hours=0.5"])
    assert (hours.budget.epochs, hours.budget.time) == (None, 1800)
    assert "budget.hours is 0.5, not None" in hours.differences(spec)
    assert StudySpec.parse(hours.model_dump(mode="json"), "stored") == hours
    assert hours.digest() != spec.digest()
    assert hours.changed(["budget.epochs=9"]) == spec
