"""Hugging Face Trainer: a callback that has each epoch evaluated and kept, and reports its value.

::

    from tuneoff import folder
    from tuneoff.integrations.huggingface import Report, resume_checkpoint

    arguments = TrainingArguments(output_dir=folder(), num_train_epochs=args.epochs, ...)
    trainer = Trainer(model, arguments, ..., callbacks=[Report("eval_loss")])
    trainer.train(resume_from_checkpoint=resume_checkpoint())
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from tuneoff.own_run import folder, report, resume_epoch


class Report(TrainerCallback):  # type: ignore[misc]
    """Reports a value of the evaluation at the end of each epoch; pausing and going on work with
    it. Unless the arguments say otherwise, the newest checkpoint alone is kept."""

    def __init__(self, metric: str = "eval_loss", test: str | None = None) -> None:
        """
        Args:
            metric: name of what is reported among what evaluation returns.
            test: the same of a value on test data.
        """
        self.metric, self.test = metric, test
        self._found: dict[str, float] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Keep no more than is needed."""
        if args.save_total_limit is None:
            args.save_total_limit = 1

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Have the model evaluated and, after that, kept."""
        control.should_evaluate = control.should_save = True

    def on_evaluate(
        self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any
    ) -> None:
        """Note what was found."""
        self._found.update(metrics)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report an epoch that has ended, now that its checkpoint is there."""
        epoch = round(state.epoch)
        if abs(state.epoch - epoch) > 1e-6 or not self._found:
            return  # saved within an epoch
        names = [name for name in (self.metric, self.test) if name is not None]
        for name in names:
            if name not in self._found:
                raise ValueError(
                    f"evaluation of epoch {epoch} has nothing named {name}; there are: "
                    f"{', '.join(self._found)}"
                )
        values = [self._found[name] for name in names]
        self._found = {}
        report(epoch, *values)


def resume_checkpoint() -> str | None:
    """For ``Trainer.train(resume_from_checkpoint=...)``: what to go on from; None for a run that
    begins. It looks in ``tuneoff.folder()``, which must be the output folder."""
    found = [path for path in folder().glob("checkpoint-*") if path.name[11:].isdecimal()]
    newest = max(found, key=lambda path: int(path.name[11:]), default=None)
    return str(newest) if resume_epoch() and newest is not None else None
