"""From an arm of the study file to its policy."""

from __future__ import annotations

from tuneoff.search.policies.arm import Arm, Params
from tuneoff.search.policies.base import Policy
from tuneoff.search.policies.fixed import FixedConfigurations
from tuneoff.search.policies.gain import Kind
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.policies.stopping import Stopping
from tuneoff.search.spec.arm_section import without_note
from tuneoff.search.spec.file import StudySpec
from tuneoff.search.spec.registry import SAMPLERS
from tuneoff.search.spec.space import SearchSpace


def build_policy(
    spec: StudySpec, space: SearchSpace, arm: str, repeat: int, chance_error: float = 1.0
) -> Policy:
    """The policy of an arm of the study file, in a repeat (0-based).

    Args:
        chance_error: of guessing, 0 to 1.
    """
    settings = spec.arms[arm]
    pruning = Pruning.of(settings, spec.trial.epochs)
    if settings.method is None:  # written down to be run, all of it
        return FixedConfigurations(settings.configs or (), pruning)
    policy: Policy = SAMPLERS.load(settings.method)(
        Arm(
            settings,
            space,
            (spec.seed, repeat),
            pruning,
            spec.budget.epochs or 0,
            start=_hand_tuned(spec, settings.start_from),
            prior=_hand_tuned(spec, settings.prior_from),
        )
    )
    if spec.budget.stop_rule is None:
        return policy
    # A policy that has trials to begin with says how many.
    metric = spec.metric.metric()
    startup = int(getattr(policy, "startup", 0))
    kind = Kind.of(settings.method, settings.pruner)
    return Stopping(policy, spec.budget.stop_rule, startup, kind, chance_error, metric)


def queue_policy(horizon: int) -> Policy:
    """The policy of promoted trials: it proposes nothing, and runs what was enqueued to the end."""
    return FixedConfigurations((), Pruning.never(horizon))


def _hand_tuned(spec: StudySpec, arm: str | None) -> tuple[Params, ...]:
    """The configurations of a hand-tuned arm; none where no arm is named."""
    configs = spec.arms[arm].configs if arm else None
    return tuple(without_note(config) for config in configs or ())
