"""Live hand tuning: one person's tries at a study's hand-tuned arm, blind to the other arms."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tuneoff.search.errors import UserError
from tuneoff.search.store.attempts import Worker
from tuneoff.search.store.attributes import ENTERED, NOTE, REVEALED
from tuneoff.search.study.state import history, read_state
from tuneoff.search.study.study import Search, Study
from tuneoff.search.work.manual import enqueue_by_hand, hand_tuned_searches, parse_params
from tuneoff.search.work.worker import work
from tuneoff.trainer.contract import Trainer

POLL_SECONDS: Final = 0.3
NOTE_MARK: Final = "note:"


@dataclass(frozen=True, slots=True)
class Try:
    """One configuration of the hand-tuned arm, as its first repeat ran it.

    Attributes:
        number: of its trial.
        finished: it takes no more epochs.
        errors: validation error, 0 to 1, by epoch, counted from 1.
        by_hand: somebody entered it; else it stands in the study file.
    """

    number: int
    params: Mapping[str, Any]
    finished: bool
    errors: Mapping[int, float]
    by_hand: bool
    note: str = ""

    @property
    def error(self) -> float | None:
        """The last one; None before the first."""
        return self.errors[max(self.errors)] if self.errors else None


@dataclass(frozen=True, slots=True)
class Tuning:
    """One arm that a person tunes by hand. Every try is run in every repeat; the first is shown.

    Attributes:
        searches: the arm's, one for each repeat.
    """

    study: Study
    searches: tuple[Search, ...]

    @classmethod
    def of(cls, study: Study, arm: str | None) -> Tuning:
        """The tuning of an arm, or of the only hand-tuned one (UserError if there is no such)."""
        return cls(study, tuple(hand_tuned_searches(study, arm, None)))

    @property
    def shown(self) -> Search:
        """The search whose curves the person sees."""
        return self.searches[0]

    def tries(self) -> list[Try]:
        """All of them, in order."""
        return [
            Try(
                number=trial.number,
                params=self.study.space.in_effect(trial.params),
                finished=trial.state.is_finished(),
                errors=dict(sorted(trial.intermediate_values.items())),
                by_hand=ENTERED.is_set(trial),
                note=NOTE.get(trial) or "",
            )
            for trial in self.study.ledger.step(self.study.trials, self.shown)
        ]

    def left(self) -> int:
        """Epochs of a repeat's budget that no try has been promised."""
        now = self.study.ledger.step(read_state, self.study, self.shown)
        if self.shown.seconds is not None:  # about, and enough for a try while there is any time
            return history(self.study, self.shown, now).remaining
        promised: int = len(now.waiting) * self.study.spec.trial.epochs
        return max(0, history(self.study, self.shown, now).remaining - promised)

    def enter(self, params: Mapping[str, Any], note: str) -> int:
        """Have a configuration run in every repeat; its number in the first.

        Raises:
            UserError: the budget has no room for it.
        """
        labels = enqueue_by_hand(self.study, params, self.shown.arm, None, note or None)
        return int(labels[0].rpartition("#")[2])

    def reveal(self) -> None:
        """Note that the person sees what the other arms found from now on."""
        full = self.study.optuna_study(self.study.full)
        if not REVEALED.is_set(full):
            full.set_user_attr(*REVEALED.item(datetime.now(UTC).isoformat(timespec="seconds")))


def parse_try(
    tuning: Tuning, line: str, last: Mapping[str, Any] | None
) -> tuple[dict[str, Any], str]:
    """Parameters and note from "lr=0.03 momentum=0.9 note: as in the paper".

    Args:
        last: parameters that are not named keep these values; None: all must be named.

    Raises:
        UserError: it is none, or does not fit the space.
    """
    line, _, note = line.partition(NOTE_MARK)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UserError(f"{line.strip()}: {error}; write lr=0.03 momentum=0.9") from None
    for word in words:
        if "=" not in word:
            raise UserError(f"{word}: write NAME=VALUE, as in lr=0.03, or help")
    said = {word.partition("=")[0].replace("-", "_"): word for word in words}
    known = dict(last or {})
    kept = [f"{name}={value}" for name, value in known.items() if name not in said]
    return parse_params(tuning.study.space, [f"--{word}" for word in (*kept, *words)]), note.strip()


def run_try(
    tuning: Tuning,
    number: int,
    helper: Study,
    trainer: Trainer,
    worker: Worker,
    stop: Callable[[], bool],
    show: Callable[[Try], None],
    sleep: Callable[[float], None],
) -> Try:
    """Wait until a try has ended, and help to train it: other workers may be at it, too.

    Args:
        helper: the same study, opened for the thread that trains.
        trainer, worker: that train here.
        stop: True once the person wants to leave; what is trained here is paused safely then.
        show: called with the try whenever it has another epoch.
        sleep: lets so many seconds pass.

    Returns:
        The try as it stands.

    Raises:
        SearchError, TrainerError: what kept this process from training it.
    """
    done, failed = threading.Event(), list[BaseException]()
    search = next(s for s in helper.arms if s.name == tuning.shown.name)

    def train() -> None:
        try:
            work(helper, [search], trainer, worker, lambda: stop() or done.is_set())
        except BaseException as error:  # told in the thread that waits
            failed.append(error)

    thread = threading.Thread(target=train, daemon=True)
    thread.start()
    try:
        seen = -1
        while True:
            alive = thread.is_alive()
            found = tuning.tries()[number]
            if len(found.errors) > seen:
                seen = len(found.errors)
                show(found)
            if failed:
                raise failed[0]
            if found.finished or stop() or not alive:
                return found
            sleep(POLL_SECONDS)
    finally:
        done.set()
        thread.join()
