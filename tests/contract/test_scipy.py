"""Facts about SciPy's tests that ``tuneoff.search.results.statistics`` relies on."""

from __future__ import annotations

import pytest
from scipy.stats import wilcoxon


@pytest.mark.parametrize(("pairs", "p"), [(5, 0.0625), (6, 0.03125)])
def test_wilcoxon_needs_six_pairs_to_reach_five_percent(pairs: int, p: float) -> None:
    differences = [0.1 * (i + 1) for i in range(pairs)]  # all of one sign: the clearest there is
    result = wilcoxon(differences, alternative="two-sided", method="exact")
    assert result.pvalue == pytest.approx(p)
