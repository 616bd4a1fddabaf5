"""The first screen: every answer that it can give is generated, and keeps the rules."""

from __future__ import annotations

import itertools
import math
import os
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tuneoff.metric import ERROR
from tuneoff.search.report.commands import export_and_train
from tuneoff.search.report.data import ReportData
from tuneoff.search.report.firmer import firmer
from tuneoff.search.report.first_screen import FirstScreen, first_screen
from tuneoff.search.report.headlines import against, cost_line, headline
from tuneoff.search.results.arm_names import ArmName, arm_names
from tuneoff.search.results.compare import compare
from tuneoff.search.results.comparison import (
    Checks,
    Comparison,
    Cost,
    Pairing,
    PairwiseComparison,
)
from tuneoff.search.results.decision.look import outcome_of
from tuneoff.search.results.decision.outlook import Outlook, Price, Range
from tuneoff.search.results.export_file import Exported
from tuneoff.search.results.numbers import share
from tuneoff.search.results.records import (
    TEST,
    VALIDATION,
    ArmFacts,
    ArmRun,
    Confirmed,
    Recommendation,
    StudyResults,
)
from tuneoff.search.results.sentences import advice, answer
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.recipe import HyperParams, Recipe

NAMES = {
    "usual": arm_names(
        ["bayes", "hand"], {"bayes": "Bayesian optimisation", "hand": "hand tuning"}
    ),
    "own": arm_names(
        ["tpe-wide", "tries"], {"tpe-wide": "Bayesian optimisation", "tries": "random search"}
    ),
    "undescribed": arm_names(["mine", "yours"], {}),
}
# Of the difference, in points; the mean is in the middle.
INTERVALS: dict[str, tuple[float, float] | None] = {
    "above": (0.21, 0.87),
    "below": (-0.87, -0.21),
    "hardly above": (0.0001, 0.0002),
    "around": (-0.4, 0.9),
    "behind": (-0.9, 0.4),
    "level": (-0.9, 0.9),
    "within": (-0.24, 0.38),
    "unknown": None,
}
COSTS: dict[str, Cost | None] = {
    "cheaper": Cost(0.31, 0.18, 0.52, 31.0, 100.0, 0.2),
    "dearer": Cost(1.4, 1.1, 1.9, 140.0, 100.0, 0.2),
    "unclear": Cost(0.85, 0.5, math.inf, 85.0, 100.0, 0.2),
    "unclear, finite": Cost(0.85, 0.5, 1.2, 85.0, 100.0, 0.2),
    "never": Cost(math.inf, math.inf, math.inf, math.inf, 100.0, 0.2),
    "perhaps never": Cost(math.inf, 0.7, math.inf, math.inf, 100.0, 0.2),
    "tiny": Cost(0.004, 0.002, 0.3, 0.4, 100.0, 0.2),
    "one repeat": Cost(0.31, None, None, 31.0, 100.0, 0.2),
    "unknown": None,
}
PRICES = {
    "known": Price(139.5, 1.0, 0.2),
    "hours": Price(9000.0, 0.0, 12.0),
    "untimed": Price(139.5, 0.0, None),
    "unknown": None,
}


def pairing(
    names: str, interval: str, cost: str = "cheaper", margin: float | None = 0.004
) -> Pairing:
    ours, theirs = NAMES[names]
    found = INTERVALS[interval]
    both = None if found is None else (found[0] / 100, found[1] / 100)
    low, high = both or (None, None)
    mean = 0.0054 if both is None else sum(both) / 2
    return Pairing(
        reference=ours,
        baseline=theirs,
        measure=TEST,
        repeats=tuple(range(8)),
        unfinished=0,
        planned=8,
        trainings=(1, 3),
        differences=(mean,) * 8,
        mean=mean,
        low=low,
        high=high,
        confidence=0.95,
        level=None if low is None else 0.95,
        looks=1,
        last=8,
        limit=20,
        quality=outcome_of(both, margin),
        margin=margin,
        margin_from="none" if margin is None else "declared",
        standard_error=None,
        degrees=0,
        repeats_sd=None,
        seeds_sd=margin,
        same=0,
        wins=8,
        ties=0,
        losses=0,
        improvement=None,
        checks=Checks(0.01, 0.01, 0.01, 0.01, None),
        cost=COSTS[cost],
        more_repeats=12 if outcome_of(both, margin) == "undecided" and both else None,
    )


def in_words(pair: Pairing, names: Mapping[str, ArmName]) -> PairwiseComparison:
    return PairwiseComparison(
        **{field.name: getattr(pair, field.name) for field in fields(pair)},
        sentence=answer(pair, names, ERROR),
        key="",
        advice=advice(pair),
        notes=(),
    )


