"""The first screen of a report: what was asked, the answer, what to use, what more would cost."""

from __future__ import annotations

from dataclasses import dataclass

from tuneoff.search.report.data import ReportData
from tuneoff.search.report.firmer import Firmer, firmer
from tuneoff.search.report.headlines import (
    BADGES,
    Tone,
    against,
    cost_line,
    errors_line,
    headline,
    question,
    without_pairs,
)
from tuneoff.search.report.to_use import ToUse, nothing_to_use, to_use
from tuneoff.search.results.compare import names_of


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one comparison.

    Attributes:
        tone: the outcome; see ``headlines.Tone``.
        text: one sentence, without jargon.
        cost: what it cost in training, in one sentence; empty if that is unknown.
    """

    tone: Tone
    text: str
    cost: str = ""

    @property
    def badge(self) -> str:
        """The outcome in one or two words."""
        return BADGES[self.tone]


@dataclass(frozen=True, slots=True)
class FirstScreen:
    """All that stands on the first screen, as text; the page, Markdown and the dashboard share it.

    Attributes:
        question: what the study asks, with its name.
        answer: about the first pair, which is the one that is asked about.
        exact: the same with its intervals: ``comparison.verdict``.
        errors: how often models with the settings of either arm are wrong; empty if unknown.
        others: about the further pairs, in order.
        settings: to be used; None if there are none.
        no_settings: why there are none; empty if there are.
        firmer: what a firmer answer would cost.
    """

    question: str
    answer: Answer
    exact: str
    errors: str
    others: tuple[Answer, ...]
    settings: ToUse | None
    no_settings: str
    firmer: Firmer


def first_screen(data: ReportData) -> FirstScreen:
    """The first screen of a study's report."""
    results, comparison, names = data.results, data.comparison, names_of(data.results)
    pairs, settings, metric = comparison.pairs, to_use(data, names), results.metric
    if pairs:
        first = pairs[0]
        answer = Answer(
            first.quality, headline(first, names, metric), cost_line(first, names, metric)
        )
    else:
        answer = Answer("none", without_pairs(results, comparison))
    return FirstScreen(
        question=question(results, comparison, names),
        answer=answer,
        exact=comparison.verdict,
        errors=errors_line(results, pairs[0], names) if pairs else "",
        others=tuple(
            Answer(pair.quality, against(pair, names, metric), cost_line(pair, names, metric))
            for pair in pairs[1:]
        ),
        settings=settings,
        no_settings="" if settings else nothing_to_use(data),
        firmer=firmer(data, names),
    )
