"""The judge of a study that goes on until its arms are decided: enough, or what is to be added."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from statistics import fmean

from tuneoff.search.results.decision.look import Look, look
from tuneoff.search.results.decision.outlook import Outlook, Price, outlook
from tuneoff.search.results.decision.pairs import Evidence, evidence_of
from tuneoff.search.results.decision.rule import Rule, rule_of, standing_rule
from tuneoff.search.results.read import read_results
from tuneoff.search.results.records import StudyResults
from tuneoff.search.results.statistics.paired import narrowing
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.study.judgement import Judgement
from tuneoff.search.study.promotion import is_spent, unjudged_picks
from tuneoff.search.study.snapshot import Snapshot


def judge(now: Snapshot) -> Judgement:
    """Judge a study of which every open repeat is searched and trained in full.

    Each repeat is a look, and no other: more seeds of a pick come with the next repeat, since to
    look again at the same repeats would be a look that the level does not count.
    """
    results, spec = read_results(now), now.study.spec
    evidence = evidence_of(results)
    repeats = now.study.repeats
    rule = standing_rule(spec, repeats)
    seen = look(evidence, rule)
    if not evidence.pairs and (len(results.arms) < 2 or repeats >= rule.first):
        return Judgement("ended: there are no two arms to compare")
    if seen.pairs and not seen.undecided:
        return Judgement(f"decided after {repeats} repeats")
    if bound := _bound(now, rule):
        return Judgement(f"bound reached: {bound}{_open(seen)}")
    return Judgement(None, rule.last, _seeds(spec, evidence, seen, price_of(results, spec).repeat))


def outlook_of(now: Snapshot) -> Outlook | None:
    """What it will probably cost until the arms are decided; None while too little is known."""
    results, spec = read_results(now), now.study.spec
    seen = look(evidence_of(results), standing_rule(spec, now.study.repeats))
    return outlook(seen, now.study.repeats, price_of(results, spec))


def price_of(results: StudyResults, spec: StudySpec) -> Price:
    """What epochs and repeats cost, by what they have cost so far where that is known.

    A configuration that several arms or repeats pick is trained once, so that a repeat adds fewer
    full trainings than it has picks.
    """
    searched = sum(run.spent for run in results.runs)
    run_epochs, budget = spec.trial.epochs, budget_of_one(results, spec)
    takes = {name: spec.arms[name].takes(budget, run_epochs) for name in results.arms}
    due = sum(max(0.0, min(run.budget, takes[run.arm]) - run.spent) for run in results.runs)
    seconds = sum(run.seconds for run in results.runs)
    picks = [run.recommendation.key for run in results.runs if run.recommendation is not None]
    share = len(set(picks)) / len(picks) if picks else 1.0
    full = 0.0 if spec.promote is None else share * spec.promote.seeds * spec.promote.epochs
    trained = sum(
        min(spec.promote.seeds, len(errors)) * spec.promote.epochs
        for errors in _trained(results).values()
        if spec.promote is not None
    )
    return Price(
        repeat=sum(takes.values()) + len(results.arms) * full,
        due=due + max(0.0, len(results.runs) * full - trained),
        seconds=seconds / searched if searched else None,
    )


def budget_of_one(results: StudyResults, spec: StudySpec) -> float:
    """Epochs of one arm in one repeat: about, where the budget is in seconds."""
    if spec.budget.epochs is not None:
        return spec.budget.epochs
    return fmean([run.budget for run in results.runs]) if results.runs else spec.trial.epochs


def most_epochs(spec: StudySpec) -> int | None:
    """Epochs that a study costs at most if it comes to the most repeats; without an ensemble.

    None where the budget is in seconds: nobody knows how many that will be.
    """
    if spec.budget.epochs is None:
        return None
    full = 0 if spec.promote is None else spec.promote.seeds * spec.promote.epochs
    return rule_of(spec).last * len(spec.arms) * (spec.budget.epochs + full)


def _trained(results: StudyResults) -> dict[str, tuple[float, ...]]:
    found = [run.recommendation for run in results.runs if run.recommendation is not None]
    return {pick.key: pick.full_validation_errors for pick in found}


def _bound(now: Snapshot, rule: Rule) -> str | None:
    limits, repeats = now.study.spec.compare, now.study.repeats
    if repeats >= rule.last:
        return f"{repeats} repeats"
    if limits.max_hours is not None and now.age >= limits.max_hours * 3600:
        return f"{limits.max_hours:g} hours, after {repeats} repeats"
    # Another repeat could not be judged: its search would be for nothing.
    if unjudged_picks(now) or is_spent(now):
        return f"[compare] epochs = {limits.epochs} are spent, after {repeats} repeats"
    return None


def _open(seen: Look) -> str:
    names = [pair.evidence.baseline for pair in seen.undecided]
    if not names:
        return ""
    return f"; {seen.pairs[0].evidence.reference} is undecided against {', '.join(names)}"


def _seeds(
    spec: StudySpec, evidence: Evidence, seen: Look, repeat_epochs: float
) -> Mapping[str, int]:
    """Full trainings that narrow the undecided pairs more per epoch than another repeat does.

    At most as many as cost what a repeat costs; none under a bound on the epochs of judging.
    """
    if spec.promote is None or spec.compare.epochs is not None:
        return {}
    by_seed: dict[str, float] = defaultdict(float)
    by_repeat = 0.0
    for pair in seen.undecided:
        found = narrowing(
            pair.evidence.picks, pair.evidence.errors, evidence.noise, spec.promote.seeds
        )
        if found is not None:
            by_repeat += found.repeat
            for key, gain in found.by_seed.items():
                by_seed[str(key)] += gain
    counts = {key: len(seen.pairs[0].evidence.errors[key]) for key in by_seed}
    added: Counter[str] = Counter()
    worth = by_repeat / repeat_epochs * spec.promote.epochs  # of a training, to be as good
    while by_seed and added.total() * spec.promote.epochs < repeat_epochs:
        key = max(by_seed, key=lambda k: (_gain(by_seed[k], counts[k], added[k]), k))
        if _gain(by_seed[key], counts[key], added[key]) <= max(worth, 0.0):
            break
        added[key] += 1
    return {key: counts[key] + more for key, more in added.items()}


def _gain(first: float, there: int, added: int) -> float:
    """What one more training takes off after ``added`` ones, by sigma^2 w^2 / (n (n + 1))."""
    now = there + added
    return first * there * (there + 1) / (now * (now + 1))
