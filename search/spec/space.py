"""The search space: Optuna distributions, unit-cube points, and what a parameter's name means.

A name is a field of HyperParams ("lr", "momentum", "weight_decay"), a field of the Recipe, or
"layer_decay.PREFIX", one factor of the Recipe's field of that name.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.sections import HYPERPARAMS, ParamSpec, without_note
from tuneoff.trainer.recipe import LAYER_DECAY, Affects, HyperParams, Recipe, affecting

Floats = NDArray[np.float64]

_INTEGERS = tuple(f.name for f in fields(Recipe) if f.type == "int")
CHECKED = affecting(Recipe, Affects.FIT)
# Not to be searched: arms are compared on the same images, and their budgets count epochs.
FIXED = ("data", "epochs")


@dataclass(frozen=True)
class SearchSpace:
    """The searched parameters and the recipe that they complete.

    Attributes:
        distributions: by parameter name, in the study file's order.
        recipe: the short trial's recipe.
        fixed: the HyperParams that are not searched.
    """

    distributions: Mapping[str, BaseDistribution]
    recipe: Recipe
    fixed: HyperParams

    @classmethod
    def of(cls, spec: StudySpec) -> SearchSpace:
        """The space of a study file.

        Raises:
            ValueError: a name is not a parameter, a value does not fit its type or the recipe, or a
                hand-tuned configuration lies outside the space.
        """
        known = [*HYPERPARAMS, *(f.name for f in fields(Recipe) if f.name not in FIXED)]
        for name in spec.space:
            if name == LAYER_DECAY.rstrip("."):
                raise ValueError(
                    f"space.{name}: search each factor by itself, its name in quotes, as in "
                    f'"{LAYER_DECAY}fc" = {{ low = 0.1, high = 100, log = true }}'
                )
            if name not in known and not name.startswith(LAYER_DECAY):
                why = "is fixed within a study" if name in FIXED else "is not a parameter"
                raise ValueError(f"space.{name}: {why}; choose from: {', '.join(known)}")
        space = cls(
            distributions={name: _distribution(name, p) for name, p in spec.space.items()},
            recipe=spec.recipe(),
            fixed=spec.trial.hyperparams(),
        )
        for name, distribution in space.distributions.items():
            kind = type(_default(space, name))
            for value in _ends(distribution):
                if type(value) is not kind and (type(value), kind) != (int, float):
                    raise ValueError(
                        f"space.{name}: {value!r} has the wrong type; {name} is a {kind.__name__}"
                    )
                try:
                    space.apply(space.recipe, {name: value})
                except (ValueError, TypeError) as error:
                    raise ValueError(f"space.{name}: {error}") from None
        space._check_together(spec)
        for arm, settings in spec.arms.items():
            for i, config in enumerate(settings.configs or ()):
                try:
                    space.check(without_note(config))
                except ValueError as error:
                    raise ValueError(f"arms.{arm}.configs.{i}: {error}") from None
        return space

    def _check_together(self, spec: StudySpec) -> None:
        """Make sure that every two ends of ranges, and choices, make a recipe together.

        In the trial, and in full training and in each of the ensemble's members with what they
        change of it.

        Raises:
            ValueError: two do not; the message names them and the place.
        """
        later: dict[str, dict[str, Any]] = {"the trial": {}} | spec.later_changes()
        names = [name for name in self.distributions if name not in HYPERPARAMS]
        for pair in itertools.combinations_with_replacement(names, 2):
            ends = [_ends(self.distributions[name]) for name in pair]
            for where, changes in later.items():
                for values in itertools.product(*ends):
                    found = dict(zip(pair, values, strict=True))
                    try:
                        self.recipe.override(found).override(changes)
                    except ValueError as error:
                        which = " and ".join(f"space.{name}" for name in found)
                        raise ValueError(f"{which}, in {where}: {error}") from None

    def variants(self) -> list[Recipe]:
        """The recipes that a trainer's ``check`` has to see, besides the trial's own.

        The trial's recipe with each end of each range, and each choice, of the fields that
        ``check`` depends on.
        """
        return [
            self.recipe.override({name: value})
            for name, distribution in self.distributions.items()
            if name.partition(".")[0] in CHECKED
            for value in _ends(distribution)
        ]

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """These parameters, complete and inside the space (ValueError otherwise)."""
        for name in params:
            if name not in self.distributions:
                raise ValueError(
                    f"{name} is not searched in this study; "
                    f"its parameters are: {', '.join(self.distributions)}"
                )
        checked: dict[str, Any] = {}
        for name, distribution in self.distributions.items():
            if name not in params:
                raise ValueError(f"{name} is missing; give a value for each parameter")
            value = params[name]
            if isinstance(distribution, FloatDistribution) and type(value) is int:
                value = float(value)
            if not _inside(distribution, value):
                raise ValueError(
                    f"{name} = {value!r} lies outside the space ({describe(distribution)}); "
                    "move it inside or widen [space]: all arms share one space"
                )
            checked[name] = value
        return checked

    def apply(self, recipe: Recipe, params: Mapping[str, Any]) -> tuple[Recipe, HyperParams]:
        """A recipe and HyperParams with the searched parameters filled in."""
        optimiser = {name: getattr(self.fixed, name) for name in HYPERPARAMS}
        optimiser.update((k, v) for k, v in params.items() if k in HYPERPARAMS)
        others = {k: v for k, v in params.items() if k not in HYPERPARAMS}
        return recipe.override(others), HyperParams(**optimiser)

    def at(self, point: Iterable[float]) -> dict[str, Any]:
        """The parameters at a point of the unit cube, 0 <= point[i] < 1, one for each name."""
        pairs = zip(self.distributions.items(), point, strict=True)
        return {name: value_at(distribution, float(u)) for (name, distribution), u in pairs}

    def grid(self, points: int) -> list[dict[str, Any]]:
        """Every combination of ``points`` evenly spaced values of each range, and all choices."""
        axes = []
        for distribution in self.distributions.values():
            if isinstance(distribution, CategoricalDistribution):
                axes.append(list(distribution.choices))
            else:
                axes.append([value_at(distribution, (i + 0.5) / points) for i in range(points)])
        return [
            dict(zip(self.distributions, values, strict=True))
            for values in itertools.product(*axes)
        ]


def _default(space: SearchSpace, name: str) -> Any:
    """A value of the parameter's type."""
    if name.startswith(LAYER_DECAY):
        return 1.0
    return getattr(space.fixed if name in HYPERPARAMS else space.recipe, name)


