"""The settings that a study comes to: what they are, how to train them, what error to expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.report.commands import export_and_train
from tuneoff.search.report.data import ReportData
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.export_file import Exported
from tuneoff.search.results.nothing import has_diverged
from tuneoff.search.results.records import Confirmed
from tuneoff.search.study.keys import key_of


@dataclass(frozen=True, slots=True)
class ToUse:
    """The settings to use.

    Attributes:
        rows: name and value, as they are shown: four digits.
        text: the same in TOML with all digits, to be copied.
        source: who found them and where, in a sentence.
        command: writes them to a file and trains them.
        expectation: what error to expect, and on how many trainings that rests; one or two
            sentences.
    """

    rows: tuple[tuple[str, str], ...]
    text: str
    source: str
    command: str
    expectation: str


def to_use(data: ReportData, names: Mapping[str, ArmName]) -> ToUse | None:
    """The settings to use; None before any run has finished, and if every one diverged."""
    if data.best is None:
        return None
    best = data.best
    key = key_of(best.params)
    confirmed = next((one for one in data.results.confirmed if key_of(one.params) == key), None)
    return ToUse(
        rows=tuple((name, _shown(value)) for name, value in best.params.items()),
        text=tomli_w.dumps(dict(best.params)),
        source=_source(best.source, names),
        command=export_and_train(data.results.name, data.storage, data.work),
        expectation=_expectation(best, confirmed, data.results.metric),
    )


def nothing_to_use(data: ReportData) -> str:
    """Why there are no settings to use, in a line."""
    arms = data.comparison.arms
    if arms and all(map(has_diverged, arms)):
        return "No settings to use: every run broke down (diverged); search lower rates in [space]."
    return "No settings to use yet: no run has finished."


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _source(source: str, names: Mapping[str, ArmName]) -> str:
    where, _, trial = source.rpartition("#")
    arm, _, repeat = where.rpartition("/")
    if arm not in names:
        return f"Found in {source}."
    return f"Found by {names[arm].full} (repeat {repeat}, trial {trial})."


def _expectation(best: Exported, confirmed: Confirmed | None, metric: Metric) -> str:
    if confirmed is not None and confirmed.validation_errors:
        return _of_full_trainings(confirmed, metric)
    expected, count = (best.evidence.get(f"search_runs{end}") for end in ("_expected_error", ""))
    seen = best.evidence.get("search_runs_mean_error")
    if not isinstance(expected, float) or not isinstance(count, int) or not isinstance(seen, float):
        return "They are not trained in full yet."
    runs = counted(count, "search run")
    luck = ", which is partly luck" if expected > seen else ""
    about = metric.about(expected, "validation")
    return (
        f"They are not trained in full yet. Expect {about} of another search run; {runs} came to"
        f" {metric.text(seen)}{luck}."
    )


def _of_full_trainings(found: Confirmed, metric: Metric) -> str:
    split, errors = "test", found.test_errors
    expected = sum(errors) / len(errors) if errors else found.expected_error
    if not errors:
        split, errors = "validation", found.validation_errors
    if expected is None:
        expected = sum(errors) / len(errors)
    count = len(found.validation_errors)
    text = (
        f"Expect {metric.about(expected, split)}: {counted(count, 'full training')} came to"
        f" {_range(errors, metric)}."
    )
    if found.diverged:
        text = f"{text} {found.diverged} of them diverged, which counts as guessing."
    return text


def _range(errors: Sequence[float], metric: Metric) -> str:
    low, high = metric.reach(errors)
    ends = metric.cell(low), metric.text(high)
    return ends[1] if metric.text(low) == ends[1] else f"{ends[0]} to {ends[1]}"
