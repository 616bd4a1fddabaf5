"""A fixed list of configurations, in order: hand tuning, a grid, or a queue of nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from tuneoff.search.policies.base import Decision, History, NewTrial
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.store.attributes import LISTED, NOTE


@dataclass(frozen=True)
class Listed:
    """Each configuration once.

    Attributes:
        configs: complete parameters, and "note" where somebody wrote one.
    """

    configs: Sequence[Mapping[str, Any]]
    pruning: Pruning

    def next(self, history: History) -> NewTrial | None:
        """The first configuration of the list that has no trial yet."""
        taken = {trial.user_attrs.get(LISTED) for trial in history.trials}
        for i, config in enumerate(self.configs):
            if i not in taken:
                params = {name: value for name, value in config.items() if name != "note"}
                note = {NOTE: config["note"]} if "note" in config else {}
                return NewTrial(params, history.horizon, {LISTED: i, **note})
        return None

    @property
    def stops(self) -> bool:
        """As the pruner."""
        return self.pruning.stops

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """As the pruner says."""
        return self.pruning.after(history, trial)
