"""All that a report is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuneoff.search.results.predictions.records import ArmPredictions
from tuneoff.search.results.records import Comparison, StudyResults, TrialCurve


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report is drawn from.

    Attributes:
        results: the study as far as it has come.
        comparison: ``compare(results)``.
        trials: the trials of all arms; without them there are no figures of single trials.
        predictions: what the models of curve-gp arms predicted.
    """

    results: StudyResults
    comparison: Comparison
    trials: Sequence[TrialCurve] = ()
    predictions: Sequence[ArmPredictions] = ()