def pairs() -> Iterator[tuple[str, Pairing, dict[str, ArmName]]]:
    for names, interval, cost, margin in itertools.product(NAMES, INTERVALS, COSTS, (0.004, None)):
        yield f"{names}, {interval}, {cost}", pairing(names, interval, cost, margin), NAMES[names]
    for names, interval in itertools.product(NAMES, INTERVALS):
        base = pairing(names, interval)
        rare = {
            "early": replace(base, repeats=(0, 1, 2), looks=7),
            "goes on": replace(base, looks=15, last=20),
            "same picks": replace(base, quality="undecided", mean=0.0, same=8),
            "one repeat": replace(base, repeats=(0,), low=None, high=None, quality="undecided"),
            "far": replace(base, more_repeats=40 if base.more_repeats else None),
            "out of reach": replace(base, more_repeats=None),
        }
        for name, pair in rare.items():
            yield f"{names}, {interval}, {name}", pair, NAMES[names]


PAIRS = list(pairs())


def run(
    arm: str, repeat: int, error: float | None, state: str = "complete", spent: int = 9
) -> ArmRun:
    pick = None
    if error is not None:
        pick = Recommendation(0, {"lr": f"{arm} {repeat}"}, error, (error,), (error,))
    return ArmRun(arm, repeat, 9, spent, 1.0, {state: 3} if spent else {}, (), pick)


def results(names: str = "usual", errors: bool = True) -> StudyResults:
    arms = tuple(NAMES[names])
    runs = tuple(run(a, r, 0.02 if errors else None) for a in arms for r in range(8))
    facts = {
        "bayes": ArmFacts("Bayesian optimisation"),
        "hand": ArmFacts("hand tuning"),
        "tpe-wide": ArmFacts("Bayesian optimisation"),
        "tries": ArmFacts("random search"),
    }
    return StudyResults(
        "digits", arms, 8, 3, 0.9, runs, facts={a: facts[a] for a in arms if a in facts}
    )


def data_of(names: str, *found: Pairing, price: Price | None = PRICES["known"]) -> ReportData:
    worded = tuple(in_words(pair, NAMES[names]) for pair in found)
    study = results(names)
    comparison = Comparison("digits", found[0].reference, (), worded, worded[0].sentence, False)
    return ReportData(study, comparison, price=price)


def firm_texts() -> Iterator[tuple[str, str]]:
    for name, pair, names in PAIRS:
        which = next(key for key, value in NAMES.items() if value is names)
        for price in PRICES.values():
            found = firmer(data_of(which, pair, price=price), names)
            yield name, found.text
        yield name, firmer(data_of(which, pair, pairing(which, "above")), names).text
    outlook = Outlook(Range(9, 12, 20), Range(100, 1234, 5000), Range(20, 200, 20000), 0.2)
    for found_outlook in (
        outlook,
        replace(outlook, seconds=None),
        replace(outlook, repeats=Range(9, 9, 9)),
    ):
        data = replace(data_of("usual", pairing("usual", "around")), outlook=found_outlook)
        yield "outlook", firmer(data, NAMES["usual"]).text


def texts() -> Iterator[tuple[str, str]]:
    for name, pair, names in PAIRS:
        yield name, headline(pair, names, ERROR)
        yield name, against(pair, names, ERROR)
        if line := cost_line(pair, names, ERROR):
            yield name, line
    yield from firm_texts()
    for name, screen in nothing_to_compare():
        yield name, screen.answer.text
        yield name, screen.no_settings
        if screen.firmer.text:
            yield name, screen.firmer.text
    for best, confirmed in found_settings():
        screen = first_screen(with_settings(best, confirmed))
        assert screen.settings is not None
        yield "settings", screen.settings.expectation
        yield "settings", screen.settings.source


def nothing_to_compare() -> Iterator[tuple[str, FirstScreen]]:
    unjudged = replace(
        run("bayes", 0, 0.1), recommendation=Recommendation(0, {}, 0.1, judged=False)
    )
    other = replace(unjudged, arm="hand")
    cases = {
        "no arms": StudyResults("s", (), 0, 3, 0.9, ()),
        "nothing": StudyResults(
            "s", ("a", "b"), 1, 3, 0.9, (run("a", 0, None, spent=0), run("b", 0, None, spent=0))
        ),
        "diverged": StudyResults(
            "s", ("a", "b"), 1, 3, 0.9, (run("a", 0, 0.9, "diverged"), run("b", 0, 0.9, "diverged"))
        ),
        "failed": StudyResults(
            "s", ("a", "b"), 1, 3, 0.9, (run("a", 0, None, "failed"), run("b", 0, None, "failed"))
        ),
        "one arm": StudyResults("s", ("a",), 1, 3, 0.9, (run("a", 0, 0.1),)),
        "other repeats": StudyResults(
            "s", ("a", "b"), 2, 3, 0.9, (run("a", 0, 0.1), run("b", 1, 0.1))
        ),
        "unjudged": StudyResults("s", ("bayes", "hand"), 1, 3, 0.9, (unjudged, other)),
    }
    for name, study in cases.items():
        yield name, first_screen(ReportData(study, compare(study)))


