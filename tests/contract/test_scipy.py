"""Facts about SciPy and NumPy that ``tuneoff.search.results.statistics`` relies on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betainc, stdtr, stdtrit
from scipy.stats import wilcoxon


@pytest.mark.parametrize(("pairs", "p"), [(5, 0.0625), (6, 0.03125)])
def test_wilcoxon_needs_six_pairs_to_reach_five_percent(pairs: int, p: float) -> None:
    differences = [0.1 * (i + 1) for i in range(pairs)]  # all of one sign: the clearest there is
    result = wilcoxon(differences, alternative="two-sided", method="exact")
    assert result.pvalue == pytest.approx(p)


@pytest.mark.parametrize("degrees", [1.0, 1.37, 2.0, 4.6, 19.0, 250.5, 1e6])
@pytest.mark.parametrize("tail", [0.3, 0.025, 1e-4, 1e-7])
def test_stdtr_and_stdtrit_take_fractional_degrees_of_freedom(degrees: float, tail: float) -> None:
    """Those of Satterthwaite; against the regularised incomplete beta function."""
    quantile = stdtrit(degrees, 1 - tail)
    expected = betainc(degrees / 2, 0.5, degrees / (degrees + quantile**2)) / 2
    assert stdtr(degrees, -quantile) == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(tail, rel=1e-6)


def test_a_quantile_by_inverted_cdf_is_one_of_the_values_even_beside_infinity() -> None:
    """The default interpolates, and between a number and infinity there is no number."""
    values = np.array([0.2, 0.4, np.inf, np.inf])
    low, high = np.quantile(values, [0.5, 0.75], method="inverted_cdf")
    assert (low, high) == (0.4, np.inf)
