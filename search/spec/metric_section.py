"""[metric]: what the study measures, in which direction and unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field, model_validator

from tuneoff import references
from tuneoff.metric import ERROR, KNOWN, Direction, Metric, known
from tuneoff.search.errors import SpecError
from tuneoff.search.spec.budget_section import BudgetSpec
from tuneoff.search.spec.section import Section
from tuneoff.search.spec.sections import CompareSpec, TrialSpec
from tuneoff.trainer.registry import METRICS, NEGATIVE, ONE_MINUS


class MetricSpec(Section):
    """[metric]: what runs are judged by. Without it: top-1 error, in percent.

    Attributes:
        name: as people know it: "AUROC", "validation loss"...
        direction: what is good, "minimize" or "maximize". None: as the name says, if that is one of
            ``tuneoff.metric.KNOWN``.
        percent: values are shares, 0 to 1, and are shown in percent and percentage points. None: as
            the name says; false for a name that is not known.
        worst: the value that a run counts as if it diverged or cannot say, in the metric's own
            terms: that of guessing, or worse than any that is of use. None: as the trainer or the
            name says; a share has 1, or 0 where it is maximised.
    """

    name: str = Field(default="error", min_length=1, max_length=64)
    direction: Direction | None = None
    percent: bool | None = None
    worst: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        ours = known(self.name)
        if ours is None and self.direction is None:
            names = ", ".join(KNOWN)
            raise ValueError(
                f'needs a direction for {self.name!r}: "minimize" or "maximize" (known without: '
                f"{names})"
            )
        if ours is not None and self.direction not in (None, ours.direction):
            raise ValueError(
                f'direction = "{self.direction}" is the wrong one for {ours.name}; leave it out'
            )
        self.metric()
        return self

    def metric(self) -> Metric:
        """What it says, with what the name says of the rest."""
        ours = known(self.name)
        if ours is None:
            assert self.direction is not None  # checked
            return Metric(self.name, self.direction, self.percent or False, self.worst)
        percent = ours.percent if self.percent is None else self.percent
        worst = ours.worst if self.worst is None else self.worst
        return Metric(self.name, ours.direction, percent, worst)


def with_named(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A file's values, with the [metric] that the name of [trial] ``metric`` stands for, unless the
    file says one."""
    trial = values.get("trial")
    name = trial.get("metric") if isinstance(trial, Mapping) else None
    said = values.get("metric", {})
    if not isinstance(name, str) or name not in METRICS or METRICS.entry(name).metric == ERROR:
        return values
    if not isinstance(said, Mapping) or ("name" in said and said != _UNSAID):
        return values
    return {**values, "metric": {**said, "name": METRICS.entry(name).metric.name}}


# A stored study file's, which has every key.
_UNSAID = {"name": "error", "direction": None, "percent": None, "worst": None}


def metric_as(name: str, metric: Metric) -> str:
    """``Recipe.metric_as`` for [trial] ``metric`` and the [metric] of its study."""
    if references.is_reference(name):
        maximised = metric.maximised
    else:
        maximised = METRICS.entry(name).metric.maximised
    if not maximised:
        return "auto"
    return ONE_MINUS if metric.percent else NEGATIVE


def check_judged(trial: TrialSpec, section: MetricSpec) -> None:
    """ValueError for a [metric] that does not go with [trial] ``metric`` of our trainer."""
    name = None if trial.is_own else trial.metric
    if name is None or name == "error":
        return
    if references.is_reference(name):
        if section.name == ERROR.name:
            raise ValueError(
                f'metric.name: is missing; say what "{name}" measures: [metric] name = "..." and '
                'direction = "minimize" or "maximize"'
            )
        return
    ours = METRICS.entry(name).metric
    also = "balanced accuracy" if name == "macro-error" else ours.name
    if section.metric().name.lower() not in (ours.name.lower(), also):
        raise ValueError(
            f'metric.name: trial.metric = "{name}" measures {ours.name}, and no {section.name}; '
            "leave [metric] name out"
        )


def check_same_metric(changes: Mapping[str, Any]) -> None:
    """ValueError for a later training that would be judged by something else than the search."""
    if "metric" in changes:
        raise ValueError("metric is the same throughout a study; say it in [trial] alone")


def check_measured(metric: Metric, trial: TrialSpec) -> None:
    """ValueError for a metric that the study's trainer does not measure, or whose worst is unknown.

    Args:
        trial: says what trains; a user's own code measures what it says.
    """
    ours = not trial.is_own and trial.metric == "error"
    if ours and (metric.bare not in ("error", "accuracy") or not metric.percent):
        names = ", ".join(f'"{name}"' for name in METRICS)
        raise ValueError(
            f"metric.name: tuneoff's own trainer measures top-1 error, and no {metric.name}, "
            f"unless [trial] metric says so: one of {names}, or a function of your own, as in "
            '"mymodule:function"'
        )
    of_own_code = trial.is_own or references.is_reference(trial.metric)
    if of_own_code and not metric.percent and metric.worst is None:
        raise ValueError(
            f"metric.worst: is missing; say what {metric.name} a run counts as if it diverges or "
            "cannot say: that of guessing, or worse than any that is of use"
        )


def check_share(metric: Metric, study: str) -> None:
    """SpecError for a study that has no place in a table of learning curves, which holds shares."""
    if not metric.percent:
        raise SpecError(
            f"study {study}: a table of learning curves holds shares, 0 to 1, and {metric.name} is "
            "none; leave [metric] out, or take a study without a table"
        )


def check_effects(metric: Metric, compare: CompareSpec, budget: BudgetSpec) -> None:
    """ValueError for a difference of shares that is as large as shares can be."""
    if not metric.percent:
        return
    if compare.smallest_effect is not None and compare.smallest_effect >= 100:
        raise ValueError(
            f"compare.smallest_effect: {compare.smallest_effect:g} points are refused; give less "
            "than 100"
        )
    rule = budget.stop_rule
    if rule is not None and rule.points >= 100:
        raise ValueError(
            f"budget.stop_when: a gain of {rule.points:g} points is refused; give one between 0 "
            "and 100"
        )
