"""Whether the arms of a study file go with each other, its budget and its space."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from tuneoff.search.spec.arm_section import ArmSpec
from tuneoff.search.spec.registry import SAMPLERS
from tuneoff.search.spec.top_k import TopKPlan


def check_arms(
    arms: Mapping[str, ArmSpec], horizon: int, budget: int | None, reserved: Collection[str]
) -> None:
    """Make sure of names, of the arms that others refer to, and of what the budget pays for.

    Args:
        horizon: epochs of a full run.
        budget: epochs for each arm and repeat; None where it is in seconds.
        reserved: names that an arm cannot have.

    Raises:
        ValueError: an arm does not go with the rest; the message begins with its name.
    """
    for arm, settings in arms.items():
        for key in ("start_from", "prior_from"):
            other = getattr(settings, key)
            if other and (other not in arms or arms[other].configs is None):
                raise ValueError(
                    f"arms.{arm}: {key} = {other!r} is not an arm with configs = [...]; "
                    "name a hand-tuned arm"
                )
        if arm in reserved or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", arm):
            raise ValueError(
                f"arms.{arm}: this name cannot be used; use at most 64 of a-z, A-Z, 0-9, -, _, "
                f"and neither {' nor '.join(reserved)}"
            )
        if settings.method is not None and SAMPLERS.entry(settings.method).takes_shares:
            if budget is None:
                raise ValueError(
                    f"arms.{arm}: sampler {settings.method!r} shares out a budget in epochs; give "
                    "budget.epochs, or another sampler"
                )
            try:
                TopKPlan.of(settings, horizon, budget)
            except ValueError as error:
                raise ValueError(f"arms.{arm}: {error}") from None


def refusal(settings: ArmSpec, place: int, error: ValueError) -> str:
    """The message for a hand-tuned configuration that does not fit the space.

    Args:
        place: in ``configs``, from 0.
    """
    if settings.persona is None:
        return f"configs.{place}: {error}"
    what, _, _ = str(error).partition(";")
    return (
        f'persona: the list "{settings.persona}" does not fit: {what}; widen [space], or write '
        "configs = [...] of your own"
    )
