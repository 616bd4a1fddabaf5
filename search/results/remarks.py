"""What a reader must know beside a comparison: where the two arms were not alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tuneoff.messages import counted
from tuneoff.search.results.arm_names import ArmName
from tuneoff.search.results.comparison import Pairing
from tuneoff.search.results.early_stop import early_stop_note
from tuneoff.search.results.numbers import all_of, share
from tuneoff.search.results.records import (
    FULL_VALIDATION,
    TEST,
    VALIDATION,
    Recommendation,
    StudyResults,
    runs_of,
)


def remarks(results: StudyResults, pair: Pairing, names: Mapping[str, ArmName]) -> tuple[str, ...]:
    """Whole sentences, the most important first."""
    return (
        *_incomplete(results, pair),
        *_measured(results, pair),
        *_alike(pair),
        *_guessing(results, pair, names),
        *_spending(results, pair, names),
        *timed_sentence(results),
        *_stopped(results, pair),
        *(f"{names[arm].opening} {text}." for arm in _both(pair) for text in _facts(results, arm)),
    )


def _both(pair: Pairing) -> tuple[str, str]:
    return pair.reference, pair.baseline


def _facts(results: StudyResults, arm: str) -> tuple[str, ...]:
    facts = results.facts.get(arm)
    return facts.remarks if facts else ()


def _incomplete(results: StudyResults, pair: Pairing) -> Iterator[str]:
    if pair.early:
        early = ""
        if pair.looks > 1:
            early = " The interval is wider than it will be at the end, since it allows for that."
        have = "are finished" if pair.unfinished else "have a recommendation of both arms"
        yield (
            f"This is an early look: {len(pair.repeats)} of {pair.planned} repeats {have}."
            f"{left_out(pair.unfinished)}{early}"
        )
    busy = sum(
        run.states.get(state, 0)
        for run in results.runs
        if run.arm in _both(pair)
        for state in ("running", "waiting", "paused")
    )
    if busy:
        are = "is" if busy == 1 else "are"
        yield f"{counted(busy, 'trial')} of the two arms {are} still to be finished."


def left_out(unfinished: int) -> str:
    """That this many repeats do not count yet; begins with a space, empty for none."""
    if not unfinished:
        return ""
    are = "is" if unfinished == 1 else "are"
    return f" {counted(unfinished, 'repeat')} {are} left out, as not finished yet."


def _measured(results: StudyResults, pair: Pairing) -> Iterator[str]:
    if pair.measure == TEST:
        return
    if pair.measure == VALIDATION and results.full_epochs is None:
        yield results.metric.in_words(
            "Nothing is trained in full, as the study file has no [promote]: the arms are compared"
            " by errors by which they also chose."
        )
    elif pair.measure == VALIDATION and any(
        pick.full_validation_error is None for pick in _picks(results)
    ):
        yield results.metric.in_words(
            "Some recommendation of the study is still to be trained in full; then all are compared"
            " by errors that no choice was made by."
        )
    elif pair.measure == FULL_VALIDATION:
        yield results.metric.in_words(
            "Without test errors of all recommendations, the arms are compared on the validation"
            " data, by which they also chose: the errors are a little too low, most for the arm"
            " that tried more settings."
        )


def _alike(pair: Pairing) -> Iterator[str]:
    count = len(pair.repeats)
    if pair.same == count:
        # Clopper, Pearson (1934): no such repeat in so many.
        rare = share(1 - (1 - pair.confidence) ** (1 / count))
        yield (
            f"Both arms recommend the same settings in {all_of(count, 'repeat')}. They may still"
            f" differ in up to {rare} of all repeats, by an amount of which nothing is known."
        )
    elif pair.same:
        yield (
            f"Both arms recommend the same settings in {pair.same} of"
            f" {counted(count, 'repeat')}, where the difference is exactly 0."
        )


def _guessing(results: StudyResults, pair: Pairing, names: Mapping[str, ArmName]) -> Iterator[str]:
    for arm in _both(pair):
        found = [
            error
            for run in runs_of(results, arm)
            if run.repeat in pair.repeats and run.recommendation is not None
            for error in [_error(run.recommendation, pair.measure)]
            if error is not None and error >= results.chance_error
        ]
        if found:
            yield (
                f"The choice of {names[arm].short} is as bad as guessing in"
                f" {counted(len(found), 'repeat')}, which weighs on the mean difference."
            )


def _error(pick: Recommendation, measure: str) -> float | None:
    if measure == VALIDATION:
        return pick.validation_error
    return pick.test_error if measure == TEST else pick.full_validation_error


def _spending(results: StudyResults, pair: Pairing, names: Mapping[str, ArmName]) -> Iterator[str]:
    timed = results.budget_seconds is not None
    ours, theirs = (
        sum(
            run.seconds if timed else run.spent
            for run in runs_of(results, arm)
            if run.repeat in pair.repeats
        )
        for arm in _both(pair)
    )
    # 10%: an arm may end a few epochs under its budget when the next trial does not fit.
    if abs(ours - theirs) > 0.1 * max(ours, theirs):
        count = len(pair.repeats)
        a, b = (names[arm].short for arm in _both(pair))
        unit = "s of training" if timed else "epochs"
        yield (
            f"The two spent different budgets: {ours / count:,.0f} {unit} a repeat for {a},"
            f" {theirs / count:,.0f} for {b}."
        )


def timed_sentence(results: StudyResults) -> Iterator[str]:
    """What a budget in seconds means for the comparison."""
    if results.budget_seconds is not None:
        yield (
            "The budget counts seconds of training: how many runs it is enough for depends on the"
            " machines, on what else they did and on the number of workers, so that the same study"
            " run again finds other settings."
        )


def _stopped(results: StudyResults, pair: Pairing) -> Iterator[str]:
    for arm in _both(pair):
        if note := early_stop_note(arm, runs_of(results, arm), results.metric):
            yield f"{note}."


def _picks(results: StudyResults) -> list[Recommendation]:
    """Without those that the bound on full training leaves out."""
    found = (run.recommendation for run in results.runs)
    return [pick for pick in found if pick is not None and pick.judged]
