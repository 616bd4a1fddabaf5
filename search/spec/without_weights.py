"""[without_weights]: what a study file says instead where its pretrained weights cannot be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuneoff.search.errors import SpecError
from tuneoff.search.spec.file import StudySpec

SECTION = "without_weights"


def without_weights(spec: StudySpec) -> StudySpec:
    """A study as its [without_weights] has it: the tables of that section are laid over the file's,
    and whatever else it holds takes the place of what the file has there.

    Raises:
        SpecError: with one line; what comes of it is no study, or needs weights still.
    """
    values = spec.model_dump(mode="json")
    changes = values.pop(SECTION)
    where = f"study {spec.name}, [{SECTION}]"
    found = StudySpec.parse(_laid_over(values, changes), where)
    first = found.our_recipe()
    if any(
        r.weights != "none" for r in (first, *map(first.override, found.later_changes().values()))
    ):
        raise SpecError(f'{where}: weights are still needed; set weights = "none" in its tables')
    return found


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        under = below.get(key)
        if isinstance(value, Mapping) and isinstance(under, Mapping):
            value = _laid_over(under, value)
        found[key] = value
    return found
