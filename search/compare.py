"""Who won, by how much, and how sure we may be: pure statistics on what the arms did."""

from __future__ import annotations

import math
import statistics
import sys
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import scipy.stats

from search.errors import StudyError

CONFIDENCE: Final = 0.95
ALPHA: Final = 0.05
HAND: Final = "hand"  # the arm that a verdict leads with, if it is there
TEST: Final = "test error"
VALIDATION: Final = "validation error"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """The end of one attempt at a trial, in order of time within its arm and repeat.

    Attributes:
        spent: epochs of the arm's budget spent up to and including this attempt.
        trial: the trial's number.
        epoch: the last epoch that the trial has reached.
        error: validation error at that epoch, 0 to 1.
        full: True if that is the trial's last epoch (a full search run).
    """

    spent: int
    trial: int
    epoch: int
    error: float
    full: bool


@dataclass(frozen=True, slots=True)
class Pick:
    """The configuration that an arm recommends in one repeat.

    Attributes:
        trial: the trial's number in its study.
        params: the searched parameters.
        validation_error: at the end of its search run, 0 to 1.
        full_validation_error: after full training; None until that is done.
        test_error: after full training, on the test split; None until that is done.
    """

    trial: int
    params: Mapping[str, Any]
    validation_error: float
    full_validation_error: float | None = None
    test_error: float | None = None


@dataclass(frozen=True, slots=True)
class ArmRun:
    """One arm in one repeat.

    Attributes:
        arm: the arm's name.
        repeat: 0-based; equal repeats of different arms are paired.
        budget: epochs that it may spend.
        spent: epochs that it has spent, pruned and lost attempts included.
        seconds: device seconds that it has spent.
        states: number of trials by state ("complete", "pruned", "diverged", "failed",
            "paused", "running", "waiting").
        steps: in order of time; empty before the first attempt ends.
        pick: None before the first trial has a value.
    """

    arm: str
    repeat: int
    budget: int
    spent: int
    seconds: float
    states: Mapping[str, int]
    steps: tuple[Step, ...]
    pick: Pick | None


@dataclass(frozen=True, slots=True)
class TrialCurve:
    """One trial of one arm, for the figures of learning curves and hyperparameters.

    Attributes:
        arm, repeat, number: which trial.
        state: "complete", "pruned", "diverged", "failed", "paused", "running" or "waiting".
        params: the searched parameters.
        errors: validation error, 0 to 1, by epoch, counted from 1.
    """

    arm: str
    repeat: int
    number: int
    state: str
    params: Mapping[str, Any]
    errors: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A configuration trained in full over several seeds.

    Attributes:
        params: the searched parameters.
        source: where it was found, "ARM/REPEAT#TRIAL".
        validation_errors: one for each seed, 0 to 1.
        test_errors: one for each seed, 0 to 1; empty where there is no test split.
    """

    params: Mapping[str, Any]
    source: str
    validation_errors: tuple[float, ...]
    test_errors: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One model of the ensemble: errors 0 to 1, weight in the combination."""

    model: str
    validation_error: float
    test_error: float
    weight: float


@dataclass(frozen=True, slots=True)
class Ensemble:
    """The combined models: how ("paper", "mean", ...), and its test error, 0 to 1."""

    how: str
    members: tuple[Member, ...]
    test_error: float


@dataclass(frozen=True, slots=True)
class StudyResults:
    """All that a study has come to, as far as it has come.

    Attributes:
        name: the study's name.
        arms: names in the study file's order.
        repeats: number of paired repeats.
        trial_epochs: epochs of one full search run.
        chance_error: top-1 error of guessing, 0 to 1.
        runs: one for each arm and repeat.
        confirmed: best first, by mean validation error.
        ensemble: None until all members are trained.
    """

    name: str
    arms: tuple[str, ...]
    repeats: int
    trial_epochs: int
    chance_error: float
    runs: tuple[ArmRun, ...]
    confirmed: tuple[Confirmed, ...] = ()
    ensemble: Ensemble | None = None


