"""The storage's id of a trial: the one private name of Optuna's that is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial


def id_of(trial: FrozenTrial) -> int:
    """The id that a trial was read with, which tells trials of all studies apart.

    Optuna has no public name for it. To ask the storage for it by study and number takes a query
    for each trial, of which there may be tens of thousands.
    """
    return trial._trial_id
