"""The search space: Optuna distributions, unit-cube points, and what a parameter's name means.

A name is a field of HyperParams ("lr", "momentum", "weight_decay"), a field of the Recipe, or
"layer_decay.PREFIX", one factor of the Recipe's field of that name. In a study of a user's own
code it is whatever that code calls it.

A parameter with a condition (``ParamSpec.when``) that does not hold plays no part: it has the
middle of its range in every point, and neither a recipe nor people hear of it.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tuneoff.registry import nearest
from tuneoff.search.spec.arm_section import CONFIG_NOTE, ArmSpec, without_note
from tuneoff.search.spec.arms_together import refusal
from tuneoff.search.spec.condition import Condition
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.own import MODEL_OPTIONS
from tuneoff.search.spec.sections import HYPERPARAMS, ParamSpec
from tuneoff.trainer.affects import Affects, affecting
from tuneoff.trainer.contract import AnyRecipe
from tuneoff.trainer.limits import shown
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import DOTTED, LAYER_DECAY, HyperParams, Recipe, dotted

Floats = NDArray[np.float64]

_INTEGERS = tuple(f.name for f in fields(Recipe) if f.type == "int")
CHECKED = affecting(Recipe, Affects.FIT)
# Not to be searched: arms are compared on the same images, and their budgets count epochs.
FIXED = ("data", "images", "epochs", "metric", "metric_as")


@dataclass(frozen=True)
class SearchSpace:
    """The searched parameters and the recipe that they complete.

    Attributes:
        distributions: by parameter name, in the study file's order.
        recipe: the short trial's recipe.
        fixed: the HyperParams that are not searched; without meaning for a user's own code.
        conditions: of the parameters that have one.
    """

    distributions: Mapping[str, BaseDistribution]
    recipe: AnyRecipe
    fixed: HyperParams
    conditions: Mapping[str, Condition] = field(default_factory=dict)

    @classmethod
    def of(cls, spec: StudySpec) -> SearchSpace:
        """The space of a study file.

        Raises:
            ValueError: a name is not a parameter, a value does not fit its type or the recipe, or a
                hand-tuned configuration lies outside the space.
        """
        if not spec.is_own:
            _check_our_names(spec.space)
        space = cls(
            distributions=distributions_of(spec.space, spec.is_own),
            recipe=spec.recipe(),
            fixed=HyperParams() if spec.is_own else spec.trial.hyperparams(),
            conditions=_conditions(spec.space),
        )
        if not spec.is_own:
            space._check_values()
            space._check_together(spec)
        for arm, settings in spec.arms.items():
            if settings.method == "grid" and (size := space.grid_size(settings.points)) > 10**5:
                raise ValueError(
                    f"arms.{arm}: points = {settings.points} makes a grid of {shown(size)} "
                    "configurations; lower it, or search fewer parameters"
                )
            for i, config in enumerate(settings.configs or ()):
                try:
                    space.check(without_note(config))
                except ValueError as error:
                    raise ValueError(f"arms.{arm}.{refusal(settings, i, error)}") from None
            try:
                space.check_steps(settings)
            except ValueError as error:
                raise ValueError(f"arms.{arm}.{error}") from None
        return space

    def _check_values(self) -> None:
        """ValueError for an end of a range, or a choice, that our trainer does not take."""
        for name, distribution in self.distributions.items():
            kind = type(_default(self, name))
            for value in _ends(distribution):
                if type(value) is not kind and (type(value), kind) != (int, float):
                    raise ValueError(
                        f"space.{name}: {value!r} has the wrong type; {name} is a {kind.__name__}"
                    )
                try:
                    self.apply(self.recipe, self._with_conditions({name: value}))
                except (ValueError, TypeError) as error:
                    raise ValueError(f"space.{name}: {error}") from None

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
                    every = self.in_effect(self._with_conditions(found))
                    used = {k: v for k, v in every.items() if k not in HYPERPARAMS}
                    try:
                        self.recipe.override(used).override(changes)
                    except ValueError as error:
                        which = " and ".join(f"space.{name}" for name in found)
                        raise ValueError(f"{which}, in {where}: {error}") from None

    def variants(self) -> list[AnyRecipe]:
        """The recipes that a trainer's ``check`` has to see, besides the trial's own.

        The trial's recipe with each end of each range, and each choice, of the fields that
        ``check`` depends on. Of a user's own code these are unknown: it is checked as it is.
        """
        if isinstance(self.recipe, OwnTraining):
            return []
        return [
            self.apply(self.recipe, self._with_conditions({name: value}))[0]
            for name, distribution in self.distributions.items()
            if name.partition(".")[0] in CHECKED
            for value in _ends(distribution)
        ]

    def in_effect(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Those of these parameters that play a part."""
        return {name: value for name, value in params.items() if self._plays(name, params)}

    def canonical(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """These parameters, with the middle of its range for each that plays no part, so that
        configurations that train alike are equal."""
        return {
            name: value if self._plays(name, params) else value_at(self.distributions[name], 0.5)
            for name, value in params.items()
        }

    def _plays(self, name: str, params: Mapping[str, Any]) -> bool:
        return name not in self.conditions or self.conditions[name].holds(params)

    def _with_conditions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """These parameters, and for each the value of another that makes it play a part."""
        conditions = (self.conditions[name] for name in params if name in self.conditions)
        return {one.on: one.values[0] for one in conditions} | dict(params)

    def check(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """These parameters, complete, inside the space and canonical (ValueError otherwise).

        One that plays no part may be missing.
        """
        self._check_names(params)
        idle = [name for name in self.conditions if not self._plays(name, params)]
        params = self.canonical(dict.fromkeys(idle) | dict(params)) if idle else params
        checked: dict[str, Any] = {}
        for name, distribution in self.distributions.items():
            if name not in params:
                raise ValueError(f"{name} is missing; give a value for each parameter")
            value = params[name]
            if isinstance(distribution, FloatDistribution) and type(value) is int:
                value = float(value)
            if (kind := _kind_of_range(distribution)) not in (None, type(value)):
                number = "a whole number" if kind is int else "a number"
                raise ValueError(f"{name} = {value!r} has the wrong type; {name} is {number}")
            if not inside(distribution, value):
                raise ValueError(
                    f"{name} = {value!r} lies outside the space ({describe(distribution)}); "
                    "move it inside or widen [space]: all arms share one space"
                )
            checked[name] = value
        return checked

    def _check_names(self, names: Iterable[str]) -> None:
        """ValueError for one that is not searched."""
        for name in names:
            if name not in self.distributions:
                near = nearest(name, [*self.distributions, CONFIG_NOTE])
                hint = f"did you mean {near!r}? " if near else ""
                raise ValueError(
                    f"{name} is not searched in this study; "
                    f"{hint}its parameters are: {', '.join(self.distributions)}"
                )

    def check_steps(self, settings: ArmSpec) -> None:
        """Make sure that ``start``, ``order`` and ``factors`` fit (ValueError otherwise)."""
        where = "start"
        try:
            anywhere = {name: _ends(d)[0] for name, d in self.distributions.items()}
            self.check(anywhere | dict(settings.start or {}))
            where, order = "order", settings.order or ()
            self._check_names(order)
            if len(set(order)) < len(order):
                raise ValueError("names a parameter twice; name each once")
            where, factors = "factors", settings.factors or {}
            self._check_names(factors)
            for name, factor in factors.items():
                _check_factor(name, self.distributions[name], factor)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def apply(self, recipe: AnyRecipe, params: Mapping[str, Any]) -> tuple[AnyRecipe, HyperParams]:
        """A recipe and HyperParams with the searched parameters filled in.

        A user's own code is given all of them by its recipe, but for those that play no part.
        """
        params = self.in_effect(params)
        if isinstance(recipe, OwnTraining):
            return recipe.override(params), self.fixed
        optimiser = {name: getattr(self.fixed, name) for name in HYPERPARAMS}
        optimiser.update((k, v) for k, v in params.items() if k in HYPERPARAMS)
        others = {k: v for k, v in params.items() if k not in HYPERPARAMS}
        return recipe.override(others), HyperParams(**optimiser)

    def at(self, point: Iterable[float]) -> dict[str, Any]:
        """The parameters at a point of the unit cube, 0 <= point[i] < 1, one for each name."""
        pairs = zip(self.distributions.items(), point, strict=True)
        found = {name: value_at(distribution, float(u)) for (name, distribution), u in pairs}
        return self.canonical(found) if self.conditions else found

    def grid_size(self, points: int) -> int:
        """The number of configurations in ``grid``."""
        return math.prod(
            len(d.choices) if isinstance(d, CategoricalDistribution) else points
            for d in self.distributions.values()
        )

    def grid(self, points: int) -> list[dict[str, Any]]:
        """Every combination of ``points`` evenly spaced values of each range, and all choices;
        those that train alike once."""
        axes = []
        for distribution in self.distributions.values():
            if isinstance(distribution, CategoricalDistribution):
                axes.append(list(distribution.choices))
            else:
                axes.append([value_at(distribution, (i + 0.5) / points) for i in range(points)])
        every = [
            dict(zip(self.distributions, values, strict=True))
            for values in itertools.product(*axes)
        ]
        if not self.conditions:
            return every
        return list({tuple(one.items()): one for one in map(self.canonical, every)}.values())


def distributions_of(
    space: Mapping[str, ParamSpec], is_own: bool = False
) -> dict[str, BaseDistribution]:
    """Optuna's distributions of a study file's [space] (ValueError for a range that is none).

    Args:
        is_own: whether they are parameters of a user's own code.
    """
    return {
        name: _distribution(name, spec, _whole(name, spec, is_own)) for name, spec in space.items()
    }


def _conditions(space: Mapping[str, ParamSpec]) -> dict[str, Condition]:
    """The conditions of a study file's [space] (ValueError for one that cannot be)."""
    found = {name: Condition.parse(spec.when) for name, spec in space.items() if spec.when}
    choices = {name: spec.choices for name, spec in space.items() if name not in found}
    for name, condition in found.items():
        try:
            condition.check(choices)
        except ValueError as error:
            raise ValueError(f"space.{name}.{error}") from None
    return found


def _check_our_names(space: Iterable[str]) -> None:
    """ValueError for a name that is no parameter of our trainer."""
    tables = {field: f"{dot}{_EXAMPLES.get(dot, 'NAME')}" for dot, field in DOTTED.items()}
    own = (f.name for f in fields(Recipe) if f.name not in FIXED)
    known = [*HYPERPARAMS, *(tables.get(name, name) for name in own)]
    for name in space:
        if name in tables:
            raise ValueError(
                f"space.{name}: search each of its values by itself, its name in quotes, as in "
                f'"{tables[name]}" = {{ low = 0.1, high = 100, log = true }}'
            )
        if name not in known and not name.startswith(tuple(DOTTED)):
            why = "is fixed within a study" if name in FIXED else "is not a parameter"
            raise ValueError(f"space.{name}: {why}; choose from: {', '.join(known)}")


# What stands after the dot where a name is to be shown.
_EXAMPLES: Mapping[str, str] = {LAYER_DECAY: "fc"}


def _check_factor(name: str, distribution: BaseDistribution, factor: float) -> None:
    if isinstance(distribution, CategoricalDistribution):
        raise ValueError(f"{name} has choices, of which each is tried; take it out")
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    if distribution.log and factor <= 1:
        raise ValueError(
            f"{name} = {factor:g} is refused: on a logarithmic range a step multiplies, by more "
            "than 1, as in 3"
        )
    if not distribution.log and factor >= 1:
        raise ValueError(
            f"{name} = {factor:g} is refused: on a linear range a step is a share of it, below 1, "
            "as in 0.1"
        )


def _whole(name: str, spec: ParamSpec, is_own: bool) -> bool:
    """Whether a range has whole numbers only: of what is not ours, where both ends are such."""
    return spec.integer if is_own or name.startswith(MODEL_OPTIONS) else name in _INTEGERS


def _default(space: SearchSpace, name: str) -> Any:
    """A value of the parameter's type."""
    if name.startswith(tuple(DOTTED)):
        table, key = dotted(name)
        first = _ends(space.distributions[name])[0]
        return 1.0 if name.startswith(LAYER_DECAY) else getattr(space.recipe, table).get(key, first)
    return getattr(space.fixed if name in HYPERPARAMS else space.recipe, name)


def describe(distribution: BaseDistribution) -> str:
    """A distribution in words, as in "0.0001 to 1, log"."""
    if isinstance(distribution, CategoricalDistribution):
        return "one of " + ", ".join(map(repr, distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    log = ", log" if distribution.log else ""
    return f"{distribution.low:g} to {distribution.high:g}{log}"


def _distribution(name: str, spec: ParamSpec, integer: bool) -> BaseDistribution:
    if spec.choices is not None:
        return CategoricalDistribution(spec.choices)
    assert spec.low is not None
    assert spec.high is not None
    if integer:
        for end in (spec.low, spec.high, spec.step or 1):
            if end != int(end):
                raise ValueError(f"space.{name}: {end:g} is not a whole number; {name} is one")
    made: IntDistribution | FloatDistribution
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about the end of the range: see below
        if integer:
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


def _kind_of_range(distribution: BaseDistribution) -> type | None:
    """The type of a range's values; None for a list of choices."""
    if isinstance(distribution, CategoricalDistribution):
        return None
    return int if isinstance(distribution, IntDistribution) else float


def inside(distribution: BaseDistribution, value: Any) -> bool:
    """Whether a value is one of a distribution's, of the right type."""
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
