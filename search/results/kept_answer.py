"""What a comparison came to in a few words, kept with the study for lists of studies."""

from __future__ import annotations

import logging

import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from tuneoff.search.results.comparison import Comparison
from tuneoff.search.store.attributes import ANSWER, StoredAnswer
from tuneoff.search.study.snapshot import Snapshot

log = logging.getLogger(__name__)


def answer_words(comparison: Comparison) -> str:
    """The outcome of the first pair: "bayes as good as hand (-0.10)"; empty if there is none."""
    if not comparison.pairs:
        return ""
    pair = comparison.pairs[0]
    difference = comparison.metric.difference(pair.mean)
    match pair.quality:
        case "equivalent":
            return f"{pair.reference} as good as {pair.baseline} ({difference})"
        case "undecided":
            return f"undecided: {pair.reference} and {pair.baseline} ({difference})"
    return f"{pair.reference} {pair.quality} than {pair.baseline} ({difference})"


def keep_answer(now: Snapshot, comparison: Comparison) -> None:
    """Store what the comparison of this moment came to.

    Whoever may only read, or finds no space, compares all the same: nothing is stored then.

    Args:
        now: the study at that moment.
        comparison: of the arms with the reference that is theirs by default.
    """
    words = answer_words(comparison)
    if not words:
        return
    ended = sum(
        attempt.ended is not None
        for state in now.states.values()
        for attempts in state.attempts.values()
        for attempt in attempts
    )
    answer, study = StoredAnswer(words, ended), now.study
    try:
        full = study.optuna_study(study.full)
        if ANSWER.get(full) != answer:
            full.set_user_attr(*ANSWER.item(answer))
    except (sa.exc.SQLAlchemyError, StorageInternalError) as error:
        log.info("%s: its answer is not kept for `tuneoff list`: %s", study.name, error)
