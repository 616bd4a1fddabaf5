"""Hand-tuned configurations, entered live: `tuneoff try`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from tuneoff.messages import counted
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
        UserError: there is no such arm or repeat, or no budget left for another trial; where
            others took the last of it meanwhile, the message says to which repeats it was added.
    """
    searches = hand_tuned_searches(study, arm, repeat)
    for search in searches:  # so that, as a rule, all of them take it or none
        _check_budget(study, search)
    about = ENTERED.entry(datetime.now(UTC).isoformat(timespec="seconds"))
    if note:
        about |= NOTE.entry(note)
    labels: list[str] = []
    for search in searches:
        job = NewTrial(params, study.spec.trial.epochs, about)
        with study.database.lock(search.name):
            try:
                _check_budget(study, search)
            except UserError as error:
                if not labels:
                    raise
                # Others were quicker. What was added stays: a worker may have started it.
                raise UserError(
                    f"{error}; it was added to the others: {', '.join(labels)}"
                ) from None
            trial = add_trial(study, search, TrialState.WAITING, job)
        labels.append(str(trial))
    return labels


def _check_budget(study: Study, search: Search) -> None:
    """Make sure that the budget has room for one more trial (UserError if not).

    The answer holds only as long as the search's lock is held.
    """
    now, epochs = read_state(study, search), study.spec.trial.epochs
    if search.seconds is not None:
        if now.is_out_of_time(search.seconds):
            raise UserError(
                f"{search.name}: its {search.seconds:g} s are spent; see "
                f"`tuneoff status {study.name}`"
            )
        return  # how many runs the rest is enough for is not known
    free = history(study, search, now).remaining - len(now.waiting) * epochs
    if free < epochs:
        raise UserError(
            f"{search.name}: a trial takes {counted(epochs, 'epoch')}, and of the budget "
            f"{max(0, free)} are left; see `tuneoff status {study.name}`"
        )


def hand_tuned_searches(study: Study, arm: str | None, repeat: int | None) -> list[Search]:
    """The searches of a hand-tuned arm, of the only one if none is named; of one repeat or of all.

    Raises:
        UserError: there is no such arm or repeat.
    """
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
            f"--repeat {repeat}: there is no such repeat; choose from 0 to {study.repeats - 1}"
        )
    return searches


def _value(space: SearchSpace, name: str, text: str) -> Any:
    distribution = space.distributions[name]
    if isinstance(distribution, CategoricalDistribution):
        for choice in distribution.choices:
            if _stands_for(text, choice):
                return choice
        known = ", ".join(
            json.dumps(c) if isinstance(c, bool) else str(c) for c in distribution.choices
        )
        raise UserError(f"--{name} {text}: choose one of: {known}")
    try:
        return float(text) if isinstance(distribution, FloatDistribution) else int(text)
    except ValueError:
        raise UserError(f"--{name} {text}: is not a number of the right kind") from None


def _stands_for(text: str, choice: Any) -> bool:
    """True if a text is a choice as it is written in TOML, JSON or Python."""
    if isinstance(choice, bool):
        return text.lower() == str(choice).lower()
    if isinstance(choice, int | float):
        try:
            return float(text) == choice
        except ValueError:
            return False
    return text == str(choice)
