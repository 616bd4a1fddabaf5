"""Hand-tuned configurations, entered live: `tuneoff try`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from tuneoff.search.errors import UserError
from tuneoff.search.policies.base import NewTrial
from tuneoff.search.spec.space import SearchSpace
from tuneoff.search.store.attributes import ENTERED, NOTE
from tuneoff.search.study.state import history, read_state
from tuneoff.search.study.study import Search, Study
from tuneoff.search.study.trial_ref import add_trial


def parse_params(space: SearchSpace, words: Sequence[str]) -> dict[str, Any]:
    """Parameters from "--lr 0.03 --momentum=0.9" (UserError for what does not fit the space)."""
    pairs = [part for word in words for part in word.split("=", 1)]
    if len(pairs) % 2:
        raise UserError(f"{pairs[-1]} has no value; write --lr 0.03 --momentum 0.9 ...")
    params: dict[str, Any] = {}
    for option, text in zip(pairs[::2], pairs[1::2], strict=True):
        name = option.removeprefix("--").replace("-", "_")
        if not option.startswith("--") or name not in space.distributions:
            known = ", ".join(f"--{name}" for name in space.distributions)
            raise UserError(f"{option}: this study does not search it; it searches: {known}")
        params[name] = _value(space, name, text)
    try:
        return space.check(params)
    except ValueError as error:
        raise UserError(str(error)) from None


def enqueue_by_hand(
    study: Study, params: Mapping[str, Any], arm: str | None, repeat: int | None, note: str | None
) -> list[str]:
    """Enqueue a configuration in the hand-tuned arm, in every repeat or in one.

    Returns:
        Labels of the trials, "NAME/ARM/REPEAT#NUMBER".

    Raises:
        UserError: there is no such arm or repeat, or no budget left for another trial.
    """
    searches = _hand_tuned_searches(study, arm, repeat)
    for search in searches:
        now = read_state(study, search)
        free = history(study, search, now).remaining - len(now.waiting) * study.spec.trial.epochs
        if free < study.spec.trial.epochs:
            raise UserError(
                f"{search.name}: a trial takes {study.spec.trial.epochs} epochs, and of the budget "
                f"{max(0, free)} are left; see `tuneoff status {study.name}`"
            )
    about = ENTERED.entry(datetime.now(UTC).isoformat(timespec="seconds"))
    if note:
        about |= NOTE.entry(note)
    labels = []
    for search in searches:
        job = NewTrial(params, study.spec.trial.epochs, about)
        with study.database.lock(search.name):
            trial = add_trial(study, search, TrialState.WAITING, job)
        labels.append(str(trial))
    return labels


def _hand_tuned_searches(study: Study, arm: str | None, repeat: int | None) -> list[Search]:
    hand = [name for name, settings in study.spec.arms.items() if settings.configs is not None]
    if arm is None and len(hand) != 1:
        raise UserError(f"study {study.name} has {len(hand)} hand-tuned arms; choose with --arm")
    chosen = arm or hand[0]
    if chosen not in hand:
        raise UserError(
            f"--arm {chosen}: study {study.name} has no such hand-tuned arm; "
            f"choose one of: {', '.join(hand)}"
        )
    searches = [s for s in study.arms if s.arm == chosen and repeat in (None, s.repeat)]
    if not searches:
        raise UserError(
            f"--repeat {repeat}: there is no such repeat; choose from 0 to {study.spec.repeats - 1}"
        )
    return searches


def _value(space: SearchSpace, name: str, text: str) -> Any:
    distribution = space.distributions[name]
    if isinstance(distribution, CategoricalDistribution):
        named = {str(choice): choice for choice in distribution.choices}
        if text not in named:
            raise UserError(f"--{name} {text}: choose one of: {', '.join(named)}")
        return named[text]
    try:
        return float(text) if isinstance(distribution, FloatDistribution) else int(text)
    except ValueError:
        raise UserError(f"--{name} {text}: is not a number of the right kind") from None
