"""The acquisition function, log expected improvement, and the search for its maximum."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.special import erfcx, log_ndtr

from tuneoff.search.spec.space import Floats

ANYWHERE, NEAR = 512, 64  # candidates in the whole cube, and around each good configuration
STEPS = (0.02, 0.05, 0.1, 0.2)  # standard deviations of the latter, in sides of the cube
ROUNDS, BEAM, BRANCHES = 4, 4, 32  # rounds; best points kept in each; candidates around each


def log_expected_improvement(mean: Floats, sd: Floats, best: float) -> Floats:
    """Log of the expected improvement E[max(best - f, 0)] for f ~ N(mean, sd^2), any shape.

    Accurate even where the improvement itself is zero in floating point (Ament et al. 2023,
    Unexpected Improvements to Expected Improvement, eq. 9).
    """
    z = (best - mean) / sd
    log_density = -0.5 * z * z - 0.5 * math.log(2.0 * math.pi)
    out = np.empty_like(z)
    near = z > -1.0
    out[near] = np.log(np.exp(log_density[near]) + z[near] * np.exp(log_ndtr(z[near])))
    far = z[~near]
    # 1 + z Phi(z) / phi(z) tends to 1 / z^2, and loses all its digits to cancellation on the way.
    factor = 1.0 + far * math.sqrt(0.5 * math.pi) * erfcx(-far / math.sqrt(2.0))
    factor = np.where(far < -1e4, 1.0 / far**2, np.maximum(factor, 1e-16))
    out[~near] = log_density[~near] + np.log(factor)
    return np.log(sd) + out


def maximise(
    score: Callable[[Floats], Floats], good: Floats, dimensions: int, rng: np.random.Generator
) -> tuple[Floats, float]:
    """The best point (P,) of the unit cube that a random search with narrowing steps finds.

    Args:
        score: maps points (m, P) to scores (m,); larger is better.
        good: (g, P), points near which to look closely.

    Returns:
        The point and its score.
    """
    steps = np.tile(STEPS, NEAR // len(STEPS))
    around = np.repeat(good, len(steps), axis=0)
    noise = rng.normal(size=around.shape) * np.tile(steps, len(good))[:, None]
    points = np.vstack([rng.random((ANYWHERE, dimensions)), np.clip(around + noise, 0.0, 1.0)])
    scores = score(points)
    step = 0.05
    for _ in range(ROUNDS):
        top = np.argsort(-scores, kind="stable")[:BEAM]
        noise = step * rng.normal(size=(BEAM * BRANCHES, dimensions))
        near = np.clip(np.repeat(points[top], BRANCHES, axis=0) + noise, 0.0, 1.0)
        points = np.vstack([points[top], near])
        scores = np.concatenate([scores[top], score(near)])
        step *= 0.5
    at = int(np.argmax(scores))
    return points[at], float(scores[at])
