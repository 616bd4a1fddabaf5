"""What a simulation is shown as: sentences and numbers, each of them marked as simulated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from tuneoff.messages import counted
from tuneoff.metric import Metric
from tuneoff.search.replay.quality import FAIR_RANKING, GOOD_RANKING, Quality
from tuneoff.search.replay.replays import PairSummary, Replay, quantiles, summaries
from tuneoff.search.replay.table_rows import TableSurrogate
from tuneoff.search.results.decision.look import Outcome
from tuneoff.search.results.plain import plain

MARK: Final = "simulation"
PREFIX: Final = "Simulation:"
"""Begins each line of what is printed."""
OUTCOMES: Final[tuple[Outcome, ...]] = ("better", "worse", "equivalent", "undecided")


def marked(name: str) -> str:
    """A study's name, with which nobody takes its simulation for the study."""
    return f"{name} ({MARK})"


def simulated_below(name: str) -> str:
    """What stands above a comparison that is shown as that of a real study is."""
    return f"{PREFIX} the comparison below is simulated; it is not {name}'s own."


def quality_sentences(quality: Quality, metric: Metric) -> list[str]:
    """How far a surrogate is to be trusted, in plain words."""
    rank = quality.rank_correlation
    name = "none" if rank is None else "good" if rank >= GOOD_RANKING else "fair"
    name = "poor" if rank is not None and rank < FAIR_RANKING else name
    better = quality.better_half
    among = "" if better is None else f", {better:.2f} among the better half of them"
    ranking = (
        f"All configurations came to the same {metric.bare}, so that there is nothing to rank."
        if rank is None
        else f"It ranks configurations that it has not seen with a rank correlation of {rank:.2f}"
        f"{among} ({name}); half of their {metric.plural} are off by less "
        f"than {metric.amount(quality.error)}."
    )
    return [
        f"{PREFIX} the surrogate was fitted to {counted(quality.runs, 'run')} of "
        f"{counted(quality.configurations, 'configuration')} and "
        f"{counted(quality.full_trainings, 'full training')}. {ranking} Trainings that differ in "
        f"the seed only differ by {metric.amount(quality.seed_noise)} (standard deviation).",
        *(f"{PREFIX} warning: {warning}." for warning in quality.warnings),
    ]


def table_sentences(surrogate: TableSurrogate, metric: Metric) -> list[str]:
    """What a table is, and how far the forest through it is to be trusted, in plain words."""
    found, noise = surrogate.quality, surrogate.noise
    rank, better = found.rank(), found.rank(better_half=True)
    ranking = "" if rank is None else f"a rank correlation of {rank:.2f}"
    ranking += "" if better is None else f" ({better:.2f} among the better half), "
    between = (
        "No configuration was trained twice, so that no noise between seeds is simulated."
        if noise is None
        else f"Trainings that differ in the seed only differ by {metric.amount(noise)} "
        "(standard deviation, better half)."
    )
    return [
        f"{PREFIX} {metric.plural} are those of a table of"
        f" {counted(len(found.true), 'configuration')}, and "
        "between them a forest's. Of configurations that were left out (ten folds) it foretells "
        f"{metric.plural} with {ranking}{found.explained:.0%} of the variance; half of them are "
        f"off by less than {metric.amount(found.error)}. {between}"
    ]


def table_caution() -> str:
    """What a table cannot say."""
    return (
        f"{PREFIX} nothing was trained for this. Between the table's configurations a forest finds "
        "nothing better than its neighbours, so that a sampler gains less by going on near the "
        "best than in truth."
    )


def table_json(study: str, surrogate: TableSurrogate, found: Sequence[Replay]) -> dict[str, Any]:
    """As ``as_json``, of a simulation on a table."""
    quality = surrogate.quality
    said = {
        "configurations": len(quality.true),
        "rank_correlation": quality.rank(),
        "better_half": quality.rank(better_half=True),
        "explained": quality.explained,
        "error": quality.error,
        "seed_noise": surrogate.noise,
    }
    return _json(study, table_caution(), said, found)


def caution() -> str:
    """What no surrogate can say."""
    return (
        f"{PREFIX} nothing was trained for this. A surrogate is smoother than training, which "
        "flatters samplers that model it, and it knows the study's space and recipe alone."
    )


def summary_sentences(found: Sequence[Replay], metric: Metric) -> list[str]:
    """What the simulations say of each pair, in words."""
    repeats = quantiles([float(one.repeats) for one in found])
    return [
        *(_of_pair(pair, len(found), metric) for pair in summaries(found)),
        f"{PREFIX} repeats in the end: {_range([f'{value:.0f}' for value in repeats])}.",
    ]


def _of_pair(pair: PairSummary, count: int, metric: Metric) -> str:
    counts = [(outcome, pair.outcomes.get(outcome, 0)) for outcome in OUTCOMES]
    said = ", ".join(f"{outcome} in {number}" for outcome, number in counts if number)
    said = f"{said} of {counted(count, 'simulation')}" if count > 1 else next(iter(pair.outcomes))
    differences = _range([metric.difference(value) for value in pair.difference], metric.points)
    shares = _range([share_of(value) for value in pair.share])
    return (
        f"{PREFIX} {pair.reference} against {pair.baseline}: {said}. {_minus(pair, metric)}: "
        f"{differences}. Share of {pair.baseline}'s budget after which "
        f"{pair.reference} was as good as all of it: {shares}."
    )


def _minus(pair: PairSummary, metric: Metric) -> str:
    """What a difference is, of which plus means that the reference is better."""
    first, second = pair.baseline, pair.reference
    if metric.maximised:
        first, second = second, first
    return f"{first}'s {metric.bare} minus {second}'s"


def share_of(share: float) -> str:
    """A share of a budget: "31%", or "never"."""
    return f"{share:.0%}" if math.isfinite(share) else "never"


def _range(values: Sequence[str], unit: str = "") -> str:
    """The median, and in brackets the 10% and the 90% quantile where they differ."""
    low, middle, high = values
    return f"{middle}{unit}" if low == high else f"{middle}{unit} ({low} to {high})"


def as_json(study: str, quality: Quality, found: Sequence[Replay]) -> dict[str, Any]:
    """Plain JSON values; a share of None is "never"."""
    return _json(study, caution(), plain(quality), found)


def _json(study: str, caution: str, surrogate: Any, found: Sequence[Replay]) -> dict[str, Any]:
    return {
        "simulation": True,
        "study": marked(study),
        "caution": caution,
        "surrogate": surrogate,
        "pairs": [plain(pair) for pair in summaries(found)],
        "simulations": [
            {
                "seed": one.seed,
                "repeats": one.repeats,
                "pairs": plain(one.pairs),
            }
            for one in found
        ],
    }
