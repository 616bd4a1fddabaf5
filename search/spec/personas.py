"""Hand tuning on paper: dated lists of settings, for ``persona = "NAME"`` in [arms.NAME].

Each was written down before any search on pretrained networks, in the order in which its author
would try it, who had seen the errors of a few single runs of SqueezeNet with rates from 1e-4 to
1e-2. A list never changes, as studies refer to it: a better one gets a new name. Each is one
person's: people differ, and results of one are a sample of one (Anand, Wang, Loog and van Gemert
2020, "Black Magic in Deep Learning: How Human Skill Impacts Network Training", arXiv 2008.05981,
had 31 people tune one task).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from tuneoff.registry import check_name
from tuneoff.search.spec.arm_section import CONFIG_NOTE
from tuneoff.search.spec.section import Choice
from tuneoff.trainer.recipe import LAYER_DECAY, HyperParams, Recipe

Config = Mapping[str, Choice]


@dataclass(frozen=True)
class Persona:
    """One list.

    Attributes:
        about: one line for tables.
        title: what an arm with it is called in a sentence.
        written: the date, ISO 8601.
        configs: the settings, in order. A value that is not searched is left out, one that is
            missing is as in [trial].
    """

    about: str
    title: str
    written: str
    configs: tuple[Config, ...]


def _at(lr: float, momentum: float, decay: float, note: str, **more: float) -> Config:
    settings = {"lr": lr, "momentum": momentum, "weight_decay": decay, **more}
    return settings | {CONFIG_NOTE: note}


PERSONAS: Mapping[str, Persona] = {
    "paper": Persona(
        "the paper's settings, and the next steps by hand from there",
        "hand tuning from the paper's settings",
        "2026-11-27",
        (
            _at(1e-2, 0.9, 1e-4, "the paper's, section 3.3"),
            _at(2e-2, 0.9, 1e-4, "twice its rate, as far as momentum is said to allow"),
            _at(3e-3, 0.9, 1e-4, "a third of its rate"),
            _at(1e-3, 0.9, 1e-4, "a tenth of its rate, as after a plateau"),
            _at(1e-2, 0.9, 1e-3, "ten times its weight decay"),
            _at(1e-2, 0.9, 1e-5, "a tenth of its weight decay"),
            _at(3e-2, 0.9, 1e-4, "three times its rate"),
            _at(1e-2, 0.8, 1e-4, "less momentum"),
        ),
    ),
    "careful": Persona(
        "a careful practitioner of fine-tuning with SGD: the rate first, then the rest around it",
        "careful hand tuning",
        "2026-11-27",
        (
            _at(1e-3, 0.9, 1e-4, "small, as the weights are good already", head_lr_factor=1.0),
            _at(3e-4, 0.9, 1e-4, "a third of that", head_lr_factor=1.0),
            _at(3e-3, 0.9, 1e-4, "three times that", head_lr_factor=1.0),
            _at(1e-2, 0.9, 1e-4, "ten times that", head_lr_factor=1.0),
            _at(1e-3, 0.9, 1e-4, "the new head learns faster", head_lr_factor=10.0),
            _at(3e-3, 0.9, 1e-3, "more weight decay", head_lr_factor=1.0),
            _at(1e-3, 0.9, 5e-4, "somewhat more weight decay", head_lr_factor=10.0),
            _at(3e-3, 0.8, 1e-4, "less momentum, as the task is near", head_lr_factor=1.0),
            _at(3e-4, 0.9, 1e-4, "slow backbone, fast head", head_lr_factor=10.0),
            _at(1e-3, 0.95, 1e-4, "more momentum", head_lr_factor=1.0),
            _at(3e-3, 0.9, 5e-4, "between the decays", head_lr_factor=10.0),
            _at(1e-2, 0.8, 1e-3, "fast, with less momentum and more decay", head_lr_factor=1.0),
        ),
    ),
    "grid": Persona(
        "a grid by hand: three rates times three weight decays, the usual ones first",
        "a grid by hand",
        "2026-11-27",
        tuple(
            _at(lr, 0.9, decay, f"rate {lr:g}, weight decay {decay:g}")
            for decay in (1e-4, 1e-3, 1e-5)
            for lr in (1e-2, 1e-3, 1e-1)
        ),
    ),
}
PERSONA = "persona"  # the key in [arms.NAME]


def expand_personas(values: Mapping[str, Any]) -> dict[str, Any]:
    """A study file's values with the list of every persona that is named, as ``configs``.

    Stored values have the list already; it stays as it is.

    Raises:
        ValueError: there is no such persona; the message says where it is named.
    """
    arms, space, trial = (values.get(key) for key in ("arms", "space", "trial"))
    if not (isinstance(arms, Mapping) and isinstance(space, Mapping)):
        return dict(values)  # for pydantic to complain of
    found = dict(arms)
    for arm, settings in arms.items():
        name = settings.get(PERSONA) if isinstance(settings, Mapping) else None
        if name is not None and settings.get("configs") is None:
            try:
                persona = PERSONAS[check_name(PERSONA, str(name), PERSONAS)]
            except ValueError as error:
                raise ValueError(f"arms.{arm}.{PERSONA}: {error}") from None
            given = trial if isinstance(trial, Mapping) else {}
            found[arm] = {**settings, "configs": settings_of(persona, space, given)}
    return {**values, "arms": found}


def with_both(values: Mapping[str, Any]) -> str | None:
    """An arm of a study file that names a persona and has a list of its own; None if none does."""
    arms = values.get("arms")
    for arm, settings in arms.items() if isinstance(arms, Mapping) else ():
        if isinstance(settings, Mapping) and None not in map(settings.get, (PERSONA, "configs")):
            return str(arm)
    return None


def settings_of(
    persona: Persona, searched: Iterable[str], trial: Mapping[str, Any]
) -> list[dict[str, Choice]]:
    """The persona's list for these parameters; what becomes equal is in it once.

    Args:
        searched: names of the parameters.
        trial: values of [trial], as far as they are given.
    """
    names = list(searched)
    otherwise = _defaults(names, trial)
    found: list[dict[str, Choice]] = []
    seen = []
    for config in persona.configs:
        mine = {name: config.get(name, otherwise.get(name)) for name in names}
        params = {name: value for name, value in mine.items() if value is not None}
        if params not in seen:
            seen.append(params)
            found.append({**params, CONFIG_NOTE: config[CONFIG_NOTE]})
    return found


def _defaults(names: Iterable[str], trial: Mapping[str, Any]) -> dict[str, Any]:
    """What [trial] says of each parameter, or leaves at its default."""
    recipe, optimiser = Recipe(), HyperParams()
    known = {field.name: getattr(each, field.name) for each in (recipe, optimiser)
             for field in fields(each)}  # fmt: skip
    factors = trial.get(LAYER_DECAY.rstrip("."))
    factors = factors if isinstance(factors, Mapping) else {}
    return {
        name: factors.get(name.removeprefix(LAYER_DECAY), 1.0)
        if name.startswith(LAYER_DECAY)
        else trial.get(name, known.get(name))
        for name in names
    }
