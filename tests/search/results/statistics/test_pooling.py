"""Pooling against metafor's published numbers, the definition, and what it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tuneoff.search.results.statistics.pooling import pool

BCG = (
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619),
    (33, 5036, 47, 5761), (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892),
    (29, 7470, 45, 7232), (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338),
    (27, 16886, 29, 17825),
)  # fmt: skip
"""Thirteen trials of the BCG vaccine (Colditz et al. 1994): ill and well of the vaccinated, and of
the others."""

sizes = st.floats(-0.2, 0.2).map(lambda x: round(x, 6))
errors = st.floats(0.001, 0.2)
studies = st.lists(st.tuples(sizes, errors), min_size=2, max_size=8)


def risks() -> tuple[list[float], list[float]]:
    """Log risk ratios of the BCG trials, and their standard errors."""
    ratios = [math.log(a / (a + b) / (c / (c + d))) for a, b, c, d in BCG]
    noise = [math.sqrt(1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)) for a, b, c, d in BCG]
    return ratios, noise


class TestPublishedNumbers:
    """``rma(yi, vi, data = dat.bcg, test = "knha")`` and ``confint`` of R's metafor."""

    def test_mean_and_interval(self) -> None:
        found = pool(*risks())
        assert found.mean == pytest.approx(-0.7145, abs=5e-5)
        assert found.standard_error == pytest.approx(0.1808, abs=5e-5)
        assert found.interval() == pytest.approx((-1.1084, -0.3206), abs=5e-5)

    def test_spread_between_studies(self) -> None:
        found = pool(*risks())
        assert found.tau**2 == pytest.approx(0.3132, abs=5e-5)
        assert found.tau_low**2 == pytest.approx(0.1197, abs=5e-5)
        assert found.tau_high**2 == pytest.approx(1.1115, abs=5e-5)

    def test_prediction_is_by_its_formula(self) -> None:
        found = pool(*risks())
        half = scipy.stats.t.ppf(0.975, 11) * math.sqrt(0.31324 + 0.18079**2)
        assert found.prediction() == pytest.approx((-0.71453 - half, -0.71453 + half), abs=2e-4)


class TestDefinition:
    @pytest.mark.slow
    @given(studies)
    def test_no_tau_is_more_likely(self, given_: list[tuple[float, float]]) -> None:
        y, s = (np.array(values) for values in zip(*given_, strict=True))
        found = pool(y.tolist(), s.tolist())

        def likelihood(tau2: float) -> float:
            covariance = np.diag(s**2 + tau2)
            inverse = np.linalg.inv(covariance)
            ones = np.ones((y.size, 1))
            information = ones.T @ inverse @ ones
            left = y - float((ones.T @ inverse @ y)[0] / information[0, 0])
            return -0.5 * float(
                np.linalg.slogdet(covariance)[1]
                + np.linalg.slogdet(information)[1]
                + left @ inverse @ left
            )

        here = likelihood(found.tau**2)
        for other in np.concatenate([[0.0], np.geomspace(1e-8, 1.0, 300)]):
            assert likelihood(float(other)) <= here + 1e-5

    @given(studies)
    def test_laws(self, given_: list[tuple[float, float]]) -> None:
        y, s = ([*values] for values in zip(*given_, strict=True))
        found = pool(y, s)
        assert sum(found.weights) == pytest.approx(1)
        assert min(y) - 1e-12 <= found.mean <= max(y) + 1e-12
        assert found.tau_low <= found.tau_high
        # Never surer than if the studies were known to be alike.
        alike = math.sqrt(1 / sum(1 / e**2 for e in s))
        assert found.standard_error >= alike * (1 - 1e-9)
        low, high = found.interval()
        if (wider := found.prediction()) is not None:
            assert wider[0] <= low + 1e-12
            assert high <= wider[1] + 1e-12

    @pytest.mark.slow
    @given(studies, st.sampled_from([1e-6, 0.1, 100.0]))
    def test_the_unit_does_not_matter(self, given_: list[tuple[float, float]], unit: float) -> None:
        y, s = ([*values] for values in zip(*given_, strict=True))
        here, there = pool(y, s), pool([unit * x for x in y], [unit * e for e in s])
        assert there.mean == pytest.approx(unit * here.mean, rel=1e-3, abs=1e-5 * unit)
        assert there.standard_error == pytest.approx(unit * here.standard_error, rel=1e-2)

    def test_two_studies_predict_nothing(self) -> None:
        assert pool([0.01, 0.02], [0.01, 0.01]).prediction() is None

    def test_equal_studies_share_their_noise(self) -> None:
        found = pool([0.01] * 4, [0.02] * 4)
        assert found.mean == pytest.approx(0.01)
        assert found.standard_error == pytest.approx(0.01)
        assert found.tau == 0

    @pytest.mark.parametrize(
        ("differences", "noise"), [([0.1], [0.1]), ([0.1, 0.2], [0.1, 0.0]), ([0.1, 0.2], [0.1])]
    )
    def test_refuses(self, differences: list[float], noise: list[float]) -> None:
        with pytest.raises(ValueError, match="stud"):
            pool(differences, noise)


@pytest.mark.slow
def test_the_interval_holds_as_often_as_it_says() -> None:
    """Also where standard errors are estimated from few repeats, and studies differ in noise."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        noise, true = np.exp(random.normal(0, 0.5, 5)), random.normal(0, 0.5, 5)
        seen = random.normal(true, noise, (6, 5))
        low, high = pool(
            seen.mean(axis=0).tolist(), (seen.std(axis=0, ddof=1) / math.sqrt(6)).tolist()
        ).interval()
        held += low <= 0 <= high
    assert 0.92 <= held / 400 <= 0.99
