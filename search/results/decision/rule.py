"""When a comparison may end, and what difference is of interest: what [compare] says of it."""

from __future__ import annotations

from dataclasses import dataclass

from tuneoff.search.spec.file import StudySpec


@dataclass(frozen=True, slots=True)
class Rule:
    """When a comparison may end.

    Attributes:
        first: repeats at the first look; 2 at least. Equal to ``last`` where one looks once.
        last: the most repeats that it comes to.
        margin: smallest interesting difference, 0 to 1; None: as large as the noise between seeds.
        limit: the most repeats that a study may come to if it goes on until it is decided; None
            where that is not known.
    """

    first: int
    last: int
    margin: float | None
    limit: int | None = None


def rule_of(spec: StudySpec) -> Rule:
    """When a study of these settings may end: from its own repeats to the most that may be."""
    first = max(2, spec.repeats)
    return Rule(first, max(first, spec.compare.max_repeats), margin_of(spec))


def standing_rule(spec: StudySpec, repeats: int) -> Rule:
    """The rule by which a study with so many open repeats is judged.

    One that ends with its repeats is looked at once, when all are in.
    """
    rule = rule_of(spec)
    if spec.compare.until == "decided":
        return Rule(rule.first, max(rule.last, repeats), rule.margin, limit=rule.last)
    return Rule(max(2, repeats), max(2, repeats), rule.margin, limit=rule.last)


def margin_of(spec: StudySpec) -> float | None:
    """The smallest interesting difference that a study file declares, as differences are stored."""
    effect = spec.compare.smallest_effect
    return None if effect is None else effect / spec.metric.metric().factor
