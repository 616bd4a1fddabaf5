"""What the report says around its tables and figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tuneoff.search.report.wording import keys
from tuneoff.search.results.compare import compare
from tuneoff.search.results.comparison import Comparison
from tuneoff.search.results.records import ArmRun, Recommendation, StudyResults


def three_arms() -> Comparison:
    rng = np.random.default_rng(0)
    runs = []
    for arm in ("bayes", "hand", "random"):
        for repeat, error in enumerate(rng.normal(0.2, 0.01, 6).tolist()):
            pick = Recommendation(0, {"lr": f"{arm} {repeat}"}, error, (error,), (error,))
            runs.append(ArmRun(arm, repeat, 1, 1, 1.0, {"complete": 1}, (), pick))
    return compare(StudyResults("s", ("bayes", "hand", "random"), 6, 1, 0.9, tuple(runs)))


def test_what_is_the_same_for_all_pairs_is_said_once() -> None:
    comparison = three_arms()
    assert keys(comparison) == [comparison.pairs[0].key]
    hand, random = comparison.pairs
    other = replace(random, key=random.key.replace("6 paired", "5 paired"))
    found = keys(replace(comparison, pairs=(hand, other)))
    assert found[0].startswith("Against hand, in brackets: 97.5% intervals, from 6 paired repeats")
    assert found[1].startswith("Against random, in brackets: 97.5% intervals, from 5 paired")
    assert found[2:] == [hand.key.split(". ")[1]]
    same_but_one = replace(comparison, pairs=(hand, other, replace(hand, baseline="grid")))
    assert keys(same_but_one)[0].startswith("Against hand and grid, in brackets: ")
