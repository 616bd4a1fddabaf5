"""Names that recipes and study files may use, but those of models and data sets; no torch import.

Models and heads are in ``models.registry``, data sets in ``data.registry``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tuneoff.metric import ERROR, KNOWN, Metric
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

LOSSES: Registry[Entry] = Registry(
    "loss",
    {
        "cross-entropy": Entry(
            "torch.nn.functional:cross_entropy", "-ln of the probability of each image's class"
        ),
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
class MetricEntry(Entry):
    """A measure of a model's scores: see ``measures`` for what its target takes and returns.

    Attributes:
        metric: its name, direction and unit, unless a study's [metric] says otherwise.
        needs_every_class: whether it is undefined where a class has no images.
    """

    metric: Metric = ERROR
    needs_every_class: bool = False

    def chance(self, classes: int) -> float | None:
        """What guessing comes to; None where that is the top-1 error of guessing."""
        if self.metric.name == "log loss":
            return math.log(classes)
        return self.metric.worst


METRICS: Registry[MetricEntry] = Registry(
    "metric",
    {
        "error": MetricEntry("tuneoff.trainer.measures:error", "top-1 error"),
        "macro-error": MetricEntry(
            "tuneoff.trainer.measures:macro_error",
            "the mean over the classes of each one's error, 1 - balanced accuracy",
            KNOWN["macro error"],
        ),
        "log-loss": MetricEntry(
            "tuneoff.trainer.measures:log_loss",
            "the mean of -ln of the probability of each image's class",
            KNOWN["log loss"],
        ),
        "auroc": MetricEntry(
            "tuneoff.trainer.measures:auroc",
            "area under the ROC curve, of each class against the rest, averaged",
            KNOWN["AUROC"],
            needs_every_class=True,
        ),
    },
)

AS_IT_IS, NEGATIVE, ONE_MINUS = "value", "-value", "1 - value"
STORED_AS = ("auto", AS_IT_IS, NEGATIVE, ONE_MINUS)
"""How a metric's value becomes one of which lower is better, see ``Recipe.metric_as``."""


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
            "tuneoff.trainer.ensemble:by_value",
            "the mean, weighted by each member's accuracy on validation, or by how far "
            "it is from the worst value of the study's metric",
            uses_validation=True,
        ),
        "greedy": CombinationEntry(
            "tuneoff.trainer.ensemble:by_greedy_selection",
            "the mean of those members that together do best on validation, by the study's metric",
            uses_validation=True,
        ),
    },
)


@dataclass(frozen=True)
class Normalisation(Entry):
    """How pixels of 0 to 255 become a model's input: (x / 255 - mean) / std, for each channel.

    Its target is the module that does it.

    Attributes:
        mean: of red, green and blue.
        std: likewise.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


NORMALISATIONS: Registry[Normalisation] = Registry(
    "normalise",
    {
        "imagenet": Normalisation(
            "tuneoff.trainer.data.batches:normalise",
            "by the mean and the standard deviation of ImageNet's channels, as torchvision's "
            "weights want it",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
        ),
        "half": Normalisation(
            "tuneoff.trainer.data.batches:normalise",
            "to -1 to 1, as weights that were trained in TensorFlow want it",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
        ),
    },
)


def normalisation(how: str) -> Normalisation:
    """What ``Recipe.normalise`` says: a name from ``NORMALISATIONS``, or "MEAN / STD" with three
    numbers each, as in "0.48 0.46 0.41 / 0.27 0.26 0.28".

    Raises:
        ValueError: it is neither.
    """
    if how in NORMALISATIONS:
        return NORMALISATIONS.entry(how)
    try:
        mean, std = (tuple(map(float, part.split())) for part in how.split("/"))
        (r, g, b), (dr, dg, db) = mean, std
    except ValueError:
        names = ", ".join(NORMALISATIONS)
        raise ValueError(
            f'normalise = "{how}" is unknown; choose one of: auto, {names}, or write the means and '
            'standard deviations of red, green and blue: "0.48 0.46 0.41 / 0.27 0.26 0.28"'
        ) from None
    if not all(math.isfinite(m) for m in mean) or not all(0 < s < math.inf for s in std):
        raise ValueError(f'normalise = "{how}" has a standard deviation that is not above 0')
    target = NORMALISATIONS.entry("imagenet").target
    return Normalisation(target, how, mean=(r, g, b), std=(dr, dg, db))


def normalisation_of(mean: Sequence[float], std: Sequence[float]) -> str:
    """``Recipe.normalise`` for these means and standard deviations of red, green and blue."""
    for name in NORMALISATIONS:
        known = NORMALISATIONS.entry(name)
        if (known.mean, known.std) == (tuple(mean), tuple(std)):
            return name
    return f"{' '.join(map(repr, mean))} / {' '.join(map(repr, std))}"


PADDINGS = ("symmetric", "same")
"""How convolutions with a stride pad: as in PyTorch, alike on all sides, or as TensorFlow's "SAME"
does, with no more zeros than are needed and the odd one below and on the right."""

PRECISIONS = ("auto", "fp32", "bf16")
"""Values of ``Recipe.precision``: "bf16" is autocast, "auto" is bf16 where the device computes in
it. No code belongs to a name, so that they need no registry."""
