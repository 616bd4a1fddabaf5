"""What somebody else stored for an error and is none: left out wherever trials are read."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from copy import copy

from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.store.attributes import FAILURE
from tuneoff.search.study.study import Search, Study

log = logging.getLogger(__name__)


def plausible(study: Study, search: Search, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The trials of a search without errors below 0 or above 1, for which there is a warning, once.

    Where the study's metric is no share, any finite value may be one, and nothing is left out.

    A trial that was told one is read as one that failed, so that numbers of trials stay as they
    are; one that only reported some is read without these. Infinite ones stay: see ``snapshot``.
    """
    if not study.metric.percent:
        return list(trials)
    found = []
    for trial in trials:
        read = _plausible(trial)
        if read is not trial and (name := f"{search.name}#{trial.number}") not in study.doubted:
            study.doubted.add(name)
            log.warning("%s has an error outside 0 to 1, which is left out", name)
        found.append(read)
    return found


def _plausible(trial: FrozenTrial) -> FrozenTrial:
    reported = trial.intermediate_values
    if _may_be(trial.value) and all(map(_may_be, reported.values())):
        return trial
    read = copy(trial)
    read.intermediate_values = {epoch: error for epoch, error in reported.items() if _may_be(error)}
    if trial.value is not None and not _may_be(trial.value):
        read.state, read.value, read.intermediate_values = TrialState.FAIL, None, {}
        reason = f"its error, {trial.value:g}, is outside 0 to 1"
        read.user_attrs = trial.user_attrs | FAILURE.entry(reason)
    return read


def _may_be(error: float | None) -> bool:
    return error is None or not math.isfinite(error) or 0 <= error <= 1
