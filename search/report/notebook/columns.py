"""The tables of a notebook: their columns, in order, and what each means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tuneoff.metric import Metric

_RUN: Final = {
    "arm": "name of the arm",
    "repeat": "0-based; equal repeats of different arms are paired",
    "trial": "number of the trial in its search",
}
_ARM_OR_QUEUE: Final = {**_RUN, "arm": 'name of the arm, or "full", "ensemble", "horizon"'}

COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "trials": {
        **_RUN,
        "state": "complete, pruned, diverged, failed, paused, running or waiting",
        "error": "validation error at its last epoch",
        "best_error": "its lowest validation error",
        "last_epoch": "the last epoch that it reported, from 1; 0 before the first",
        "epochs": "epochs trained in all attempts, repeated ones included",
        "seconds": "device seconds of all attempts",
        "attempts": "how many there were",
        "worker": "of the last attempt; empty before the first",
        "device": "of the last attempt; empty before the first",
        "note": "what somebody wrote beside the configuration, or why it failed",
    },
    "epochs": {**_RUN, "epoch": "from 1", "error": "validation error"},
    "attempts": {
        **_ARM_OR_QUEUE,
        "attempt": "number of the attempt at this trial, from 0",
        "worker": "HOST/PID",
        "device": "cpu, cuda:0...",
        "started": "when it began, UTC, on the database's clock",
        "ended": "when it ended, UTC; missing while it is at work",
        "end": "finished, pruned, paused, released, lost or failed; missing while it is at work",
        "state": "the trial's state",
        "epochs": "epochs that it trained",
        "seconds": "device seconds",
        "reason": "why it was lost or failed; empty if it was not",
    },
    "picks": {
        **_RUN,
        "validation_error": "after the search run",
        "full_trainings": "how many full trainings of this configuration have ended",
        "full_validation_error": "their mean validation error",
        "test_error": "their mean test error",
        "judged": "False: the bound on full training is too small to compare it",
        "finished": "False: it may still change, or be trained further",
    },
    "differences": {
        "reference": "the arm that the others are compared with",
        "baseline": "the arm that it is compared with here",
        "repeat": "0-based",
        "measure": "which errors are compared",
        "difference": "the baseline's error minus the reference's: positive if the reference is"
        " better",
    },
    "pairs": {
        "reference": "the arm that the others are compared with",
        "baseline": "the arm that it is compared with here",
        "quality": "better, worse, equivalent or undecided, of the reference",
        "difference": "mean of the paired differences",
        "low": "lower end of the interval that decides",
        "high": "upper end of it",
        "confidence": "of that interval, 0 to 1",
        "margin": "the smallest difference of interest",
        "repeats": "how many paired repeats are in",
        "planned": "how many the study has",
        "cost": "share of the baseline's epochs that the reference needed to be as good; infinite"
        " where it never was",
        "cost_low": "lower end of its 95% interval",
        "cost_high": "upper end of it",
    },
    "per_arm": {
        "arm": "name of the arm",
        "repeats": "repeats that have a recommendation",
        "trials": "how many there are, over all repeats",
        "spent": "epochs, over all repeats",
        "budget": "epochs, over all repeats",
        "seconds": "device seconds, over all repeats",
        "best_validation": "lowest validation error among its recommendations",
        "mean_validation": "their mean validation error after the search run",
        "sd_validation": "standard deviation of it over repeats",
        "mean_test": "mean test error of the recommendations",
        "sd_test": "standard deviation of it over repeats",
    },
}
"""By table. ``trials`` and ``picks`` also have a column ``params_NAME`` for each parameter."""

ERRORS: Final = (
    "error",
    "best_error",
    "validation_error",
    "full_validation_error",
    "test_error",
    "best_validation",
    "mean_validation",
    "mean_test",
)
"""The columns of errors, whatever the table: values as they are stored, lower being better."""


def columns_of(table: str, metric: Metric) -> dict[str, str]:
    """What each column of a table means in a study of this metric (KeyError: no such table)."""
    found = dict(COLUMNS[table])
    for name, meaning in found.items():
        if name in ERRORS:
            found[name] = f"{metric.in_words(meaning)}{_kept(metric)}"
    if table == "differences":
        found["difference"] = _difference(metric)
    return found


def _kept(metric: Metric) -> str:
    """How a value stands in a column, after what it is."""
    if metric.percent:
        return f", as 1 - {metric.bare}, 0 to 1" if metric.maximised else ", 0 to 1"
    return f", as -{metric.bare}, so that lower is better" if metric.maximised else ""


def _difference(metric: Metric) -> str:
    first, other = "baseline", "reference"
    if metric.maximised:
        first, other = other, first
    ends = "; -1 to 1" if metric.percent else ""
    return (
        f"the {first}'s {metric.bare} minus the {other}'s: positive if the reference is better"
        f"{ends}"
    )
