"""curve-gp: a Gaussian process that learns from the runs that it stops."""

from tuneoff.search.policies.curve_gp.policy import CurveGP
from tuneoff.search.policies.curve_gp.sampler import CurveGPSampler

__all__ = ["CurveGP", "CurveGPSampler"]