@dataclass(frozen=True, slots=True)
class AnytimeCurve:
    """What an arm would have recommended, had it been stopped at each point.

    Attributes:
        arm: the arm's name.
        repeats: number of repeats in the mean.
        spent: epochs of budget, increasing; starts where the last repeat gets its first value.
        mean: mean over repeats of the incumbent's validation error, 0 to 1.
        low, high: bootstrap 95% interval of that mean; empty for fewer than two repeats.
    """

    arm: str
    repeats: int
    spent: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over its repeats. Errors are 0 to 1; None where there is nothing to measure.

    Attributes:
        arm: the arm's name.
        repeats: number of repeats that have a pick.
        states: number of trials by state, summed over repeats.
        spent, budget: epochs, summed over repeats.
        seconds: device seconds, summed over repeats.
        best_validation: the lowest validation error among the picks.
        mean_validation, sd_validation: over the repeats' picks, after their search runs.
        validation_errors: one for each repeat, in order.
        test_errors: one for each repeat, in order.
        mean_test, sd_test: over the repeats that have one.
    """

    arm: str
    repeats: int
    states: Mapping[str, int]
    spent: int
    budget: int
    seconds: float
    best_validation: float | None
    mean_validation: float | None
    sd_validation: float | None
    validation_errors: tuple[float | None, ...]
    test_errors: tuple[float | None, ...]
    mean_test: float | None
    sd_test: float | None


@dataclass(frozen=True, slots=True)
class Speed:
    """Epochs until the mean anytime curves first reach the rival's final error.

    Both sides are timed to the same error, so epochs that the rival spends after its last
    improvement do not count against it.

    Attributes:
        target: the rival's final mean validation error, 0 to 1.
        rival_epochs: when the rival itself first had it.
        reference_epochs: when the reference first had it; None if it never did.
        ratio: rival_epochs / reference_epochs; above 1 the reference is faster.
    """

    target: float
    rival_epochs: int
    reference_epochs: int | None
    ratio: float | None


@dataclass(frozen=True, slots=True)
class Duel:
    """The reference against one rival, paired by repeat.

    Attributes:
        reference, rival: names of the arms.
        measure: "test error" where every pair has both, else "validation error".
        repeats: the paired repeats.
        differences: rival's error minus the reference's, one for each pair, -1 to 1;
            positive: the reference is better.
        mean: of the differences.
        low, high: bootstrap 95% interval of the mean; None for a single pair.
        p: two-sided Wilcoxon signed-rank test.
        p_holm: the same after Holm's correction over all rivals of this comparison.
        wins, ties, losses: pairs in which the reference is better, equal, worse.
        speed: epochs to the rival's final error; None where there is no curve.
        thin: True if there is any doubt that forbids a claim.
        doubts: why no claim can be made yet, and what it would take, worst first.
        notes: what a reader must know beside the claim.
        sentence: the outcome in plain words, honest about the doubts.
        cost: what it cost in epochs, in plain words.
    """

    reference: str
    rival: str
    measure: str
    repeats: tuple[int, ...]
    differences: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    p: float
    p_holm: float
    wins: int
    ties: int
    losses: int
    speed: Speed | None
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    sentence: str
    cost: str

    @property
    def thin(self) -> bool:
        return bool(self.doubts)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Who won, by how much, and how sure we may be.

    Attributes:
        study: the study's name.
        reference: the arm that the others are compared with; None for a study with no arms.
        arms: one summary for each arm, in the study file's order.
        duels: one for each rival that shares a repeat with the reference; the hand-tuned arm
            first, then in the study file's order.
        verdict: one plain sentence, about the first duel.
        thin: True if the evidence does not carry a claim.
    """

    study: str
    reference: str | None
    arms: tuple[ArmSummary, ...]
    duels: tuple[Duel, ...]
    verdict: str
    thin: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; keys are the attributes' names."""
        return {**plain(self), "duels": [{**plain(d), "thin": d.thin} for d in self.duels]}


def incumbent(run: ArmRun) -> tuple[tuple[int, float], ...]:
    """(epochs spent, validation error of the recommended configuration) after each step.

    Recommended is the best full run; before there is one, the best configuration at the deepest
    epoch that any has reached. The same rule as LCBench's normalised regret (Zimmer, Lindauer,
    Hutter, 2021): errors at different epochs are never compared, so the curve may rise when a
    deeper epoch is reached, but from the first full run on it only falls.
    """
    curve: list[tuple[int, float]] = []
    full: float | None = None
    deepest, partial = 0, 1.0
    for step in run.steps:
        if step.full:
            full = step.error if full is None else min(full, step.error)
        elif step.epoch > deepest:
            deepest, partial = step.epoch, step.error
        elif step.epoch == deepest:
            partial = min(partial, step.error)
        curve.append((step.spent, partial if full is None else full))
    return tuple(curve)


