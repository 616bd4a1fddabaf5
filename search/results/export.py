"""Best configurations out of a study, as TOML, JSON or YAML, and back in."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tomli_w
import yaml
from optuna.trial import FrozenTrial

from tuneoff.messages import first_line
from tuneoff.search.errors import UserError
from tuneoff.search.store.attributes import ENVIRONMENT, RECIPE, TEST_ERROR
from tuneoff.search.study.selection import confirmed_runs, key_of, mean_error, ranking
from tuneoff.search.study.snapshot import Snapshot
from tuneoff.search.study.study import FULL_RUN, Study
from tuneoff.search.study.trial_ref import TrialRef
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import HyperParams, Recipe

FORMATS = ("toml", "json", "yaml")
VERSION = 1
"""Of what an export file holds. It rises whenever earlier versions could not read it any more."""


@dataclass(frozen=True)
class Exported:
    """A configuration and all that is needed to train it again.

    Attributes:
        rank: 1 is the best.
        source: where it was found, "ARM/REPEAT#TRIAL".
        expected: what training came to: "validation_error" and "test_error", 0 to 1, and over
            how many seeds "mean_validation_error" was taken; empty if it was not trained in full.
        environment: device, threads and versions of that training.
    """

    rank: int
    source: str
    params: Mapping[str, Any]
    hyperparams: HyperParams
    recipe: Recipe
    seed: RunSeed
    expected: Mapping[str, float]
    environment: Mapping[str, str]


def best(study: Study, top: int) -> list[Exported]:
    """The study's best configurations: those confirmed by full training, else by the search.

    Raises:
        UserError: no trial has finished yet.
    """
    now = Snapshot.of(study)
    rows = confirmed_runs(now)
    known = [key_of(found.params) for found, _ in rows]
    rows += [(found, []) for found in ranking(now) if key_of(found.params) not in known]
    if not rows:
        raise UserError(f"study {study.name} has no finished trial yet; run it first")
    return [
        _exported(study, rank, found.source, found.params, done)
        for rank, (found, done) in enumerate(rows[:top], start=1)
    ]


def dump(study_name: str, configurations: list[Exported], form: str) -> str:
    """The text of an export file."""
    content = {
        "tuneoff": {"study": study_name, "format": VERSION},
        "configurations": [_without_none(asdict(c)) for c in configurations],
    }
    if form == "json":
        return json.dumps(content, indent=2) + "\n"
    if form == "yaml":
        return yaml.safe_dump(content, sort_keys=False)
    return tomli_w.dumps(content)


def load(path: Path) -> list[Exported]:
    """Read an export file of any of the three formats, told apart by its name's ending.

    Raises:
        UserError: it is not there, not an export, or one of a newer tuneoff.
    """
    readers: dict[str, Callable[[str], Any]] = {
        ".toml": tomllib.loads,
        ".json": json.loads,
        ".yaml": _load_yaml,
        ".yml": _load_yaml,
    }
    if path.suffix not in readers:
        raise UserError(f"{path}: name it .toml, .json or .yaml, as `tuneoff export` does")
    try:
        content = readers[path.suffix](path.read_text(encoding="utf-8"))
        _check_version(path, content["tuneoff"]["format"])
        return [_restored(entry) for entry in content["configurations"]]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except (ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise UserError(
            f"{path}: is not an export of tuneoff ({detail}); write it with `tuneoff export`"
        ) from None


def _check_version(path: Path, version: Any) -> None:
    """ValueError for what is no version; UserError for one that is too new."""
    if type(version) is not int or version < 1:
        raise ValueError(f"its format is {version!r}, and formats are numbered from 1")
    if version > VERSION:
        raise UserError(
            f"{path}: was written by a newer tuneoff (format {version}, this one reads up to "
            f"{VERSION}); update tuneoff, or export it again with this version"
        )


def format_of(path: Path | None, wanted: str | None) -> str:
    """The format that was asked for, or that the file's name tells; TOML otherwise."""
    if wanted:
        return wanted
    ending = path.suffix.removeprefix(".").replace("yml", "yaml") if path else ""
    return ending if ending in FORMATS else "toml"


def _exported(
    study: Study, rank: int, source: str, params: Mapping[str, Any], done: list[FrozenTrial]
) -> Exported:
    if not done:
        recipe, hyperparams = study.space.apply(study.spec.recipe(), params)
        if study.spec.promote:
            recipe = recipe.override(study.spec.promote.changes())
        seed = RunSeed(study.spec.seed, FULL_RUN, 0)
        return Exported(rank, source, dict(params), hyperparams, recipe, seed, {}, {})
    first = done[0]
    run = TrialRef(study, study.full, first).run
    assert first.value is not None
    expected = {
        "validation_error": first.value,
        "mean_validation_error": mean_error(done),
        "seeds": len(done),
    }
    if (test_error := TEST_ERROR.get(first)) is not None:
        expected["test_error"] = test_error
    return Exported(
        rank=rank,
        source=source,
        params=dict(params),
        hyperparams=run.params,
        # A run that diverged was not scored, and has neither.
        recipe=Recipe.from_dict(RECIPE.get(first) or run.recipe.to_dict()),
        seed=run.seed,
        expected=expected,
        environment=ENVIRONMENT.get(first) or {},
    )


def _restored(entry: Mapping[str, Any]) -> Exported:
    return Exported(
        rank=entry["rank"],
        source=entry["source"],
        params=entry["params"],
        hyperparams=HyperParams(**entry["hyperparams"]),
        recipe=Recipe.from_dict(entry["recipe"]),
        seed=RunSeed(**entry["seed"]),
        expected=entry.get("expected", {}),
        environment=entry.get("environment", {}),
    )


def _load_yaml(text: str) -> Any:
    return yaml.safe_load(text)


def _without_none(value: Any) -> Any:
    """TOML has no null; a field that is left out has its default, which is None."""
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value
