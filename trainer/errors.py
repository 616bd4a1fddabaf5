"""What can go wrong in training, as one small tree.

* TrainerError
    * DataError: a dataset is missing, damaged or not what it says it is
    * ModelError: a model or its weights cannot be built as asked
    * CheckpointError: a checkpoint could not be written (the run can be resumed)
    * Diverged: the loss is no longer finite
    * Interrupted: the caller asked to stop; a checkpoint was written
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of every error that the trainer raises on purpose.

    The message is one line: it names the thing that is wrong and how to fix it.
    """


class DataError(TrainerError):
    """A dataset is missing, damaged or not what it says it is."""


class ModelError(TrainerError):
    """A model or its weights cannot be built as asked."""


class CheckpointError(TrainerError):
    """A checkpoint could not be written; the last good one still stands."""


class Diverged(TrainerError):
    """The training loss is no longer finite: these hyperparameters do not train.

    Attributes:
        epoch: the epoch (1-based) in which it happened.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the loss became non-finite in epoch {epoch}")
        self.epoch = epoch


class Interrupted(TrainerError):
    """The caller's tick asked to stop; a checkpoint to continue from was written.

    Attributes:
        epoch: the number of epochs completed.
    """

    def __init__(self, epoch: int) -> None:
        super().__init__(f"stopped on request after {epoch} completed epochs")
        self.epoch = epoch
