"""The difference between two arms, estimated from repeats and from seeds within their picks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import stdtr, stdtrit

from tuneoff.search.results.statistics.levels import CONFIDENCE
from tuneoff.search.results.statistics.shares import Key, Shares, shares_of
from tuneoff.search.results.statistics.significance import equivalence_p

NEGLIGIBLE: Final = 1e-12
"""Relative spread below which numbers are equal up to rounding, such as 0.3 - 0.2 and 0.4 - 0.3."""


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """How much trainings of one configuration differ that differ in their seed only.

    Attributes:
        sd: pooled standard deviation, sqrt(sum_c sum_s (y_cs - mean_c)^2 / degrees); 0 if it is
            rounding; None if no configuration has two trainings.
        degrees: its degrees of freedom, sum_c (n_c - 1).
    """

    sd: float | None
    degrees: int


@dataclass(frozen=True, slots=True)
class PairedEstimate:
    """Mean difference between a baseline's and an arm's error, with its uncertainty.

    In the unit of the errors; positive means that the arm is better.

    Attributes:
        differences: by repeat, mean error of the baseline's pick minus that of the arm's.
        mean: their mean.
        standard_error: of the mean; None if it cannot be known: with one repeat, if every repeat
            has the same two picks and each was trained once, or if both arms have the same pick in
            every repeat, which says nothing of how large a difference is where there is one.
        degrees: degrees of freedom of the standard error; 0 if that is None.
        spread: standard deviation of the differences; None with one repeat.
        repeats_sd: standard deviation between repeats of the difference that would be left with
            any number of seeds, max(0, .) in the variance; None if it cannot be known.
        seeds: the noise between seeds, pooled over all configurations.
        shared_error: the part of the standard error that is noise of seeds in configurations that
            repeats share, sigma sqrt(K): more repeats with the same picks do not average it out.
        bounded: the noise between seeds is not known, but matters since repeats share a
            configuration: the standard error is the largest that the differences allow.
    """

    differences: tuple[float, ...]
    mean: float
    standard_error: float | None
    degrees: float
    spread: float | None
    repeats_sd: float | None
    seeds: SeedNoise
    shared_error: float = 0.0
    bounded: bool = False

    @property
    def repeats(self) -> int:
        """Number of paired repeats."""
        return len(self.differences)

    def interval(self, level: float = CONFIDENCE) -> tuple[float, float] | None:
        """Student's t interval of the true difference: mean -+ t_(degrees, level) * standard error.

        None if the standard error is unknown. Where it is zero, equal differences may be luck: the
        point is given only from the number of repeats at which the sign test (Dixon, Mood, 1946)
        would do so, 2 / 2^R <= 1 - level.
        """
        if self.standard_error is None:
            return None
        if self.standard_error == 0 and not self._certain(level):
            return None
        half = float(stdtrit(self.degrees, (1 + level) / 2)) * self.standard_error
        return self.mean - half, self.mean + half

    def p_value(self, reference: float = 0.0) -> float | None:
        """Two-sided p of the hypothesis that the true difference is ``reference``.

        It is below 1 - level where ``interval(level)`` does not hold ``reference``.
        """
        if self.standard_error is None:
            return None
        if self.standard_error == 0:
            equal = math.isclose(self.mean, reference, abs_tol=NEGLIGIBLE)
            return 1.0 if equal else 2.0 ** (1 - self.repeats)
        return 2 * float(stdtr(self.degrees, -abs(self.mean - reference) / self.standard_error))

    def equivalence_p(self, margin: float) -> float | None:
        """P of two one-sided tests that the true difference is not within -+ margin."""
        if self.standard_error is None:
            return None
        return equivalence_p(self.mean, self.standard_error, self.degrees, margin)

    def _certain(self, level: float) -> bool:
        return 2.0 ** (1 - self.repeats) <= 1 - level


def seed_noise(errors: Iterable[Sequence[float]]) -> SeedNoise:
    """Pooled noise between seeds of configurations (one-way analysis of variance, Fisher, 1925).

    Args:
        errors: for each configuration, one error for each training.
    """
    total, degrees, largest = 0.0, 0, 0.0
    for values in errors:
        if len(values) > 1:
            mean = math.fsum(values) / len(values)
            total += math.fsum((value - mean) ** 2 for value in values)
            degrees += len(values) - 1
            largest = max(largest, *map(abs, values))
    if not degrees:
        return SeedNoise(None, 0)
    sd = math.sqrt(total / degrees)
    return SeedNoise(sd if sd > NEGLIGIBLE * largest else 0.0, degrees)


def paired_estimate(
    picks: Sequence[tuple[Key, Key]],
    errors: Mapping[Key, Sequence[float]],
    seeds: SeedNoise | None = None,
) -> PairedEstimate:
    """Two-level estimate of the mean difference between a baseline and an arm.

    The model: y_cs = mu_c + e_cs for seed s of configuration c, e of variance sigma^2; the true
    differences mu_(b_r) - mu_(a_r) of the repeats r = 1..R are independent with variance tau^2.
    The mean of the differences d_r is sum_c w_c ybar_c, with w_c = sum_r x_rc / R and
    x_rc = [b_r = c] - [a_r = c], so that its variance is

        tau^2 / R + sigma^2 V,  V = sum_c w_c^2 / n_c.

    With T = sum_r sum_c x_rc^2 / n_c, the sample variance S^2 of the differences has the mean
    tau^2 + sigma^2 (T - R V) / (R - 1): it holds the noise of picks that one repeat has for
    itself, but not that of picks that repeats share. Unbiased is therefore

        S^2 / R + sigma^2 K,  K = (R V - T / R) / (R - 1),

    where K is zero if no configuration was picked twice (analysis of variance estimate of a random
    effect: Searle, Casella, McCulloch, Variance Components, 1992, chapter 3). Degrees of freedom
    are those of Satterthwaite (1946) for this sum.

    Three precautions only widen the interval. The noise of a configuration that repeats share does
    not average out, so that much hangs on it: its own variance between seeds is taken where that is
    larger than the pooled sigma^2. K is not taken below zero, which it may be where one arm's pick
    is the other's in another repeat. Differences that are all equal, as they may be where errors
    are counted on few images, say nothing of their own noise: the variance is then sigma^2 V, with
    the degrees of freedom of sigma.

    A repeat in which both arms have the same pick differs by exactly 0, without any noise. Where
    that is so in all R, a repeat may still differ with a probability up to 1 - alpha^(1 / R)
    (Clopper, Pearson, 1934), by an amount of which nothing is seen: there is no standard error.

    Where no pick has two trainings, sigma is unknown. If K is zero, it is not needed; else the
    largest variance that S^2 allows is taken, that of tau = 0: S^2 V (R - 1) / (T - R V), with
    R - 1 degrees of freedom.

    Seeds are taken as independent between configurations. If the same seeds serve all of them,
    errors may rise and fall together, and the interval is wider than it need be.

    Args:
        picks: for each paired repeat, what the arm and what the baseline recommends.
        errors: for each of these configurations the errors of its trainings, one at least. The
            noise between seeds is pooled over all that are given, picks of the pair or not.
        seeds: the noise between seeds, if it is known from elsewhere.

    Raises:
        ValueError: there is no pick, or a pick has no error.
    """
    if not picks:
        raise ValueError("no paired repeat")
    if missing := [key for pair in picks for key in pair if not errors.get(key)]:
        raise ValueError(f"no error of pick {missing[0]!r}")
    noise = seeds or seed_noise(errors.values())
    means = {k: math.fsum(errors[k]) / len(errors[k]) for k in {k for pair in picks for k in pair}}
    differences = tuple(means[theirs] - means[ours] for ours, theirs in picks)
    mean = math.fsum(differences) / len(differences)
    count = len(picks)
    if count == 1:
        return PairedEstimate(differences, mean, None, 0.0, None, None, noise)
    square = math.fsum((d - mean) ** 2 for d in differences) / (count - 1)
    if square <= (NEGLIGIBLE * max(map(abs, differences))) ** 2:
        square = 0.0
    shares = shares_of(picks, {key: len(errors[key]) for key in means})
    seen = _noises(errors, noise, shares)
    if all(ours == theirs for ours, theirs in picks):
        variance, degrees, bounded = None, 0.0, False
    else:
        variance, degrees, bounded = _variance(square, noise, shares, seen)
    left = None
    if noise.sd is not None:
        left = math.sqrt(max(0.0, square - noise.sd**2 * shares.within))
    return PairedEstimate(
        differences,
        mean,
        None if variance is None else math.sqrt(variance),
        degrees,
        math.sqrt(square),
        left,
        noise,
        math.sqrt(seen.missed),
        bounded,
    )


@dataclass(frozen=True, slots=True)
class _Noises:
    """The parts of the mean's variance that are noise of seeds: sigma^2 V and sigma^2 K."""

    total: float
    missed: float


