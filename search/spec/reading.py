"""A study file, read with its search space, and checked against the data and models it names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.metric_section import check_measured
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.spec.without_effect import without_effect
from tuneoff.search.spec.without_weights import SECTION, without_weights
from tuneoff.trainer.contract import Task
from tuneoff.trainer.errors import MissingWeightsError
from tuneoff.trainer.recipe import LAYER_DECAY

Check = Callable[[Any], Task]
"""As ``Trainer.check``."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyFile:
    """What a study file says, and the search space that this makes.

    Attributes:
        spec: the file.
        space: its search space.
        notes: what people should know of how the file is used, a line each.
    """

    spec: StudySpec
    space: SearchSpace
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, spec: StudySpec) -> StudyFile:
        """Add the search space (ValueError as ``SearchSpace.of``)."""
        return cls(spec, SearchSpace.of(spec))


def read_study_file(path: Path, changes: Sequence[str] = ()) -> StudyFile:
    """Read a study file and check it together with its search space.

    Options that have no effect get a line of warning each.

    Args:
        path, changes: as ``StudySpec.load``.

    Raises:
        SpecError: with one line that names the field and how to fix it.
    """
    spec = StudySpec.load(path, changes)
    try:
        check_measured(spec.metric.metric(), spec.trial)
        file = StudyFile.of(spec)
        if spec.without_weights:
            StudyFile.of(without_weights(spec))
    except ValueError as error:
        raise SpecError(f"{path}: {error}") from None
    for line in without_effect(spec):
        log.warning("%s: %s", path, line)
    return file


def settle_weights(file: StudyFile, check: Check) -> StudyFile:
    """The file, or what its [without_weights] makes of it where pretrained weights are not here and
    cannot be fetched; a note then says so. Without that section, the file as it is.

    Args:
        file: the study file.
        check: as ``Trainer.check``, whose other errors pass through.
    """
    spec = file.spec
    if not spec.without_weights:
        return file
    try:
        first = spec.our_recipe()
        for recipe in (first, *map(first.override, spec.later_changes().values())):
            if recipe.weights != "none":
                check(recipe)
    except MissingWeightsError as error:
        note = f"from scratch, as [{SECTION}] has it, for lack of pretrained weights: {error}"
        found = StudyFile.of(without_weights(spec))
        return replace(found, notes=(*file.notes, note))
    return file


def preflight(file: StudyFile, check: Check) -> Task:
    """Make sure that every recipe of a study can be trained, before anything is written.

    Returns:
        The task, with the notes about all of the recipes.

    Args:
        check: as ``Trainer.check``, whose errors pass through.

    Raises:
        SpecError: there is an [ensemble], and the user's own code makes no predictions.
    """
    spec, space = file.spec, file.space
    recipes = [spec.recipe(), *space.variants()]
    # Layers whose factors are searched must be there in later models too.
    layers = {name: 1.0 for name in space.distributions if name.startswith(LAYER_DECAY)}
    searched = recipes[0] if spec.is_own else recipes[0].override(layers)
    recipes += [searched.override(changes) for changes in spec.later_changes().values()]
    tasks = [check(recipe) for recipe in dict.fromkeys(recipes)]
    if spec.ensemble is not None and not tasks[0].predicts:
        if spec.trial.command is not None:
            raise SpecError("[ensemble]: needs predictions, and a command makes none; take it out")
        raise SpecError(
            "[ensemble]: needs predictions, and the code that trains offers none; give its "
            "function an attribute predict(params, context, split), or take [ensemble] out"
        )
    notes = dict.fromkeys([*file.notes, *(note for task in tasks for note in task.notes)])
    return replace(tasks[0], notes=tuple(notes))
