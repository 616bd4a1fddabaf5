"""tuneoff: does Bayesian optimisation beat your hand-tuned hyperparameters, and at what cost?

What is listed in ``__all__`` is what you may rely on; everything else may change between versions.
Each name is imported when it is first used, so that ``import tuneoff`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuneoff.search.errors import SearchError, UserError
    from tuneoff.search.policies.curve_gp.sampler import CurveGPSampler
    from tuneoff.search.results.read import load_study
    from tuneoff.search.results.records import StudyResults
    from tuneoff.search.spec.file import StudySpec
    from tuneoff.trainer.contract import EpochRecord, Trainer
    from tuneoff.trainer.errors import TrainerError
    from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe

__all__ = [
    "CurveGPSampler",
    "DataSource",
    "EpochRecord",
    "HyperParams",
    "Recipe",
    "SearchError",
    "StudyResults",
    "StudySpec",
    "Trainer",
    "TrainerError",
    "UserError",
    "__version__",
    "load_study",
]

__version__ = version("tuneoff")

_HOMES = {
    "CurveGPSampler": "search.policies.curve_gp.sampler",
    "DataSource": "trainer.recipe",
    "EpochRecord": "trainer.contract",
    "HyperParams": "trainer.recipe",
    "Recipe": "trainer.recipe",
    "SearchError": "search.errors",
    "StudyResults": "search.results.records",
    "StudySpec": "search.spec.file",
    "Trainer": "trainer.contract",
    "TrainerError": "trainer.errors",
    "UserError": "search.errors",
    "load_study": "search.results.read",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tuneoff' has no attribute {name!r}")
    found = getattr(import_module(f"tuneoff.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
