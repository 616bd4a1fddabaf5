"""Export files: configurations as TOML, JSON or YAML, and back in."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import tomli_w
import yaml
from pydantic import Discriminator, Tag, TypeAdapter, ValidationError
from pydantic_core import to_json

from tuneoff.messages import first_line
from tuneoff.metric import ERROR, Metric
from tuneoff.search.errors import UserError
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams, Recipe

FORMATS = ("toml", "json", "yaml")
VERSION = 1
"""Of what an export file holds. It rises whenever earlier versions could not read it any more."""

_MOST_THREADS = 4096


@dataclass(frozen=True)
class Exported:
    """A configuration and all that is needed to train it again.

    Attributes:
        rank: 1 is the best.
        source: where it was found, "ARM/REPEAT#TRIAL".
        hyperparams: None with a user's own code, whose parameters are in ``recipe``.
        expected: what training came to: "validation_error" and "test_error", 0 to 1, and over
            how many seeds "mean_validation_error" was taken; empty if it was not trained in full.
        environment: device, threads and versions of that training.
        evidence: what is known of it, see ``export.evidence_of``; empty if an earlier version
            wrote the file.
        metric: what errors are, and how they are stored; see ``records.StudyResults``.
    """

    rank: int
    source: str
    params: Mapping[str, Any]
    hyperparams: HyperParams | None
    recipe: Annotated[
        Annotated[Recipe, Tag("ours")] | Annotated[OwnTraining, Tag("own")],
        Discriminator(lambda given: "own" if _is_own(given) else "ours"),
    ]
    seed: RunSeed
    expected: Mapping[str, float]
    environment: Mapping[str, str]
    evidence: Mapping[str, float | str] = field(default_factory=dict)
    metric: Metric = ERROR


def dump(study_name: str, configurations: list[Exported], form: str) -> str:
    """The text of an export file."""
    content = {
        "tuneoff": {"study": study_name, "format": VERSION},
        "configurations": [_plain(each) for each in configurations],
    }
    if form == "json":
        return json.dumps(content, indent=2) + "\n"
    if form == "yaml":
        return yaml.safe_dump(content, sort_keys=False)
    return tomli_w.dumps(content)


def _plain(found: Exported) -> dict[str, Any]:
    """Without what is not known, and without the metric if that is top-1 error.

    Values are written as people know them: an AUROC of 0.91 and not what is stored of it.
    """
    values: dict[str, Any] = _without_none(asdict(found))
    if found.metric == ERROR:
        del values["metric"]
        return values
    for part in (values["expected"], values["evidence"]):
        for name, value in part.items():
            if name.endswith("error"):
                part[name] = found.metric.value(value)
    return values


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
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: name it .toml, .json or .yaml, as `tuneoff export` does")
    try:
        # Editors on Windows begin a file with a byte order mark.
        content = reader(path.read_text(encoding="utf-8-sig"))
        _check_kind(path, content)
        _check_version(path, _member(content, "tuneoff", dict).get("format"))
        return _restored_all(_member(content, "configurations", list))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except RecursionError:
        detail = "it is nested too deeply"
    except UnicodeDecodeError:
        detail = "it is not text in UTF-8"
    except ValidationError as error:
        detail = _first_fault(error)
    except (ValueError, OverflowError, yaml.YAMLError) as error:
        detail = first_line(error)
    raise UserError(
        f"{path}: is not an export of tuneoff ({detail}); write it with `tuneoff export`"
    )


def _check_kind(path: Path, content: Any) -> None:
    """ValueError for what is no table; UserError for a study file."""
    if not isinstance(content, Mapping):
        raise ValueError("it is no table")
    if "tuneoff" not in content and content.keys() & {"trial", "space", "arms", "budget"}:
        raise UserError(
            f"{path}: is a study file, not an export; `tuneoff run {path}` runs it, and `tuneoff "
            "export` then writes what can be trained"
        )


def _member(content: Mapping[str, Any], name: str, kind: type) -> Any:
    """A member of a table (ValueError if it is missing or of another kind)."""
    if name not in content:
        raise ValueError(f"{name!r} is missing")
    if not isinstance(content[name], kind):
        raise ValueError(f"{name!r} is no {'list' if kind is list else 'table'}")
    return content[name]


def _check_version(path: Path, version: Any) -> None:
    """ValueError for what is no version; UserError for one that is too new."""
    if version is None:
        raise ValueError("'format' is missing")
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


def _restored_all(entries: list[Any]) -> list[Exported]:
    """The configurations (ValueError if one is not what ``dump`` writes)."""
    restored: list[Exported] = []
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise ValueError("one of its configurations is no table")
        restored.append(_restored(entry))
    ranks = [one.rank for one in restored]
    if any(rank < 1 for rank in ranks) or len(set(ranks)) < len(ranks):
        raise ValueError("its ranks are not different numbers from 1 on")
    return restored


def _restored(entry: Mapping[str, Any]) -> Exported:
    known = {name.name for name in fields(Exported)}  # a later version may have more
    values = {name: value for name, value in entry.items() if name in known}
    values = {"expected": {}, "environment": {}, "hyperparams": None, **values}
    # Strictly, so that no text is a number and no number a switch; as JSON, because a dataclass
    # is otherwise taken for nothing but itself.
    found = _adapter().validate_json(to_json(values), strict=True, extra="forbid")
    if isinstance(found.recipe, OwnTraining) != (found.hyperparams is None):
        own = found.hyperparams is not None
        raise ValueError(
            "'hyperparams' do not go with code of your own" if own else "'hyperparams' is missing"
        )
    threads = found.environment.get("threads", "1")
    number = int(threads) if len(threads) < 6 and threads.isascii() and threads.isdecimal() else 0
    if not 1 <= number <= _MOST_THREADS:
        raise ValueError(f"environment.threads is {threads[:40]!r}, and no number of threads")
    return found


@cache
def _adapter() -> TypeAdapter[Exported]:
    return TypeAdapter(Exported)


def _is_own(recipe: Any) -> bool:
    """Whether a recipe, or the plain values of one, is of a user's own code."""
    if isinstance(recipe, Mapping):
        return bool(recipe.keys() & {"trainer", "command"})
    return isinstance(recipe, OwnTraining)


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("ours", "own"))
    what = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        return f"{where!r} is missing"
    if first["type"] == "unexpected_keyword_argument":
        what = "unknown key"
    elif not isinstance(first["input"], Mapping):
        what = f"{what[:1].lower()}{what[1:]}, not {str(first['input'])[:40]!r}"
    return f"{where}: {what}" if where else what


def _load_yaml(text: str) -> Any:
    # A few lines of aliases of aliases unfold to gigabytes.
    if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
        raise ValueError("it has aliases, which tuneoff never writes")
    return yaml.safe_load(text)


def _without_none(value: Any) -> Any:
    """TOML has no null; a field that is left out has its default, which is None."""
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return value
