"""A sampler that the study file refers to: a class made for Optuna, Optuna's own or a user's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.samplers import BaseSampler

from tuneoff import references
from tuneoff.search.policies.arm import Arm
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.made import make
from tuneoff.search.policies.replayed import Replayed
from tuneoff.search.policies.sampled import Sampled
from tuneoff.search.spec.keywords import is_made

_START = 10  # random trials of Optuna's samplers with a model, unless they are told another number
_FORGETFUL = {
    "optuna.samplers:GPSampler": _START,
    "optuna.samplers:RandomSampler": 0,
    "optuna.samplers:TPESampler": _START,
}
"""Samplers that know of earlier trials what the study holds, so that a new one will do for each
trial, and their start-up trials. To replay a study would fit a model for each of its trials."""


def build(arm: Arm) -> Policy:
    """The policy of an arm whose sampler is a reference. Nothing is loaded before it is asked."""
    reference, options = arm.settings.method or "", arm.settings.options

    def sampler(seed: int) -> BaseSampler:
        return make_sampler(reference, options, seed)

    if reference in _FORGETFUL and not any(map(_is_code, options.values())):
        startup = int(options.get("n_startup_trials", _FORGETFUL[reference]))
        return Sampled(
            lambda seed, startup: sampler(seed), arm.space, arm.seed, startup, arm.pruning
        )
    return Replayed(reference, sampler, arm.space, arm.seed, arm.pruning)


def make_sampler(reference: str, options: Mapping[str, Any], seed: int) -> BaseSampler:
    """A new sampler.

    Args:
        options: its keyword arguments, as the study file has them.
        seed: given to a class that takes one.

    Raises:
        SpecError: the class is not to be had, is no sampler, or does not take these; one line.
    """
    # That a parameter is drawn independently is said once, when the study is made.
    usual = {"seed": seed, "warn_independent_sampling": False}
    sampler: BaseSampler = make("sampler", reference, options, BaseSampler, usual)
    return sampler


def _is_code(value: Any) -> bool:
    return is_made(value) or (isinstance(value, str) and references.is_reference(value))
