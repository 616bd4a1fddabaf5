"""tuneoff: does Bayesian optimisation beat your hand-tuned hyperparameters, and at what cost?

What is listed in ``__all__`` is what you may rely on; everything else may change between versions.
Each name is imported when it is first used, so that ``import tuneoff`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuneoff.own_run import folder, report, resume_epoch
    from tuneoff.search.errors import SearchError, UserError
    from tuneoff.search.policies.curve_gp.sampler import CurveGPSampler
    from tuneoff.search.report.notebook.study import LoadedStudy, load_study
    from tuneoff.search.results.records import StudyResults
    from tuneoff.search.spec.file import StudySpec
    from tuneoff.trainer.contract import EpochRecord, Trainer
    from tuneoff.trainer.errors import TrainerError
    from tuneoff.trainer.recipe import DataSource, HyperParams, Recipe

    __version__: str

__all__ = [
    "CurveGPSampler",
    "DataSource",
    "EpochRecord",
    "HyperParams",
    "LoadedStudy",
    "Recipe",
    "SearchError",
    "StudyResults",
    "StudySpec",
    "Trainer",
    "TrainerError",
    "UserError",
    "__version__",
    "folder",
    "load_study",
    "report",
    "resume_epoch",
]

_HOMES = {
    "CurveGPSampler": "search.policies.curve_gp.sampler",
    "DataSource": "trainer.recipe",
    "EpochRecord": "trainer.contract",
    "HyperParams": "trainer.recipe",
    "LoadedStudy": "search.report.notebook.study",
    "Recipe": "trainer.recipe",
    "SearchError": "search.errors",
    "StudyResults": "search.results.records",
    "StudySpec": "search.spec.file",
    "Trainer": "trainer.contract",
    "TrainerError": "trainer.errors",
    "UserError": "search.errors",
    "folder": "own_run",
    "load_study": "search.report.notebook.study",
    "report": "own_run",
    "resume_epoch": "own_run",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        found: Any = version("tuneoff")
    elif name in _HOMES:
        found = getattr(import_module(f"tuneoff.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'tuneoff' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
