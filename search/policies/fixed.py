"""Fixed configurations, one after the other: hand tuning, a grid, or none but what is enqueued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial

from tuneoff.search.policies.base import Decision, History, NewTrial
from tuneoff.search.policies.pruning import Pruning
from tuneoff.search.spec.arm_section import CONFIG_NOTE, without_note
from tuneoff.search.store.attributes import FIXED_INDEX, NOTE


@dataclass(frozen=True)
class FixedConfigurations:
    """Each configuration once, in order.

    Attributes:
        configs: complete parameters, and "note" where somebody wrote one.
    """

    configs: Sequence[Mapping[str, Any]]
    pruning: Pruning

    def next(self, history: History) -> NewTrial | None:
        """The first of the configurations that has no trial yet.

        A trial that somebody entered by hand takes the place of none of them.
        """
        started = {FIXED_INDEX.get(trial) for trial in history.trials}
        for i, config in enumerate(self.configs):
            if i not in started:
                note = NOTE.entry(config[CONFIG_NOTE]) if CONFIG_NOTE in config else {}
                note |= FIXED_INDEX.entry(i)
                return NewTrial(without_note(config), history.horizon, note)
        return None

    @property
    def stops(self) -> bool:
        """As the pruner."""
        return self.pruning.stops

    def after(self, history: History, trial: FrozenTrial) -> Decision:
        """As the pruner says."""
        return self.pruning.after(history, trial)