def _noises(errors: Mapping[Key, Sequence[float]], noise: SeedNoise, shares: Shares) -> _Noises:
    if noise.sd is None:
        return _Noises(0.0, 0.0)
    pooled = noise.sd**2
    own: dict[Hashable, float] = {
        key: max(pooled, (seed_noise([values]).sd or 0.0) ** 2)
        for key, values in errors.items()
        if key in shares.shared
    }
    total = math.fsum(v * own.get(key, pooled) for key, v in shares.total.items())
    missed = math.fsum(
        k * (own.get(key, pooled) if k > 0 else pooled) for key, k in shares.missed.items()
    )
    return _Noises(total, max(0.0, missed))


def _variance(
    square: float, noise: SeedNoise, shares: Shares, seen: _Noises
) -> tuple[float | None, float, bool]:
    """Variance of the mean, its degrees of freedom, and whether it is only a bound."""
    own = square / shares.count
    if noise.sd is None:
        if math.fsum(shares.missed.values()) <= NEGLIGIBLE:
            return own, shares.count - 1, False
        if shares.within <= NEGLIGIBLE:
            return None, 0.0, False
        most = square / shares.within * math.fsum(shares.total.values())
        return most, shares.count - 1, True
    if square == 0:
        return seen.total, noise.degrees, False
    variance = own + seen.missed
    part = own / variance  # a ratio: squares of variances could vanish
    degrees = 1 / (part**2 / (shares.count - 1) + (1 - part) ** 2 / noise.degrees)
    return variance, degrees, False


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What more evidence would take off the variance of a pair's mean difference.

    In squared units of the errors. Differences between two of them count, not their size against
    the interval: the interval also narrows with the degrees of freedom.

    Attributes:
        variance: of the mean, as the model has it from what is known: tau^2 / R + sigma^2 V.
        by_seed: for each configuration of the pair, what one more training of it takes off.
        repeat: what one more repeat takes off whose picks no other repeat has.
    """

    variance: float
    by_seed: dict[Hashable, float]
    repeat: float


def narrowing(
    picks: Sequence[tuple[Key, Key]],
    errors: Mapping[Key, Sequence[float]],
    seeds: SeedNoise | None = None,
    new_seeds: int = 1,
) -> Narrowing | None:
    """By how much one more training, or one more repeat, narrows a pair's mean difference.

    With the model of :func:`paired_estimate`, one more training of configuration c takes off
    sigma^2 w_c^2 / (n_c (n_c + 1)); one more repeat changes tau^2 / R + sigma^2 V to
    tau^2 / (R + 1) + sigma^2 (R^2 V + 2 / n) / (R + 1)^2 for new picks with n trainings each.
    Where sigma is unknown it is taken as large as the differences allow (tau = 0), which leaves
    the order of the configurations as it is.

    Args:
        picks, errors, seeds: as for :func:`paired_estimate`.
        new_seeds: trainings that each pick of another repeat would get.

    Returns:
        None if nothing is known of either variance: with one repeat and no second seed, or if all
        repeats have the same two picks and each was trained once.

    Raises:
        ValueError: there is no pick, or a pick has no error.
    """
    estimate = paired_estimate(picks, errors, seeds)
    count = len(picks)
    numbers = {key: len(errors[key]) for pair in picks for key in pair}
    shares = shares_of(picks, numbers)
    sigma2, tau2 = _components(estimate, shares)
    if sigma2 is None:
        return None
    total = math.fsum(shares.total.values())
    by_seed: dict[Hashable, float] = {
        key: sigma2 * shares.total[key] / (number + 1) for key, number in numbers.items()
    }
    before = tau2 / count + sigma2 * total
    after = tau2 / (count + 1) + sigma2 * (count**2 * total + 2 / new_seeds) / (count + 1) ** 2
    return Narrowing(before, by_seed, before - after)


def _components(estimate: PairedEstimate, shares: Shares) -> tuple[float | None, float]:
    """sigma^2 and tau^2; the former is None if nothing is known of either."""
    if estimate.seeds.sd is not None:
        return estimate.seeds.sd**2, (estimate.repeats_sd or 0.0) ** 2
    if estimate.spread is None or shares.within <= NEGLIGIBLE:
        return None, 0.0
    return estimate.spread**2 / shares.within, 0.0
