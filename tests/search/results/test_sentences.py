"""Every answer that can be printed: each is generated, and keeps the rules of plain English."""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tuneoff.metric import ERROR
from tuneoff.search.results.arm_names import ArmName, arm_names
from tuneoff.search.results.comparison import Checks, Cost, Pairing
from tuneoff.search.results.decision.look import outcome_of
from tuneoff.search.results.numbers import share, share_span
from tuneoff.search.results.records import FULL_VALIDATION, TEST, VALIDATION
from tuneoff.search.results.sentences import advice, answer, key

NAMES = {
    "usual": arm_names(
        ["bayes", "hand"], {"bayes": "Bayesian optimisation", "hand": "hand tuning"}
    ),
    "own": arm_names(
        ["tpe-wide", "tries"], {"tpe-wide": "Bayesian optimisation", "tries": "random search"}
    ),
    "undescribed": arm_names(["mine", "yours"], {}),
}


def test_an_arm_whose_name_says_the_same_is_called_by_what_it_does() -> None:
    who = "hand tuning from the paper's settings"
    names = arm_names(["bayes", "hand"], {"bayes": "Bayesian optimisation", "hand": who})
    assert names["hand"] == ArmName(who, "hand tuning", is_own=False)
    both = {"hand": who, "mine": "hand tuning"}
    assert arm_names(["hand", "mine"], both)["hand"].short == "hand"


# Interval of the difference, in points; each with the mean in its middle.
INTERVALS: dict[str, tuple[float, float] | None] = {
    "above": (0.21, 0.87),
    "below": (-0.87, -0.21),
    "around": (-0.4, 0.9),
    "narrow": (-0.24, 0.38),
    "slightly above": (0.1, 0.3),
    "slightly below": (-0.3, -0.1),
    "zero": (0.0, 0.0),
    "below by rounding": (-0.000001, 0.9),
    "everything": (-100.0, 100.0),
    "unknown": None,
}
MARGINS = {"declared": 0.005, "noise between seeds": 0.0042, "none": None}
COSTS: dict[str, Cost | None] = {
    "cheaper": Cost(0.31, 0.18, 0.52, 31.0, 100.0, 0.2),
    "dearer": Cost(1.4, 1.1, 1.9, 140.0, 100.0, 0.2),
    "unclear": Cost(0.85, 0.5, math.inf, 85.0, 100.0, 0.2),
    "never": Cost(math.inf, math.inf, math.inf, math.inf, 100.0, 0.2),
    "perhaps never": Cost(math.inf, 0.7, math.inf, math.inf, 100.0, 0.2),
    "tiny": Cost(0.004, 0.002, 0.3, 0.4, 100.0, 0.2),
    "one repeat": Cost(0.31, None, None, 31.0, 100.0, 0.2),
    "unknown": None,
}
MEASURES = (TEST, FULL_VALIDATION, VALIDATION)


def pairing(
    names: str, interval: str, margin: str, cost: str, measure: str, repeats: int = 8
) -> Pairing:
    ours, theirs = NAMES[names]
    found = INTERVALS[interval]
    low, high = (None, None) if found is None else (found[0] / 100, found[1] / 100)
    mean = 0.0054 if low is None or high is None else (low + high) / 2
    both = None if low is None or high is None else (low, high)
    quality = outcome_of(both, MARGINS[margin])
    return Pairing(
        reference=ours,
        baseline=theirs,
        measure=measure,
        repeats=tuple(range(repeats)),
        unfinished=0,
        planned=8,
        trainings=(0, 0) if measure == VALIDATION else (1, 3),
        differences=(mean,) * repeats,
        mean=mean,
        low=low,
        high=high,
        confidence=0.95,
        level=None if low is None else 0.95,
        looks=1,
        last=8,
        limit=20,
        quality=quality,
        margin=MARGINS[margin],
        margin_from="declared"
        if margin == "declared"
        else "none"
        if margin == "none"
        else "noise between seeds",
        standard_error=None,
        degrees=0,
        repeats_sd=None,
        seeds_sd=MARGINS[margin],
        same=0,
        wins=repeats,
        ties=0,
        losses=0,
        improvement=None,
        checks=Checks(0.01, 0.01, 0.01, 0.01, None),
        cost=COSTS[cost],
        more_repeats=12 if quality == "undecided" and low is not None else None,
    )


def cases() -> Iterator[tuple[str, Pairing, dict[str, ArmName]]]:
    """Every combination, and the rarer states of each of a few."""
    for names, interval, margin, cost, measure in itertools.product(
        NAMES, INTERVALS, MARGINS, COSTS, MEASURES
    ):
        pair = pairing(names, interval, margin, cost, measure)
        yield f"{names}, {interval}, {margin}, {cost}, {measure}", pair, NAMES[names]
    for names, interval, margin in itertools.product(NAMES, INTERVALS, MARGINS):
        base = pairing(names, interval, margin, "cheaper", TEST)
        rare = {
            "early": replace(base, repeats=(0, 1, 2), planned=8, looks=7),
            "until decided": replace(base, looks=15, last=20),
            "bound": replace(base, looks=3, last=8, limit=8),
            "beyond": replace(base, looks=9, last=16, limit=16, more_repeats=40),
            "beyond what may be": replace(base, more_repeats=993),
            "out of reach": replace(base, more_repeats=None),
            "one more": replace(base, more_repeats=1 if base.more_repeats else None),
            "one training": replace(base, trainings=(1, 1)),
            "two baselines": replace(base, confidence=0.975, level=0.975),
        }
        if base.low is None:
            rare["one repeat"] = replace(base, repeats=(0,))
            rare["one repeat, behind"] = replace(base, repeats=(0,), mean=-0.0054)
            rare["one repeat, equal"] = replace(base, repeats=(0,), mean=-1e-9)
            rare["before the first look"] = replace(base, repeats=(0, 1), looks=3, level=None)
            rare["equal differences"] = replace(base, level=0.95)
            rare["equal differences, equal seeds"] = replace(base, level=0.95, seeds_sd=0.0)
            rare["same picks"] = replace(base, level=0.95, mean=0.0, same=8)
        for name, pair in rare.items():
            yield f"{names}, {interval}, {margin}, {name}", pair, NAMES[names]


