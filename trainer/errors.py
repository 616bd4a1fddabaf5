"""What can go wrong in training, as one small tree.

* TrainerError
    * DataError: a data set is missing, damaged or not what it should be
    * ModelError: a model cannot be built, or cannot be given its weights, as the recipe asks
        * MissingWeightsError: published weights are not here and cannot be fetched
    * OwnCodeError: a user's own code does what it may not, as to report an epoch twice
    * CheckpointError: a checkpoint could not be written (the run can be resumed), or none is there
    * Diverged: the loss is no longer finite
    * Interrupted: the caller asked to stop, and a checkpoint was written
"""

from __future__ import annotations

from collections.abc import Sequence

from tuneoff.messages import printable


class TrainerError(Exception):
    """Base of every error that the trainer raises on purpose.

    The message is one line that says what is wrong, where, and what to do. Names of files in it
    may be any bytes: see ``printable``.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class DataError(TrainerError):
    """A data set is missing, damaged or not what it should be."""


class ModelError(TrainerError):
    """A model cannot be built, or cannot be given its weights, as the recipe asks."""


class MissingWeightsError(ModelError):
    """Published weights are neither here nor can they be fetched."""


class OwnCodeError(TrainerError):
    """A user's own code does what it may not: it reports out of order, or text, or ends early.

    Attributes:
        lines: what the code printed last, where that is known.
    """

    lines: Sequence[str] = ()


class CheckpointError(TrainerError):
    """A checkpoint could not be written, and earlier ones are unharmed; or none is there."""


class Diverged(TrainerError):
    """The training loss is no longer finite: training fails with these hyperparameters.

    Attributes:
        epoch: the epoch (1-based) in which it happened.
        seconds: that this epoch took until then.
    """

    def __init__(self, epoch: int, seconds: float = 0.0) -> None:
        super().__init__(f"the loss became non-finite in epoch {epoch}")
        self.epoch, self.seconds = epoch, seconds


class Interrupted(TrainerError):
    """The caller's tick asked to stop, and a checkpoint to go on from was written.

    Attributes:
        epoch: the number of epochs completed.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"stopped on request after {epoch} completed epochs")
        self.epoch = epoch
