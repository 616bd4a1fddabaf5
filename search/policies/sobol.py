"""Points of a scrambled Sobol sequence, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

# SciPy loads its table of direction numbers into a global, which two threads must not do at once.
_making = threading.Lock()


def sobol_point(seed: Sequence[int], dimensions: int, number: int) -> NDArray[np.float64]:
    """(dimensions,), the ``number``-th point, from 0, of a seed's sequence in the unit cube.

    Scrambled as in Owen 1998 (Scrambling Sobol' and Niederreiter-Xing Points).
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    with _making:
        sobol = qmc.Sobol(dimensions, scramble=True, rng=rng)
    if number:  # SciPy refuses to skip no points
        sobol.fast_forward(number)
    point: NDArray[np.float64] = sobol.random(1)[0]
    return point
