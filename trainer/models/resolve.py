"""What is known of a model by its name, be it a registered one or a reference; no torch import.

A reference is "torchvision:NAME" or "timm:NAME", for a model of these libraries, or "module:NAME"
for a class or function of a user's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from tuneoff import references
from tuneoff.trainer.limits import plain
from tuneoff.trainer.models.registry import MODELS, ModelEntry

LIBRARIES: Mapping[str, str] = {
    "torchvision": "tuneoff.trainer.models.from_torchvision",
    "timm": "tuneoff.trainer.models.from_timm",
}
"""Libraries whose models have a reference "LIBRARY:NAME", and the module that knows each: its
functions ``make``, ``published``, ``normalise`` and ``side`` take NAME first."""

# Options that would load other code or weights than the recipe says, or make another kind of model.
_RESERVED = (
    "num_classes", "pretrained", "weights", "checkpoint_path", "cache_dir", "in_chans",
    "pretrained_cfg", "pretrained_cfg_overlay", "features_only", "aux_logits", "progress",
    "scriptable", "exportable", "no_jit", "memory_efficient",
)  # fmt: skip

# Total strides are 32 pixels at most in nearly all image networks: below this size the last stage
# of one that is not known may meet the fault of bf16 that ``factory.trains_in_bf16`` describes.
_CAREFUL = 32


def check(model: str, options: Mapping[str, Any]) -> str:
    """The name itself, if it is a registered model's or has the form of a reference, and no option
    is refused. Nothing is imported, so that a reference may still name nothing.

    Raises:
        ValueError: it is not.
    """
    for name, value in options.items():
        if name in _RESERVED:
            raise ValueError(f"model_options.{name} is not to be set: the recipe decides it")
        plain(f"model_options.{name}", value)
    if not references.is_reference(model):
        return MODELS.check(model)
    library, name = split(model)
    if not library:
        return references.check(model, "model")
    if not name.replace("_", "").replace(".", "").replace("-", "").isalnum():
        raise ValueError(f'model = "{model}" names no model; write it as "{library}:NAME"')
    return model


def split(model: str) -> tuple[str, str]:
    """The library of a reference and its model's name there; ("", model) for all others."""
    library, colon, name = model.partition(":")
    return (library, name) if colon and library in LIBRARIES else ("", model)


def own(model: str) -> str | None:
    """The reference to a user's own code that a name is; None if it is another name."""
    return model if references.is_reference(model) and not split(model)[0] else None


def registered(model: str) -> str:
    """The name of the registered model that "torchvision:NAME" means; others as they are."""
    library, name = split(model)
    if library == "torchvision" and name in MODELS:
        entry = MODELS.entry(name)
        return name if entry.target == f"torchvision.models:{name}" else model
    return model


def entry(model: str) -> ModelEntry:
    """All that is written about a registered model, or can be said of any reference."""
    model = registered(model)
    if not references.is_reference(model):
        return MODELS.entry(model)
    renamed = f"{LIBRARIES['torchvision']}:without_auxiliary"
    return ModelEntry(
        model,
        "a reference",
        head="",
        cpu_bf16_above=_CAREFUL,
        renamed=renamed if split(model)[0] == "torchvision" else "",
    )


def library_of(model: str) -> ModuleType | None:
    """The module that knows a library's models, imported; None for other models."""
    library, _ = split(registered(model))
    return import_module(LIBRARIES[library]) if library else None


def published(model: str) -> Mapping[str, str]:
    """The ImageNet weights that torchvision publishes for a model, as ``ModelEntry.imagenet``.

    Raises:
        ModelError: it is a reference to a model that its library does not have.
    """
    if (library := library_of(model)) is not None:
        found: Mapping[str, str] = library.published(split(model)[1])
        return found
    return entry(model).imagenet


def normalise(model: str) -> str:
    """How a model's images are normalised where nothing else is said, as ``Recipe.normalise``.

    Raises:
        ModelError: as ``published``.
    """
    if (library := library_of(model)) is not None:
        return str(library.normalise(split(model)[1]))
    return entry(model).normalise


def side(model: str) -> int:
    """The side in pixels of the images that a library's model was made for; 0 if it is unknown.

    Raises:
        ModelError: as ``published``.
    """
    library = library_of(model)
    return 0 if library is None else int(library.side(split(model)[1]))
