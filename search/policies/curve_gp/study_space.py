"""Which parameters a study of Optuna searches, and which of its trials are comparable."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from tuneoff.search.policies.curve_gp.encoding import holds

# So many of the last trials that have ended say what is searched. An odd one among them changes
# nothing, and what is searched from some trial on is learnt after three more.
LAST = 5
# At most so many other trials are taken to wait for their parameters: the workers of more are dead.
ASKING = 8
CONDITIONAL = "optuna.samplers.TPESampler(multivariate=True, group=True)"


def searched(distributions: Mapping[str, BaseDistribution]) -> dict[str, BaseDistribution]:
    """Without the ranges of a single value."""
    return {name: d for name, d in distributions.items() if not d.single()}


def space_of(trials: Collection[FrozenTrial]) -> tuple[dict[str, BaseDistribution], int]:
    """What most of the ``LAST`` trials that have ended searched; of two as frequent, the newer.

    Returns:
        The distributions, ordered by name and empty before a trial has ended, and how many of
        those trials searched them.
    """
    found: list[tuple[dict[str, BaseDistribution], int]] = []
    for trial in [trial for trial in reversed([*trials]) if _has_ended(trial)][:LAST]:
        space = searched(trial.distributions)
        at = next((i for i, (known, _) in enumerate(found) if known == space), None)
        if at is None:
            found.append((space, 1))
        else:
            found[at] = space, found[at][1] + 1
    if not found:
        return {}, 0
    space, count = max(found, key=lambda one: one[1])  # the first of equals
    return dict(sorted(space.items())), count


def comparable(
    trials: Collection[FrozenTrial], space: Mapping[str, BaseDistribution]
) -> list[FrozenTrial]:
    """Trials that have begun and have a point in the space, whatever range it came from."""
    begun = [trial for trial in trials if trial.state != TrialState.WAITING]
    return [trial for trial in begun if _misfit(trial, space) is None]


def left_out(
    trials: Collection[FrozenTrial], space: Mapping[str, BaseDistribution]
) -> dict[int, str]:
    """Why trials that have ended are not comparable, by number."""
    why = {t.number: _misfit(t, space) for t in trials if space and _has_ended(t)}
    return {number: reason for number, reason in why.items() if reason is not None}


def asking(
    trials: Collection[FrozenTrial], space: Mapping[str, BaseDistribution], before: int
) -> list[int]:
    """Numbers of trials that began earlier and do not have their parameters yet."""
    numbers = [
        trial.number
        for trial in trials
        if trial.state == TrialState.RUNNING
        and trial.number < before
        and not space.keys() <= trial.params.keys()
    ]
    return numbers[-ASKING:]


def listed(numbers: Sequence[int]) -> str:
    """Of at least one trial, in words."""
    if len(numbers) == 1:
        return f"trial {numbers[0]} is"
    more = f" and {len(numbers) - 3} more" if len(numbers) > 3 else ""
    return f"trials {', '.join(map(str, numbers[:3]))}{more} are"


def _has_ended(trial: FrozenTrial) -> bool:
    # Any other trial may have ended before it had asked for all of its parameters.
    pruned = trial.state == TrialState.PRUNED and bool(trial.intermediate_values)
    return trial.state == TrialState.COMPLETE or pruned


def _misfit(trial: FrozenTrial, space: Mapping[str, BaseDistribution]) -> str | None:
    for name, distribution in space.items():
        if name not in trial.params:
            return f"{name!r} was not searched there; for a conditional space use {CONDITIONAL}"
        if not holds(distribution, trial.params[name]):
            return f"{name} = {trial.params[name]!r} lies outside {distribution}"
    for name in searched(trial.distributions):
        if name not in space:
            return f"{name!r} was searched there alone; for a conditional space use {CONDITIONAL}"
    return None