def exported(**evidence: float | str) -> Exported:
    recipe = Recipe.from_dict({"data": {"name": "digits"}, "model": "proxy", "epochs": 3})
    return Exported(
        1, "bayes/7#13", {"lr": 0.1942345678, "layer_decay.fc": 10, "flip": True, "pool": "max"},
        HyperParams(0.1), recipe, RunSeed(0, 0, 0), {}, {}, evidence,
    )  # fmt: skip


def found_settings() -> Iterator[tuple[Exported, Confirmed | None]]:
    best = exported()
    confirmed = Confirmed(best.params, best.source, (0.017, 0.018, 0.016), (0.005, 0.003, 0.006))
    yield best, confirmed
    yield best, replace(confirmed, validation_errors=(0.017,), test_errors=(0.005,))
    yield best, replace(confirmed, diverged=1)
    yield best, replace(confirmed, test_errors=(), expected_error=0.0182)
    yield best, None
    yield replace(best, source="elsewhere"), None
    yield (
        exported(search_runs=1, search_runs_mean_error=0.0105, search_runs_expected_error=0.0192),
        None,
    )


def with_settings(best: Exported, confirmed: Confirmed | None) -> ReportData:
    data = data_of("usual", pairing("usual", "above"))
    known = () if confirmed is None else (confirmed,)
    return replace(data, results=replace(data.results, confirmed=known), best=best)


JARGON = (
    r"\b(?:p-value|p =|null|significan|confidence|bootstrap|Student|Wilcoxon|Holm|incumbent"
    r"|margin|power|alpha|statistic|reference|baseline|Gaussian|equivalent|NaN|None|nan|inf)\b"
)


@pytest.mark.slow
def test_each_keeps_the_rules() -> None:
    for name, text in texts():
        assert text.endswith("."), (name, text)
        assert "  " not in text, (name, text)
        assert ".." not in text, (name, text)
        assert "-0.00" not in text, (name, text)
        assert not re.search(JARGON, text), (name, text)
        assert text.count("(") == text.count(")"), (name, text)
        assert len(text) < 420, (name, text)


def test_an_answer_is_one_short_sentence() -> None:
    for name, pair, names in PAIRS:
        for text in (headline(pair, names, ERROR), against(pair, names, ERROR)):
            assert not re.search(r"[.!?]\s", text), (name, text)
            assert len(text) < 170, (name, text)


def test_the_outcome_is_said_as_the_exact_sentence_says_it() -> None:
    starts = {
        "better": "Yes: ",
        "worse": "No: ",
        "equivalent": "No difference that matters: ",
        "undecided": "Not decided",
    }
    for name, pair, names in PAIRS:
        text = headline(pair, names, ERROR)
        assert [quality for quality, start in starts.items() if text.startswith(start)] == [
            pair.quality
        ], (name, text)
        if pair.quality in ("better", "worse") and ERROR.size(pair.mean) != "0.00":
            assert f" {ERROR.size(pair.mean)} percentage points" in text, (name, text)
            assert ("fewer errors" in text) == (pair.mean > 0), (name, text)
        assert "0.00" not in text, (name, text)


def test_the_cost_agrees_with_its_interval() -> None:
    words = {"cheaper": " saves training", "dearer": "takes more training", "never": " saves no"}
    for name, pair, names in PAIRS:
        text = cost_line(pair, names, ERROR)
        if pair.cost is None:
            assert not text
            continue
        if pair.cost.price in words and not text.startswith("Whether"):
            assert words[pair.cost.price] in text, (name, text)
        if not pair.cost.never:
            assert f"after {share(pair.cost.share)} of the epochs" in text, (name, text)


def test_the_question_is_about_the_pair_that_is_answered() -> None:
    study = results()
    assert first_screen(ReportData(study, compare(study))).question == (
        "digits: does Bayesian optimisation beat hand tuning?"
    )
    assert first_screen(ReportData(study, compare(study, "hand"))).question == (
        "digits: does hand tuning beat Bayesian optimisation?"
    )


@pytest.mark.parametrize(
    ("interval", "headlined"),
    [
        ("above", "Yes: Bayesian optimisation finds better settings than hand tuning, with 0.54"
         " percentage points fewer errors."),
        ("below", "No: Bayesian optimisation finds worse settings than hand tuning, with 0.54"
         " percentage points more errors."),
        ("within", "No difference that matters: Bayesian optimisation and hand tuning come out"
         " equally good."),
        ("around", "Not decided: Bayesian optimisation is 0.25 percentage points ahead of hand"
         " tuning, which may be luck."),
    ],
)  # fmt: skip
def test_a_newcomer_reads(interval: str, headlined: str) -> None:
    assert headline(pairing("usual", interval), NAMES["usual"], ERROR) == headlined


