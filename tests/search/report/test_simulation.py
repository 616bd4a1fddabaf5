"""What is said of simulations: marked everywhere, no "-0.00", "never" said in words."""

from __future__ import annotations

import json
import math

import pytest

from tuneoff.metric import ERROR
from tuneoff.search.replay.quality import Quality
from tuneoff.search.replay.replays import PairOutcome, Replay, summaries
from tuneoff.search.report.simulation import (
    as_json,
    marked,
    quality_sentences,
    simulated_below,
    summary_sentences,
)
from tuneoff.search.results.decision.look import Outcome
from tuneoff.search.results.records import StudyResults

GOOD = Quality(60, 120, 9, 0.91, 0.62, 0.004, 0.003, ())


def _replay(outcome: Outcome, difference: float, share: float, repeats: int = 20) -> Replay:
    results = StudyResults("digits", ("bayes", "hand"), repeats, 3, 0.9, ())
    pair = PairOutcome("bayes", "hand", outcome, difference, difference - 0.01, None, share)
    return Replay(1, results, (pair,))


def test_every_line_is_marked() -> None:
    found = [_replay("better", 0.011, 0.31), _replay("undecided", -0.00001, math.inf, 8)]
    sentences = [
        *quality_sentences(GOOD, ERROR),
        *summary_sentences(found, ERROR),
        simulated_below("digits"),
    ]
    assert all(sentence.startswith("Simulation") for sentence in sentences)
    assert marked("digits") == "digits (simulation)"


def test_outcomes_are_counted_and_ranges_are_given() -> None:
    found = [_replay("better", 0.011, 0.31)] * 3 + [_replay("undecided", -0.00001, math.inf, 8)] * 2
    pair, repeats = summary_sentences(found, ERROR)
    assert "better in 3, undecided in 2 of 5 simulations" in pair
    assert "+1.10 points (+0.00 to +1.10)" in pair or "0.00 to +1.10" in pair
    assert "-0.00" not in pair
    assert "31% (31% to never)" in pair
    assert "20 (8 to 20)" in repeats
    (summary,) = summaries(found)
    assert summary.outcomes == {"better": 3, "undecided": 2}


def test_one_simulation_has_no_range() -> None:
    pair, repeats = summary_sentences([_replay("worse", -0.02, math.inf)], ERROR)
    assert "worse" in pair
    assert " of 1" not in pair
    assert "(" not in pair + repeats


@pytest.mark.parametrize(
    ("rank", "word"), [(0.95, "good"), (0.6, "fair"), (0.2, "poor"), (None, "nothing to rank")]
)
def test_the_ranking_is_judged_in_words(rank: float | None, word: str) -> None:
    quality = Quality(60, 120, 9, rank, None, 0.004, 0.003, ("the study is small",))
    first, warning = quality_sentences(quality, ERROR)
    assert word in first
    assert warning == "Simulation: warning: the study is small."


def test_json_is_marked_and_has_no_infinity() -> None:
    made = as_json("digits", GOOD, [_replay("better", 0.011, math.inf)])
    text = json.dumps(made, allow_nan=False)
    assert made["simulation"] is True
    assert made["study"] == "digits (simulation)"
    assert json.loads(text)["pairs"][0]["share"] == [None, None, None]
    assert json.loads(text)["simulations"][0]["pairs"][0]["outcome"] == "better"