def describe(distribution: BaseDistribution) -> str:
    """A distribution in words, as in "0.0001 to 1, log"."""
    if isinstance(distribution, CategoricalDistribution):
        return "one of " + ", ".join(map(repr, distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    log = ", log" if distribution.log else ""
    return f"{distribution.low:g} to {distribution.high:g}{log}"


def _distribution(name: str, spec: ParamSpec) -> BaseDistribution:
    if spec.choices is not None:
        return CategoricalDistribution(spec.choices)
    assert spec.low is not None
    assert spec.high is not None
    if name in _INTEGERS:
        for end in (spec.low, spec.high, spec.step or 1):
            if end != int(end):
                raise ValueError(f"space.{name}: {end:g} is not a whole number; {name} is one")
    made: IntDistribution | FloatDistribution
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the end of the range: see below
        if name in _INTEGERS:
            step = int(spec.step or 1)
            made = IntDistribution(int(spec.low), int(spec.high), log=spec.log, step=step)
        else:
            made = FloatDistribution(spec.low, spec.high, log=spec.log, step=spec.step)
    if made.high != spec.high:
        raise ValueError(
            f"space.{name}: steps of {spec.step:g} from {spec.low:g} do not end at "
            f"high = {spec.high:g}; write high = {made.high:g}"
        )
    return made


def _ends(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return (distribution.low, distribution.high)


def _inside(distribution: BaseDistribution, value: Any) -> bool:
    if isinstance(distribution, CategoricalDistribution):
        return any(value == c and type(value) is type(c) for c in distribution.choices)
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    wanted = int if isinstance(distribution, IntDistribution) else float
    if type(value) is not wanted or not distribution.low <= value <= distribution.high:
        return False
    steps = (value - distribution.low) / (distribution.step or 1)
    return distribution.step is None or abs(steps - round(steps)) < 1e-8


def value_at(distribution: BaseDistribution, u: float) -> Any:
    """The value at 0 <= u <= 1 of a distribution's range, on its scale, or its list of choices."""
    if isinstance(distribution, CategoricalDistribution):
        n = len(distribution.choices)
        return distribution.choices[min(int(u * n), n - 1)]
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    value = float(values_at(distribution, np.array([u]))[0])
    return round(value) if isinstance(distribution, IntDistribution) else value


def values_at(distribution: FloatDistribution | IntDistribution, u: Floats) -> Floats:
    """As ``value_at``, of many at once; those of a range of integers are whole numbers."""
    low, high = _ends_of_scale(distribution)
    values = low + u * (high - low)
    if distribution.log:
        values = np.exp(values)
    if distribution.step is not None:
        steps = np.round((values - distribution.low) / distribution.step)
        values = distribution.low + steps * distribution.step
    return np.clip(values, distribution.low, distribution.high)


def units_of(distribution: FloatDistribution | IntDistribution, values: Floats) -> Floats:
    """Where values lie in a range, 0 to 1 on its scale: the inverse of ``values_at``."""
    low, high = _ends_of_scale(distribution)
    if distribution.log:
        values = np.log(values)
    return (values - low) / (high - low) if high > low else np.full(len(values), 0.5)


def _ends_of_scale(distribution: FloatDistribution | IntDistribution) -> tuple[float, float]:
    # Integers own half a step on either side, so that every one of them is equally likely.
    half = 0.5 * (distribution.step or 0)
    low, high = distribution.low - half, distribution.high + half
    return (math.log(low), math.log(high)) if distribution.log else (low, high)
