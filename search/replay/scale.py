"""The scale in which errors are modelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuneoff.search.policies.curve_gp.observations import Observations, OutputWarping
from tuneoff.search.spec.space import Floats


@dataclass(frozen=True)
class Scale:
    """A monotone scale of errors, in which noise is about as large everywhere.

    An error e becomes the angle arcsin(sqrt(e)), which has nearly the same variance for a count of
    wrong images whatever its mean (Anscombe 1948), so that an error of 1% does not scatter to 0
    because one of 3% scatters by 1. The angle is warped as ``curve-gp`` warps errors, for the large
    errors of what hardly trained. Of values that are no shares, which may have any unit and sign,
    nothing of that kind is known: they are only warped, which depends on no unit.

    Attributes:
        share: the errors are shares, 0 to 1.
    """

    warping: OutputWarping
    share: bool = True

    @classmethod
    def of(cls, observed: Observations, share: bool = True) -> Scale:
        """The scale of these observations, whose errors are angles if they are shares."""
        return cls(OutputWarping.of(observed), share)

    def at(self, errors: Floats) -> Floats:
        """Values of errors, any shape."""
        return self.warping.warp(angle(errors) if self.share else errors)

    def errors(self, values: Floats) -> Floats:
        """The errors of values: the inverse of ``at``."""
        if not self.share:
            return self.warping.unwarp(values)
        found: Floats = np.sin(np.clip(self.warping.unwarp(values), 0.0, np.pi / 2)) ** 2
        return found


def angle(errors: Floats) -> Floats:
    """arcsin(sqrt(e)) of errors, 0 to 1."""
    found: Floats = np.arcsin(np.sqrt(np.clip(errors, 0.0, 1.0)))
    return found
