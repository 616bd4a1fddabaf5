"""What can go wrong in training, as one small tree.

* TrainerError
    * DataError: a data set is missing, damaged or not what it should be
    * ModelError: a model cannot be built, or cannot be given its weights, as the recipe asks
    * CheckpointError: a checkpoint could not be written (the run can be resumed), or none is there
    * Diverged: the loss is no longer finite
    * Interrupted: the caller asked to stop, and a checkpoint was written
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of every error that the trainer raises on purpose.

    The message is one line that says what is wrong, where, and what to do.
    """


class DataError(TrainerError):
    """A data set is missing, damaged or not what it should be."""


class ModelError(TrainerError):
    """A model cannot be built, or cannot be given its weights, as the recipe asks."""


class CheckpointError(TrainerError):
    """A checkpoint could not be written, and earlier ones are unharmed; or none is there."""


class Diverged(TrainerError):
    """The training loss is no longer finite: training fails with these hyperparameters.

    Attributes:
        epoch: the epoch (1-based) in which it happened.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the loss became non-finite in epoch {epoch}")
        self.epoch = epoch


class Interrupted(TrainerError):
    """The caller's tick asked to stop, and a checkpoint to go on from was written.

    Attributes:
        epoch: the number of epochs completed.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"stopped on request after {epoch} completed epochs")
        self.epoch = epoch