def spending_grid(results: StudyResults, points: int = 200) -> tuple[int, ...]:
    """At most ``points`` of the epochs at which some arm's incumbent could change, increasing."""
    every = sorted({step.spent for run in results.runs for step in run.steps})
    if len(every) <= points:
        return tuple(every)
    kept = np.linspace(0, len(every) - 1, points).round().astype(int)
    return tuple(every[i] for i in kept)


def anytime(results: StudyResults, arm: str, grid: Sequence[int]) -> AnytimeCurve:
    """Mean over repeats of the incumbent's error at each of ``grid``'s epochs.

    A repeat's last recommendation stands after its last step. Points before some repeat's first
    value, or after the last repeat's last step, are left out: there the mean would be over other
    repeats, or over nothing new.

    Args:
        results: the study.
        arm: the arm's name.
        grid: epochs spent, increasing.
    """
    curves = [incumbent(run) for run in _runs(results, arm) if run.steps]
    if not curves:
        return AnytimeCurve(arm, 0, (), (), (), ())
    first = max(curve[0][0] for curve in curves)
    last = max(curve[-1][0] for curve in curves)
    spent = tuple(point for point in grid if first <= point <= last)
    table = np.array([_at(curve, spent) for curve in curves])  # (repeats, points)
    low, high = _interval_of_means(table)
    mean = tuple(table.mean(axis=0).tolist())
    return AnytimeCurve(arm, len(curves), spent, mean, low, high)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values in the given order (Holm, 1979): control the family-wise error rate.

    adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)), with p_(1) the smallest of m.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def wilcoxon_p(differences: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test (Wilcoxon, 1945); zero differences are dropped.

    Exact by enumeration up to 13 pairs, ties or not, because SciPy's normal approximation would
    call five pairs significant, which no exact test can: the smallest p is 2 / 2^n.
    """
    moved = [d for d in differences if d != 0]
    if not moved:
        return 1.0
    return float(scipy.stats.wilcoxon(moved).pvalue)


def bootstrap_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """95% interval of the mean: bias-corrected and accelerated bootstrap (Efron, 1987).

    None for fewer than two values. The generator's seed is fixed, so that the same results
    always give the same report.
    """
    data = np.asarray(values, dtype=float)
    if data.size < 2:
        return None
    if np.ptp(data) == 0:  # BCa divides by the spread of the resampled means
        return float(data[0]), float(data[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        interval = scipy.stats.bootstrap(
            (data,), np.mean, confidence_level=CONFIDENCE, method="BCa", rng=_generator()
        ).confidence_interval
    if not np.isfinite([interval.low, interval.high]).all():
        low, high = _interval_of_means(data[:, None])
        return low[0], high[0]
    return float(interval.low), float(interval.high)


def pairs_needed(rivals: int) -> int:
    """The fewest paired repeats with which p < 0.05 is possible after Holm's correction.

    The exact signed-rank test cannot go below 2 / 2^n, and Holm multiplies the smallest p by
    the number of rivals: 6 pairs for one rival, 7 for two or three.
    """
    pairs = 1
    while 2 * max(1, rivals) / 2**pairs >= ALPHA:
        pairs += 1
    return pairs


def compare(results: StudyResults, reference: str | None = None) -> Comparison:
    """Compare every arm with ``reference``, repeat by repeat.

    Args:
        results: the study as far as it has come.
        reference: an arm's name; by default "bayes" if there is such an arm, else the first.

    Raises:
        StudyError: there is no arm of that name.
    """
    if reference is not None and reference not in results.arms:
        raise StudyError(
            f"study {results.name!r} has no arm {reference!r}; it has: {', '.join(results.arms)}"
        )
    arms = tuple(_summary(results, arm) for arm in results.arms)
    if not results.arms:
        return Comparison(results.name, None, (), (), "The study has no arms.", True)
    chosen = reference or ("bayes" if "bayes" in results.arms else results.arms[0])
    duels = _duels(results, chosen)
    if duels:
        return Comparison(results.name, chosen, arms, duels, duels[0].sentence, duels[0].thin)
    return Comparison(results.name, chosen, arms, (), _nothing_to_compare(arms, chosen), True)


def plain(value: Any) -> Any:
    """``value`` in plain JSON types: dataclasses become objects, NaN and infinity None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def _runs(results: StudyResults, arm: str) -> list[ArmRun]:
    return sorted((run for run in results.runs if run.arm == arm), key=lambda run: run.repeat)


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def _at(curve: Sequence[tuple[int, float]], grid: Sequence[int]) -> list[float]:
    """The step function ``curve`` at each point of ``grid``; none lies before its first step."""
    spent = [point for point, _ in curve]
    return [curve[i - 1][1] for i in np.searchsorted(spent, grid, side="right")]


def _interval_of_means(table: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Percentile bootstrap over the rows (Efron, 1979): lows and highs, one for each column.

    Every column sees the same resampled rows, so that a band's edges are as smooth as its curve.
    """
    rows = len(table)
    if rows < 2:
        return (), ()
    counts = _generator().multinomial(rows, [1 / rows] * rows, size=2000)  # (resamples, rows)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(counts @ table / rows, [tail, 1 - tail], axis=0)
    return tuple(low.tolist()), tuple(high.tolist())


def _mean_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    mean = statistics.fmean(values) if values else None
    return mean, statistics.stdev(values) if len(values) > 1 else None


def _picks(results: StudyResults, arm: str) -> dict[int, Pick]:
    return {run.repeat: run.pick for run in _runs(results, arm) if run.pick is not None}


def _summary(results: StudyResults, arm: str) -> ArmSummary:
    runs, picks = _runs(results, arm), _picks(results, arm)
    states: Counter[str] = Counter()
    for run in runs:
        states.update(run.states)
    validation = {repeat: pick.validation_error for repeat, pick in picks.items()}
    test = {r: pick.test_error for r, pick in picks.items() if pick.test_error is not None}
    mean_validation, sd_validation = _mean_sd(list(validation.values()))
    mean_test, sd_test = _mean_sd(list(test.values()))
    return ArmSummary(
        arm=arm,
        repeats=len(picks),
        states=dict(sorted(states.items())),
        spent=sum(run.spent for run in runs),
        budget=sum(run.budget for run in runs),
        seconds=math.fsum(run.seconds for run in runs),
        best_validation=min(validation.values(), default=None),
        mean_validation=mean_validation,
        sd_validation=sd_validation,
        validation_errors=tuple(validation.get(r) for r in range(results.repeats)),
        test_errors=tuple(test.get(r) for r in range(results.repeats)),
        mean_test=mean_test,
        sd_test=sd_test,
    )


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The paired errors of the reference and one rival, before any statistics."""

    rival: str
    measure: str
    repeats: tuple[int, ...]
    reference_errors: tuple[float, ...]
    rival_errors: tuple[float, ...]

    @property
    def differences(self) -> tuple[float, ...]:
        # Errors are ratios of counts: without rounding, equal differences such as 0.26 - 0.25
        # and 0.25 - 0.24 differ by 1e-17 and the ranks of the test would be noise.
        pairs = zip(self.rival_errors, self.reference_errors, strict=True)
        return tuple(round(rival - ours, 12) for rival, ours in pairs)


def _pair(results: StudyResults, reference: str, rival: str) -> _Pairs | None:
    ours, theirs = _picks(results, reference), _picks(results, rival)
    repeats = tuple(sorted(ours.keys() & theirs.keys()))
    if not repeats:
        return None
    our_tests = tuple(e for r in repeats if (e := ours[r].test_error) is not None)
    their_tests = tuple(e for r in repeats if (e := theirs[r].test_error) is not None)
    if len(our_tests) == len(their_tests) == len(repeats):
        return _Pairs(rival, TEST, repeats, our_tests, their_tests)
    return _Pairs(
        rival,
        VALIDATION,
        repeats,
        tuple(ours[r].validation_error for r in repeats),
        tuple(theirs[r].validation_error for r in repeats),
    )


def _duels(results: StudyResults, reference: str) -> tuple[Duel, ...]:
    rivals = [arm for arm in results.arms if arm != reference]
    rivals.sort(key=lambda arm: arm != HAND)  # stable: the hand-tuned arm first
    pairs = [pair for rival in rivals if (pair := _pair(results, reference, rival))]
    p_values = [wilcoxon_p(pair.differences) for pair in pairs]
    return tuple(
        _duel(results, reference, pair, p, adjusted, len(pairs))
        for pair, p, adjusted in zip(pairs, p_values, holm(p_values), strict=True)
    )


def _duel(
    results: StudyResults, reference: str, pairs: _Pairs, p: float, p_holm: float, rivals: int
) -> Duel:
    differences = pairs.differences
    interval = bootstrap_interval(differences)
    speed = _speed(results, reference, pairs.rival, pairs.repeats)
    blank = Duel(
        reference=reference,
        rival=pairs.rival,
        measure=pairs.measure,
        repeats=pairs.repeats,
        differences=differences,
        mean=statistics.fmean(differences),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        p=p,
        p_holm=p_holm,
        wins=sum(d > 0 for d in differences),
        ties=sum(d == 0 for d in differences),
        losses=sum(d < 0 for d in differences),
        speed=speed,
        doubts=(),
        notes=(),
        sentence="",
        cost=_cost(reference, pairs.rival, speed),
    )
    judged = replace(
        blank, doubts=_doubts(results, blank, rivals), notes=_notes(results, reference, pairs)
    )
    return replace(judged, sentence=_sentence(judged, rivals))


def _speed(
    results: StudyResults, reference: str, rival: str, repeats: Sequence[int]
) -> Speed | None:
    """Both mean curves over the repeats that the two arms share, without thinning."""
    shared = replace(results, runs=tuple(r for r in results.runs if r.repeat in set(repeats)))
    grid = spending_grid(shared, points=sys.maxsize)
    ours, theirs = anytime(shared, reference, grid), anytime(shared, rival, grid)
    if not ours.spent or not theirs.spent:
        return None
    target = theirs.mean[-1]
    rival_epochs = _first(theirs, target)
    reference_epochs = _first(ours, target)
    assert rival_epochs is not None  # the last point of its own curve reaches it
    ratio = rival_epochs / reference_epochs if reference_epochs else None
    return Speed(target, rival_epochs, reference_epochs, ratio)


def _first(curve: AnytimeCurve, target: float) -> int | None:
    """The first epoch at which the curve is at or below ``target``."""
    pairs = zip(curve.spent, curve.mean, strict=True)
    # The tolerance is for means of equal numbers that were summed in another order.
    return next((spent for spent, mean in pairs if mean <= target + 1e-12), None)


def _doubts(results: StudyResults, duel: Duel, rivals: int) -> tuple[str, ...]:
    """Why ``duel`` carries no claim, worst first; empty if it carries one."""
    count, needed = len(duel.repeats), pairs_needed(rivals)
    doubts = []
    if count < needed:
        doubts.append(
            f"{_many(count, 'paired repeat')} cannot bring p below {ALPHA} against"
            f" {_many(rivals, 'rival')}, {needed} could"
        )
    elif duel.p_holm >= ALPHA or duel.low is None or duel.high is None or _spans_zero(duel):
        doubts.append(_noise(duel, rivals))
    if count < results.repeats:
        doubts.append(
            f"only {count} of {results.repeats} repeats have picks on both sides,"
            " and a test that is read before all are in finds too much"
        )
    if duel.measure == VALIDATION:
        doubts.append(
            "not every pick has a test error yet, and validation errors favour whoever tried"
            " more; train the picks in full to have them"
        )
    return tuple(doubts)


def _spans_zero(duel: Duel) -> bool:
    return duel.low is None or duel.high is None or duel.low <= 0 <= duel.high


def _noise(duel: Duel, rivals: int) -> str:
    sd = statistics.stdev(duel.differences)
    repeats = _repeats_to_show(duel.mean, sd, rivals)
    if repeats is None:
        return "the difference is too small for any sensible number of repeats to tell from none"
    repeats = max(repeats, len(duel.repeats) + 1)
    return (
        f"it cannot be told from luck; a true difference of this size would take about"
        f" {repeats} repeats"
    )


def _repeats_to_show(mean: float, sd: float, rivals: int, power: float = 0.8) -> int | None:
    """Repeats that show a true difference ``mean`` with the given power; None above 1,000.

    n = ((z_(1 - alpha/2m) + z_power) sd / mean)^2 for a paired test of normal differences,
    times pi / 3, the signed-rank test's asymptotic relative efficiency (Hodges, Lehmann, 1956).
    """
    if abs(mean) < 1e-9:
        return None
    normal = statistics.NormalDist()
    quantiles = normal.inv_cdf(1 - ALPHA / (2 * rivals)) + normal.inv_cdf(power)
    repeats = math.ceil((quantiles * sd / mean) ** 2 * math.pi / 3)
    return max(repeats, pairs_needed(rivals)) if repeats <= 1000 else None


def _notes(results: StudyResults, reference: str, pairs: _Pairs) -> tuple[str, ...]:
    notes = []
    for arm, errors in ((reference, pairs.reference_errors), (pairs.rival, pairs.rival_errors)):
        guessing = sum(error >= results.chance_error for error in errors)
        if guessing:
            notes.append(
                f"{arm}'s pick is no better than guessing in {_many(guessing, 'repeat')},"
                " which weighs on the mean difference"
            )
    ours, theirs = (
        sum(r.spent for r in _runs(results, arm) if r.repeat in pairs.repeats)
        for arm in (reference, pairs.rival)
    )
    # 10%: an arm may end a few epochs under its budget when the next trial does not fit.
    if abs(ours - theirs) > 0.1 * max(ours, theirs):
        count = len(pairs.repeats)
        notes.append(
            f"the two did not spend the same: {ours / count:,.0f} epochs a repeat for {reference},"
            f" {theirs / count:,.0f} for {pairs.rival}"
        )
    busy = sum(
        run.states.get(state, 0)
        for run in results.runs
        if run.arm in (reference, pairs.rival)
        for state in ("running", "waiting", "paused")
    )
    if busy:
        notes.append(f"{_many(busy, 'trial')} of the two arms still to be finished")
    return tuple(notes)


def _cost(reference: str, rival: str, speed: Speed | None) -> str:
    if speed is None:
        return ""
    if speed.reference_epochs is None or speed.ratio is None:
        return f"{reference} never reached {rival}'s final validation error"
    ratio = speed.ratio
    factor = f"{ratio:.1f} times as fast" if ratio >= 1 else f"{1 / ratio:.1f} times as slow"
    if 1 / 1.05 < ratio < 1.05:
        factor = "as fast"
    return (
        f"{reference} reached {rival}'s final validation error after"
        f" {speed.reference_epochs:,} epochs, {rival} after {speed.rival_epochs:,}: {factor}"
    )


def _sentence(duel: Duel, rivals: int) -> str:
    size = f"{100 * abs(duel.mean):.2f} points of {duel.measure}"
    evidence = _evidence(duel, rivals)
    ours, theirs = duel.reference, duel.rival
    if not duel.thin:
        outcome = f"{ours} beats" if duel.mean > 0 else f"{ours} loses to"
        cost = f"; {duel.cost}" if duel.cost else ""
        return f"{outcome} {theirs} by {size} ({evidence}){cost}."
    if duel.mean == 0:
        outcome = f"{ours} and {theirs} are level on {duel.measure}"
    else:
        outcome = f"{ours} {'leads' if duel.mean > 0 else 'trails'} {theirs} by {size}"
    return f"No verdict yet: {outcome} ({evidence}), but the evidence is thin: {duel.doubts[0]}."


def _evidence(duel: Duel, rivals: int) -> str:
    """Interval, p and count, turned so that they agree with "by X points" in sign."""
    parts = []
    if duel.low is not None and duel.high is not None:
        low, high = (duel.low, duel.high) if duel.mean >= 0 else (-duel.high, -duel.low)
        parts.append(f"95% interval {100 * low:.2f} to {100 * high:.2f}")
    after = " after Holm's correction" if rivals > 1 else ""
    parts.append(f"p {p_text(duel.p_holm)}{after}")
    count = f"better in {duel.wins}" if duel.mean >= 0 else f"worse in {duel.losses}"
    parts.append(f"{count} of {_many(len(duel.repeats), 'repeat')}")
    return ", ".join(parts)


def p_text(p: float) -> str:
    """A p-value with its relation sign: "= 0.031", "< 0.001"."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _nothing_to_compare(arms: Sequence[ArmSummary], reference: str) -> str:
    if not any(arm.spent or arm.repeats for arm in arms):
        return "Nothing has been run yet."
    if len(arms) == 1:
        return f"No verdict: {reference} is the study's only arm, there is nothing to compare."
    if not next(arm for arm in arms if arm.arm == reference).repeats:
        return f"No verdict yet: {reference} has no finished trial."
    return f"No verdict yet: no other arm has a finished trial in a repeat that {reference} has."
