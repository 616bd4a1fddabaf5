"""PyTorch Lightning: a callback that keeps a checkpoint of each epoch and reports its value.

::

    from tuneoff.integrations.lightning import Report, resume_checkpoint

    trainer = Trainer(max_epochs=args.epochs, callbacks=[Report("val_error")])
    trainer.fit(model, data, ckpt_path=resume_checkpoint())
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tuneoff.own_run import folder, report, resume_epoch

# Both names of the package are in use; a callback must come from the one whose Trainer calls it.
if TYPE_CHECKING or "pytorch_lightning" not in sys.modules:
    try:
        from lightning.pytorch.callbacks import Callback
    except ModuleNotFoundError:
        from pytorch_lightning.callbacks import Callback
else:
    from pytorch_lightning.callbacks import Callback

CHECKPOINT = "last.ckpt"
"""The file in the run's folder."""


class Report(Callback):  # type: ignore[misc]
    """Reports a logged value at the end of each epoch; pausing and going on work with it."""

    def __init__(self, monitor: str, test: str | None = None) -> None:
        """
        Args:
            monitor: name of what ``self.log`` was given in ``validation_step``.
            test: the same of a value on test data.
        """
        self.monitor, self.test = monitor, test

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Keep a checkpoint and report; validation of the epoch has ended by now."""
        trainer.save_checkpoint(folder() / CHECKPOINT)
        found = trainer.callback_metrics
        names = [name for name in (self.monitor, self.test) if name is not None]
        for name in names:
            if name not in found:
                raise ValueError(
                    f"nothing named {name} was logged in epoch {trainer.current_epoch + 1}; there "
                    f"are: {', '.join(found) or 'none'}"
                )
        report(trainer.current_epoch + 1, *(found[name] for name in names))


def resume_checkpoint() -> str | None:
    """For ``Trainer.fit(ckpt_path=...)``: what to go on from; None for a run that begins."""
    path = folder() / CHECKPOINT
    return str(path) if resume_epoch() and path.is_file() else None
