"""The ledger of attempts as a worker uses it: each call waits for a database that is away."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from tuneoff.search.store import attempts
from tuneoff.search.store.attempts import Attempt
from tuneoff.search.store.database import Database

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Ledger:
    """What workers enter while they hold no lock.

    Each method may be carried out twice when the database goes away in the middle, and comes to
    the same. Within a lock the functions of ``attempts`` are called instead, which do not wait: an
    outage takes the lock with it, so everything that was done under it must be done again, and
    ``step`` does that.

    Every method raises StorageOutage if the database stays away for longer than its patience.
    """

    database: Database

    def step(self, action: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something that may be done twice, from its start whenever the database was away."""
        return self.database.patiently(lambda: action(*args, **kwargs))

    def live(self, searches: Sequence[str]) -> list[Attempt]:
        """As ``attempts.live``."""
        return self.step(attempts.live, self.database, searches)

    def read(self, searches: Sequence[str], trials: Collection[int] | None = None) -> list[Attempt]:
        """As ``attempts.read``."""
        return self.step(attempts.read, self.database, searches, trials)

    def touch(self, attempt: Attempt) -> None:
        """As ``attempts.touch``."""
        self.step(attempts.touch, self.database, attempt)

    def progress(self, attempt: Attempt, epochs: int, seconds: float) -> None:
        """As ``attempts.progress``."""
        self.step(attempts.progress, self.database, attempt, epochs, seconds)

    def resumed_from(
        self, attempt: Attempt, epoch: int, before: Attempt | None, seconds: float | None = None
    ) -> None:
        """As ``attempts.resumed_from``."""
        self.step(attempts.resumed_from, self.database, attempt, epoch, before, seconds)
