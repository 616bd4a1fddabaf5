"""All that a report is drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuneoff.search.report.commands import storage_words, work_words
from tuneoff.search.results.compare import compare
from tuneoff.search.results.comparison import Comparison
from tuneoff.search.results.decision.judge import outlook_of, price_of
from tuneoff.search.results.decision.outlook import Outlook, Price
from tuneoff.search.results.export import best_or_none
from tuneoff.search.results.export_file import Exported
from tuneoff.search.results.horizon.findings import find
from tuneoff.search.results.horizon.read import read_horizon
from tuneoff.search.results.horizon.records import HorizonFindings
from tuneoff.search.results.importance import Importance, read_importance
from tuneoff.search.results.predictions.read import read_predictions
from tuneoff.search.results.predictions.records import ArmPredictions
from tuneoff.search.results.provenance import Provenance, read_provenance
from tuneoff.search.results.read import read_results
from tuneoff.search.results.records import AttemptRecord, StudyResults, TrialCurve
from tuneoff.search.results.trials import attempt_records, trial_curves
from tuneoff.search.study.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class ReportData:
    """All that a report is drawn from.

    Attributes:
        results: the study as far as it has come.
        comparison: ``compare(results)``.
        trials: the trials of all arms; without them there are no figures of single trials.
        predictions: what the models of curve-gp arms predicted.
        horizon: whether longer runs rank configurations otherwise.
        attempts: every attempt, oldest first, of arms and of what comes after the search.
        best: the configuration to use, as it is exported; None before one has finished, and if
            every one diverged.
        price: what epochs and repeats cost; None where that was not read.
        outlook: what it will probably cost until the arms are decided, for a study that goes on
            until then; None for others, and while too little is known.
        storage, work: what commands about the study need beside its name, for a shell; empty where
            they need nothing. See ``commands``.
        provenance: what the results rest on; None where that was not read.
        importance: of each hyperparameter, most important first; empty where too little is known.
    """

    results: StudyResults
    comparison: Comparison
    trials: Sequence[TrialCurve] = ()
    predictions: Sequence[ArmPredictions] = ()
    horizon: HorizonFindings | None = None
    attempts: Sequence[AttemptRecord] = ()
    best: Exported | None = None
    price: Price | None = None
    outlook: Outlook | None = None
    storage: str = ""
    work: str = ""
    provenance: Provenance | None = None
    importance: Sequence[Importance] = ()


def read_report_data(
    now: Snapshot, reference: str | None = None, *, predictions: bool = True
) -> ReportData:
    """All that a report shows, of one moment, so that its parts agree.

    Args:
        now: the study at that moment.
        reference: the arm to compare the others with; the default if None.
        predictions: False leaves them out, as they take longer than all the rest.

    Raises:
        UserError: the study has no arm of that name.
    """
    results, spec = read_results(now), now.study.spec
    trials, attempts = trial_curves(now), attempt_records(now)
    return ReportData(
        results=results,
        comparison=compare(results, reference),
        trials=trials,
        predictions=read_predictions(now) if predictions else (),
        horizon=find(read_horizon(now), trials),
        attempts=attempts,
        best=best_or_none(now),
        price=price_of(results, spec),
        outlook=outlook_of(now) if spec.compare.until == "decided" else None,
        storage=storage_words(now.study),
        work=work_words(now.study),
        provenance=read_provenance(now, attempts),
        importance=read_importance(now),
    )