CASES = list(cases())

NEGATION = (
    r"\b(?:no|not|never|none|nothing|nobody|cannot|neither|nor|without"
    r"|un(?!decided|til|der|iform|it)\w+)\b"
)
JARGON = (
    r"\b(?:p-value|null|significan|confidence|bootstrap|Student|Wilcoxon|Holm|incumbent|seed noise"
    r"|margin|power|alpha|statistic|reference|baseline|thin)"
)


def texts() -> Iterator[tuple[str, str]]:
    for name, pair, names in CASES:
        yield name, answer(pair, names, ERROR)
        yield name, key(pair, names, ERROR)
        for item in advice(pair):
            yield name, item


@pytest.mark.slow
def test_each_keeps_the_rules() -> None:
    for name, text in texts():
        assert text.endswith("."), (name, text)
        assert "-0.00" not in text, (name, text)
        assert "  " not in text, (name, text)
        assert "None" not in text, (name, text)
        assert "nan" not in text.split(), (name, text)
        assert not re.search(r"\binf\b", text), (name, text)
        assert not re.search(JARGON, text), (name, text)
        assert "No verdict" not in text, (name, text)
        for sentence in re.split(r"(?<=[.:;])\s", text):
            assert len(re.findall(NEGATION, sentence)) < 2, (name, sentence)
            assert len(sentence) < 230, (name, sentence)
        assert text.count("(") == text.count(")"), (name, text)
        assert len(text) < 480, (name, text)


def test_numbers_are_those_of_the_table() -> None:
    for name, pair, names in CASES:
        text = answer(pair, names, ERROR)
        if pair.low is not None and pair.high is not None and pair.high < 1:
            assert ERROR.span(pair.low, pair.high) in text, (name, text)
        if pair.cost is not None and not pair.cost.never:
            assert f" {share(pair.cost.share)} of the epochs" in text, (name, text)
            if pair.cost.low is not None and pair.cost.high is not None:
                assert f"({share_span(pair.cost.low, pair.cost.high)})" in text, (name, text)
        if pair.cost is not None and pair.cost.never:
            assert "never as good" in text, (name, text)


def test_the_outcome_is_said_once() -> None:
    words = {
        "better": "finds better settings",
        "worse": "finds worse settings",
        "equivalent": "finds settings as good as",
        "undecided": "Undecided",
    }
    for name, pair, names in CASES:
        text = answer(pair, names, ERROR)
        said = [quality for quality, word in words.items() if word in text]
        assert said == [pair.quality], (name, text)
        assert bool(advice(pair)) == (pair.quality == "undecided"), name


def test_a_worse_arm_has_the_higher_error() -> None:
    for name, pair, names in CASES:
        text = answer(pair, names, ERROR)
        if pair.quality in ("better", "worse"):
            assert ("points lower" in text) == (pair.mean > 0), (name, text)
            assert ("points higher" in text) == (pair.mean < 0), (name, text)


def test_manager_reads() -> None:
    pair = pairing("usual", "narrow", "declared", "cheaper", TEST)
    assert answer(pair, NAMES["usual"], ERROR) == (
        "Bayesian optimisation finds settings as good as hand tuning's (within 0.5 points: "
        "-0.24 to +0.38) for 31% of the epochs (18 to 52%)."
    )


@pytest.mark.parametrize(
    ("limit", "more", "said"),
    [
        (None, 12, ": `tuneoff run STUDY.toml --until-decided` adds them and stops in time."),
        (20, 12, ": `tuneoff run STUDY.toml --until-decided` adds them and stops in time."),
        (19, 12, ". That is above the 19 of max_repeats in [compare]: `tuneoff run STUDY.toml"
         " --until-decided --max-repeats 20` adds them and stops in time."),
        (8, 12, ". That is above the 8 of max_repeats in [compare]: `tuneoff run STUDY.toml"
         " --until-decided --max-repeats 20` adds them and stops in time."),
        (5, 12, ". That is above the 5 of max_repeats in [compare]: `tuneoff run STUDY.toml"
         " --until-decided --max-repeats 20` adds them and stops in time."),
    ],
)  # fmt: skip
def test_more_repeats_than_may_be_come_with_the_option_that_allows_them(
    limit: int | None, more: int, said: str
) -> None:
    pair = pairing("usual", "around", "declared", "cheaper", TEST)
    (advised, *_) = advice(replace(pair, limit=limit, more_repeats=more))
    likely = f"About {more} more repeats would probably decide it, if the difference is as it looks"
    assert advised == f"{likely}{said}"


def test_more_repeats_than_any_study_has_are_no_advice() -> None:
    pair = pairing("usual", "around", "declared", "cheaper", TEST)
    assert advice(replace(pair, limit=8, more_repeats=993))[0].startswith("Even a thousand")
    assert "--max-repeats 1000`" in advice(replace(pair, limit=8, more_repeats=992))[0]


@pytest.mark.skipif("SENTENCES" not in os.environ, reason="a list for people to read")
def test_written_for_people_to_read() -> None:
    lines = dict.fromkeys(text for _, text in texts())
    Path(os.environ["SENTENCES"]).write_text("\n".join(lines) + "\n", encoding="utf-8")
