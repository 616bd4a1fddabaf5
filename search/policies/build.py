"""From an arm of the study file to its policy."""

from __future__ import annotations

from tuneoff.search.policies.arm import Arm, Params
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.fixed import FixedConfigurations
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.registry import SAMPLERS
from tuneoff.search.spec.sections import without_note
from tuneoff.search.spec.space import SearchSpace


def build_policy(spec: StudySpec, space: SearchSpace, arm: str, repeat: int) -> Policy:
    """The policy of an arm of the study file, in a repeat (0-based)."""
    settings = spec.arms[arm]
    pruning = Pruning.of(settings, spec.trial.epochs)
    if settings.method is None:
        return FixedConfigurations(settings.configs or (), pruning)
    policy: Policy = SAMPLERS.load(settings.method)(
        Arm(
            settings,
            space,
            (spec.seed, repeat),
            pruning,
            start=_hand_tuned(spec, settings.start_from),
            prior=_hand_tuned(spec, settings.prior_from),
        )
    )
    return policy


def queue_policy(horizon: int) -> Policy:
    """The policy of promoted trials: it proposes nothing, and runs what was enqueued to the end."""
    return FixedConfigurations((), Pruning.never(horizon))


def _hand_tuned(spec: StudySpec, arm: str | None) -> tuple[Params, ...]:
    """The configurations of a hand-tuned arm; none where no arm is named."""
    configs = spec.arms[arm].configs if arm else None
    return tuple(without_note(config) for config in configs or ())
