"""What all statistics have in common: the level, the seed of simulations, the type of arrays."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

CONFIDENCE: Final = 0.95
ALPHA: Final = 0.05  # a p-value below it is called significant
SEED: Final = 0  # of every simulation, so that the same results always give the same report

Floats = npt.NDArray[np.float64]
