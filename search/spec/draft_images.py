"""The text of a study file to start from, for a folder of images: sized to take minutes."""

from __future__ import annotations

from dataclasses import dataclass

from tuneoff.search.spec.guesses import beside, shown

VALIDATION = 0.2
SEARCHED, PROMOTED = 240, 2000
"""The most images of a search run, and of a full training, that the draft begins with."""
EPOCHS = 3
"""Of a search run, and of full training."""
STARTUP = 3
"""Configurations before the arm's model is asked."""
RUNS = 7
"""Full runs that the budget pays for. Though the model went on with all of the first ones to their
ends, more configurations come after them than they are: 4 of 7."""


@dataclass(frozen=True)
class Images:
    """What is known of a folder of images.

    Attributes:
        path: of the folder or zip file.
        train: images to learn and to validate with.
        test: images of the test split.
        classes: how many there are.
    """

    path: str
    train: int
    test: int
    classes: int


@dataclass(frozen=True)
class Start:
    """What a network starts from.

    Attributes:
        model: a name from the registry of models.
        pretrained: does it start from ImageNet's weights, which are here?
        frozen: stages that stay as they are.
        side: of the images, in pixels.
        note: a line about it.
    """

    model: str
    pretrained: bool
    frozen: int
    side: int
    note: str


STARTS = (
    Start("squeezenet1_1", True, 4, 64, "pretrained, small and quick"),
    Start("mobilenet_v2", True, 0, 64, "pretrained, small"),
    Start("efficientnet-lite0", True, 0, 64, "pretrained, small"),
    Start("resnet18", True, 0, 64, "pretrained"),
)
"""Networks to begin with, the quickest first."""


def text_of(name: str, images: Images, start: Start) -> str:
    """The study file."""
    learned = int(images.train * (1 - VALIDATION))
    part = min(SEARCHED, learned)
    effect = min(10.0, max(1.0, round(1000 / max(images.test, 1), 1)))
    frozen, shorter = start.frozen, part < learned
    other = f"frozen_stages = {frozen - 1}" if frozen else "flip = false"
    lines = [
        f"# {images.train + images.test:,} images in {images.classes} classes.",
        "# It is sized to take some minutes on two CPU cores. For a firmer answer raise repeats,",
        "# epochs, image_size and images. Then:",
        f"#     tuneoff check {name}.toml     # is all sound, and how long will it take?",
        f"#     tuneoff run {name}.toml",
        f'name = "{name}"',
        "seed = 0",
        beside("repeats = 6", "each arm searches so often"),
        "",
        "[data]",
        'name = "folder"',
        f"path = {shown(images.path)}",
        beside(f"image_size = {start.side}", "twice as many pixels a side take four times as long"),
        beside(f"validation = {VALIDATION}", "its share of them"),
        "",
        "[trial]",
        beside(f'model = "{start.model}"', start.note),
        f'weights = "{"imagenet" if start.pretrained else "none"}"',
        *([beside(f"frozen_stages = {frozen}", "stay as ImageNet made them")] if frozen else []),
        *([beside(f"images = {part}", f"for the search, of {learned}")] if shorter else []),
        f"epochs = {EPOCHS}",
        f"batch_size = {16 if part >= 64 else 4}",
        'schedule = "cosine"',
        "",
        "[space]",
        f"lr = {{ low = 1e-4, high = {'3e-2' if start.pretrained else '1.0'}, log = true }}",
        "momentum = { low = 0.5, high = 0.99 }",
        "weight_decay = { low = 1e-6, high = 1e-2, log = true }",
        "",
        "[budget]",
        beside(f"epochs = {RUNS * EPOCHS}", f"for each arm and repeat: {RUNS} full runs"),
        "",
        "[arms.bayes]",
        'sampler = "curve-gp"',
        beside(f"startup = {STARTUP}", "configurations before its model is asked"),
        "",
        "[arms.hand]",
        beside('persona = "careful"', "or configs = [...]: what you would try by hand"),
        "",
        beside("[promote]", "full training of what each arm recommends"),
        "top = 1",
        "seeds = 2",
        f"epochs = {EPOCHS}",
        *([beside(f"images = {PROMOTED}", "take it out to use all")] if learned > PROMOTED else []),
        "",
        "[ensemble]",
        'combine = "mean"',
        "members = [",
        f'  {{ model = "{start.model}" }},',
        f'  {{ model = "{start.model}", {other} }},',
        "]",
        "",
        "[compare]",
        beside(f"smallest_effect = {effect:g}", "points of error that matter to you"),
        "",
        "[workers]",
        beside("threads = 1", "so that any number of workers gets the same errors"),
    ]
    return "\n".join(lines) + "\n"
