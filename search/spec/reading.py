"""A study file, read with its search space, and checked against the data and models it names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.space import SearchSpace
from tuneoff.trainer.contract import Task
from tuneoff.trainer.recipe import LAYER_DECAY, Recipe


@dataclass(frozen=True)
class StudyFile:
    """What a study file says, and the search space that this makes."""

    spec: StudySpec
    space: SearchSpace

    @classmethod
    def of(cls, spec: StudySpec) -> StudyFile:
        """Add the search space (ValueError as ``SearchSpace.of``)."""
        return cls(spec, SearchSpace.of(spec))


def read_study_file(path: Path, changes: Sequence[str] = ()) -> StudyFile:
    """Read a study file and check it together with its search space.

    Args:
        path, changes: as ``StudySpec.load``.

    Raises:
        SpecError: with one line that names the field and how to fix it.
    """
    spec = StudySpec.load(path, changes)
    try:
        return StudyFile.of(spec)
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None


def preflight(file: StudyFile, check: Callable[[Recipe], Task]) -> Task:
    """Make sure that every recipe of a study can be trained, before anything is written.

    Args:
        check: as ``Trainer.check``, whose errors pass through.
    """
    spec, space = file.spec, file.space
    recipes = [spec.recipe(), *space.variants()]
    # Layers whose factors are searched must be there in later models too.
    layers = {name: 1.0 for name in space.distributions if name.startswith(LAYER_DECAY)}
    searched = spec.recipe().override(layers)
    recipes += [searched.override(changes) for changes in spec.later_changes().values()]
    tasks = [check(recipe) for recipe in dict.fromkeys(recipes)]
    return tasks[0]