class TestFirmer:
    def test_undecided_says_repeats_epochs_time_and_the_command(self) -> None:
        pair = pairing("usual", "around")
        found = firmer(data_of("usual", pair), NAMES["usual"])
        assert found.text == (
            "If the difference stays as it looks, about 12 more repeats would probably decide it:"
            " about 1,700 epochs, or 6 min on one device."
        )
        assert found.command == "tuneoff run STUDY.toml --until-decided"

    def test_more_repeats_than_the_study_allows_come_with_the_option(self) -> None:
        pair = replace(pairing("usual", "around"), more_repeats=40)
        command = firmer(data_of("usual", pair), NAMES["usual"]).command
        assert command == "tuneoff run STUDY.toml --until-decided --max-repeats 48"

    def test_decided_says_so_and_what_half_the_interval_costs(self) -> None:
        found = firmer(data_of("usual", pairing("usual", "above")), NAMES["usual"])
        assert found.text.startswith("The answer is firm.")
        assert "its uncertainty of ±0.33 points" in found.text
        assert "in a new study: about 4,500 epochs, or 15 min on one device" in found.text
        assert found.command == "tuneoff run STUDY.toml --set name=digits-2 --set repeats=32"

    def test_the_hardest_pair_counts_and_what_is_settled_is_said(self) -> None:
        near = pairing("usual", "around")
        far = replace(near, more_repeats=30)
        found = firmer(data_of("usual", near, far), NAMES["usual"])
        assert found.text.startswith("If the difference stays as it looks, about 30 more")
        mixed = firmer(data_of("usual", pairing("usual", "above"), near), NAMES["usual"])
        assert mixed.text.startswith("Against hand tuning the answer stands. If the difference")

    def test_of_several_that_no_number_of_repeats_decides_the_first_is_spoken_of(self) -> None:
        hopeless = replace(pairing("usual", "around"), more_repeats=None)
        found = firmer(data_of("usual", hopeless, pairing("usual", "around")), NAMES["usual"])
        assert found.text.startswith("Against hand tuning: even a thousand repeats")
        assert found.text.count("repeats") == 1
        assert not found.command


class TestSettings:
    def test_they_are_shown_short_and_copied_whole(self) -> None:
        best = exported()
        settings = first_screen(with_settings(best, None)).settings
        assert settings is not None
        assert settings.rows == (
            ("lr", "0.1942"), ("layer_decay.fc", "10"), ("flip", "true"), ("pool", "max")
        )  # fmt: skip
        assert tomllib.loads(settings.text) == best.params
        assert settings.source == "Found by Bayesian optimisation (repeat 7, trial 13)."

    def test_the_command_survives_a_shell(self) -> None:
        name = "a b'; rm -rf ~"
        command = export_and_train(name, "--storage 'sqlite:///a b.db'", "--work w")
        export, train = command.split(" && ")
        assert shlex.split(export)[:3] == ["tuneoff", "export", name]
        assert train == "tuneoff train best.toml --work w"
        assert export_and_train("digits") == (
            "tuneoff export digits -o best.toml && tuneoff train best.toml"
        )

    def test_without_any_a_line_says_why(self) -> None:
        found = dict(nothing_to_compare())
        assert "diverged" in found["diverged"].no_settings
        assert found["nothing"].no_settings == "No settings to use yet: no run has finished."
        assert all(screen.settings is None for screen in found.values())


def test_errors_are_those_of_the_measure_that_was_compared() -> None:
    study = results()
    runs = tuple(run(r.arm, r.repeat, 0.02 if r.arm == "bayes" else 0.03) for r in study.runs)
    compared = replace(study, runs=runs)
    assert first_screen(ReportData(compared, compare(compared))).errors == (
        "On average, models with the settings of Bayesian optimisation get 2.00% of the test images"
        " wrong; with those of hand tuning it is 3.00%."
    )
    searched = tuple(
        replace(
            r, recommendation=replace(r.recommendation, full_validation_errors=(), test_errors=())
        )
        for r in runs
        if r.recommendation is not None
    )
    compared = replace(study, runs=searched)
    assert compare(compared).pairs[0].measure == VALIDATION
    assert (
        "% of the validation images" in first_screen(ReportData(compared, compare(compared))).errors
    )


@pytest.mark.skipif("SENTENCES" not in os.environ, reason="a list for people to read")
def test_written_for_people_to_read() -> None:
    lines = dict.fromkeys(text for _, text in texts())
    Path(os.environ["SENTENCES"]).write_text("\n".join(lines) + "\n", encoding="utf-8")
