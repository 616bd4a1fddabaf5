"""What is said of studies that go on until their arms are decided."""

from __future__ import annotations

from typing import Any

import pytest

from tuneoff.search.cli.until import at_most, forecast_sentence, outlook_sentence, settings_of
from tuneoff.search.results.decision.outlook import Outlook, Range
from tuneoff.search.spec.file import StudySpec


@pytest.fixture
def spec(spec_values: Any) -> StudySpec:
    arms = {name: {"sampler": "random"} for name in ("bayes", "hand")}
    compare = {"until": "decided", "max_repeats": 12, "max_hours": 1.5}
    return StudySpec.parse(spec_values(arms=arms, compare=compare), "test")


def test_options_are_settings_of_the_study_file() -> None:
    assert settings_of(False, None, None) == ()
    changes = settings_of(True, 7, 0.5)
    assert changes == ('compare.until="decided"', "compare.max_repeats=7", "compare.max_hours=0.5")


def test_before_anything_is_known(spec: StudySpec) -> None:
    assert at_most(spec) == (
        "Until decided: at most 12 repeats, 216 epochs in all, and nothing is added 1.5 h after it "
        "was created. How many it will probably take is said once two repeats can be compared."
    )


@pytest.mark.parametrize(
    ("repeats", "said"),
    [
        (11, "is said once two repeats can be compared."),
        (12, "Until decided: at most 12 repeats, all of which are open; none is added."),
        (13, "Until decided: at most 12 repeats, all of which are open; none is added."),
    ],
)
def test_at_the_last_look_no_forecast_is_promised(spec: StudySpec, repeats: int, said: str) -> None:
    assert forecast_sentence(spec, repeats, None).endswith(said)


def test_a_forecast_is_said_at_any_number_of_repeats(spec: StudySpec) -> None:
    found = Outlook(Range(12, 12, 12), Range(40, 40, 40), None, 0.0)
    assert forecast_sentence(spec, 12, found) == outlook_sentence(spec, found)


@pytest.mark.parametrize(
    ("seconds", "time"),
    [
        (Range(5, 20, 50), ", less than a minute of training, shared among the workers"),
        (Range(120, 600, 1200), ", 10 min (2 to 20) of training, shared among the workers"),
        (Range(3600, 9000, 36000), ", 2.5 h (1.0 to 10.0) of training, shared among the workers"),
        (None, ""),
    ],
)
def test_once_something_is_known(spec: StudySpec, seconds: Range | None, time: str) -> None:
    found = Outlook(Range(7, 9, 12), Range(100, 1500, 2000), seconds, 0.125)
    assert outlook_sentence(spec, found) == (
        "Until decided: probably 9 (7 to 12) repeats in all, 1,500 (100 to 2,000) more epochs"
        f"{time}, and nothing is added 1.5 h after it was created. 12% of simulated courses reach "
        "12 repeats undecided; in brackets, what 80% of them come to."
    )


@pytest.mark.parametrize(
    ("repeats", "said"),
    [
        (0, ""),
        (1, " 1 repeat is left out, as not finished yet."),
        (2, " 2 repeats are left out, as not finished yet."),
    ],
)
def test_repeats_that_are_not_finished_are_counted(
    spec: StudySpec, repeats: int, said: str
) -> None:
    found = Outlook(Range(12, 12, 12), Range(40, 40, 40), None, 0.0, repeats)
    assert outlook_sentence(spec, found).endswith(f"12 repeats undecided.{said}")


def test_a_range_without_width_is_one_number(spec: StudySpec) -> None:
    found = Outlook(Range(12, 12, 12), Range(40, 40, 40), None, 0.0)
    assert outlook_sentence(spec, found) == (
        "Until decided: probably 12 repeats in all, 40 more epochs, and nothing is added 1.5 h "
        "after it was created. 0% of simulated courses reach 12 repeats undecided."
    )
