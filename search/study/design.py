"""From a study file to the study that trains a table of learning curves of its space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuneoff.search.errors import SpecError
from tuneoff.search.policies.sobol import sobol_point
from tuneoff.search.spec.arm_section import CONFIG_NOTE, without_note
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.metric_section import check_share
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.study.keys import key_of

ARM = "table"
"""The only arm of such a study: it runs every configuration once in each repeat."""
ENDING = "-table"
"""What the name of such a study ends with."""
_STREAM = 0x7461626C65  # of random numbers that nothing else draws from the study's seed
_TRIES = 50  # points drawn for each configuration that is wanted, where a space has few of them


@dataclass
class _Design:
    """Configurations without one that is there twice."""

    configs: list[dict[str, Any]]
    places: dict[str, int]

    def add(self, params: Mapping[str, Any]) -> int:
        """The index of a configuration, which is added unless it is there."""
        key = key_of(params)
        if key not in self.places:
            self.places[key] = len(self.configs)
            self.configs.append(dict(params))
        return self.places[key]


def table_spec(spec: StudySpec, configs: int, seeds: int) -> StudySpec:
    """The study file of a table: one arm of fixed configurations, as many repeats as seeds.

    The hand-tuned configurations of the study's arms come first, then points of a scrambled Sobol
    sequence in its space (Owen 1998), without one that is there already. A space with fewer
    configurations than are wanted gives all of them that were met.

    Args:
        configs: how many points of the sequence.
        seeds: trainings of each configuration.

    Raises:
        SpecError: the study is a table, its metric is no share, or its name leaves no room for the
            table's.
    """
    if spec.table is not None:
        raise SpecError(f"study {spec.name} is a table itself; give the study file it was made of")
    if len(spec.name) + len(ENDING) > 64:
        raise SpecError(
            f"name: {spec.name!r} is too long for a table's name, which adds {ENDING!r}; "
            f"use --set name=... with at most {64 - len(ENDING)} characters"
        )
    check_share(spec.metric.metric(), spec.name)
    space, design = SearchSpace.of(spec), _Design([], {})
    hand = {
        name: tuple(design.add(space.check(without_note(config))) for config in arm.configs)
        for name, arm in spec.arms.items()
        if arm.configs is not None
    }
    listed = len(design.configs)
    for number in range(configs * _TRIES):
        if len(design.configs) - listed == configs:
            break
        point = sobol_point((spec.seed, _STREAM), len(space.distributions), number)
        design.add(space.at(point))
    filling = len(design.configs) - listed
    noted = [
        config | ({CONFIG_NOTE: note} if (note := _note(i, hand)) else {})
        for i, config in enumerate(design.configs)
    ]
    values = spec.model_dump(mode="json") | {
        "name": spec.name + ENDING,
        "repeats": seeds,
        "budget": {"epochs": max(1, len(noted)) * spec.trial.epochs},
        "arms": {ARM: {"configs": noted}},
        "promote": None,
        "ensemble": None,
        "horizon": None,
        "compare": {},
        "notify": None,
        "table": {"study": spec.name, "filling": filling, "hand": hand},
    }
    return StudySpec.parse(values, f"table of study {spec.name}")


def _note(index: int, hand: Mapping[str, tuple[int, ...]]) -> str:
    """Which hand-tuned arms list a configuration, in words; "" if none does."""
    arms = [name for name, indices in hand.items() if index in indices]
    return f"hand-tuned: {', '.join(arms)}" if arms else ""
