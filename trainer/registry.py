"""Names that recipes and study files may use, but those of models and data sets; no torch import.

Models and heads are in ``models.registry``, data sets in ``data.registry``.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuneoff.registry import Entry, Registry


@dataclass(frozen=True)
class ScheduleEntry(Entry):
    """A learning-rate schedule: see ``schedules`` for what its target takes and returns.

    Attributes:
        follows_error: whether the rate depends on the validation error, so that a state has to be
            kept from epoch to epoch.
    """

    follows_error: bool = False


SCHEDULES: Registry[ScheduleEntry] = Registry(
    "schedule",
    {
        "plateau": ScheduleEntry(
            "tuneoff.trainer.schedules:plateau",
            "multiplied by `drop` when the validation error stalls for `patience` epochs",
            follows_error=True,
        ),
        "cosine": ScheduleEntry("tuneoff.trainer.schedules:cosine", "half a cosine, to zero"),
        "linear": ScheduleEntry("tuneoff.trainer.schedules:linear", "a straight line, to zero"),
        "step": ScheduleEntry(
            "tuneoff.trainer.schedules:step", "multiplied by `drop` every `step_epochs` epochs"
        ),
        "constant": ScheduleEntry("tuneoff.trainer.schedules:constant", "the same throughout"),
    },
)

VIEWS: Registry[Entry] = Registry(
    "test_view",
    {
        "plain": Entry("tuneoff.trainer.evaluate:plain", "each image as it is"),
        "flip": Entry("tuneoff.trainer.evaluate:flip", "each image and its mirror image"),
        "ten-crop": Entry(
            "tuneoff.trainer.evaluate:ten_crop",
            "four corners, the centre, and the mirror images of these five",
        ),
    },
)


@dataclass(frozen=True)
class CombinationEntry(Entry):
    """A way to make one prediction of an ensemble's: see ``ensemble`` for what its target takes
    and returns.

    Attributes:
        uses_validation: whether the members' weights depend on their scores on validation.
    """

    uses_validation: bool = False


COMBINATIONS: Registry[CombinationEntry] = Registry(
    "combination",
    {
        "paper": CombinationEntry(
            "tuneoff.trainer.ensemble:by_paper",
            "a second softmax over the members' probabilities, summed over the members",
        ),
        "mean": CombinationEntry(
            "tuneoff.trainer.ensemble:by_mean", "the mean of the members' probabilities"
        ),
        "vote": CombinationEntry(
            "tuneoff.trainer.ensemble:by_vote", "each class's share of the members' votes"
        ),
        "weighted": CombinationEntry(
            "tuneoff.trainer.ensemble:by_accuracy",
            "the mean, weighted by each member's accuracy on validation",
            uses_validation=True,
        ),
        "greedy": CombinationEntry(
            "tuneoff.trainer.ensemble:by_greedy_selection",
            "the mean of those members that together do best on validation",
            uses_validation=True,
        ),
    },
)

PRECISIONS = ("auto", "fp32", "bf16")
"""Values of ``Recipe.precision``: "bf16" is autocast, "auto" is bf16 where the device computes in
it. No code belongs to a name, so that they need no registry."""
