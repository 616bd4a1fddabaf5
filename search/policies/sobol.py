"""Points of a scrambled Sobol sequence, one at a time."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

_making = threading.Lock()  # SciPy reads its table of direction numbers into a global


def sobol_point(seed: Sequence[int], dimensions: int, number: int) -> NDArray[np.float64]:
    """(dimensions,), a point of the unit cube: the ``number``-th, from 0, of the seed's sequence.

    Scrambled as in Owen 1998 (Scrambling Sobol' and Niederreiter-Xing Points).
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    with _making:
        sobol = qmc.Sobol(dimensions, scramble=True, rng=rng)
    if number:  # SciPy refuses to go forward by none
        sobol.fast_forward(number)
    point: NDArray[np.float64] = sobol.random(1)[0]
    return point
