"""Weights to start from: ImageNet's, as published, or a file; and what images they want."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from torch import Tensor, nn

from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.model_choice import AUTO
from tuneoff.trainer.models import making, published, resolve, sources
from tuneoff.trainer.models.published import Published
from tuneoff.trainer.models.registry import IMAGENET_WEIGHTS, MODELS, pretrained
from tuneoff.trainer.models.state_files import StateFile, read_state
from tuneoff.trainer.recipe import Recipe

# DenseNet's published weights carry names from before torch 0.4 ("denselayer1.norm.1.weight").
_OLD_DENSENET_NAME = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


@dataclass(frozen=True, slots=True)
class Found:
    """The file that a recipe's weights are in.

    Attributes:
        path: where it is.
        known: what is known of it by its digest; None if nothing is.
    """

    path: Path
    known: Published | None


def find(recipe: Recipe) -> Found:
    """The file of ``recipe.weights``, which is not "none"; ImageNet's are fetched if need be.

    Raises:
        ModelError: there is none, it cannot be fetched, or it is known to be another model's.
    """
    if recipe.weights not in IMAGENET_WEIGHTS:
        path = Path(recipe.weights).expanduser()
    elif recipe.weights in resolve.published(recipe.model):
        path = sources.imagenet_file(recipe.model, recipe.weights)
    else:
        instead = '"imagenet"' if "imagenet" in resolve.published(recipe.model) else '"none"'
        raise ModelError(
            f"there are no weights {recipe.weights!r} for model {recipe.model!r}; set weights = "
            f"{instead} or use one of: {', '.join(pretrained(recipe.weights))}"
        )
    known = published.known(sources.digest(path))
    model = resolve.registered(recipe.model)
    if model not in MODELS:
        return Found(path, None)  # what is known is for models of ours
    if known and known.model != model:
        raise ModelError(
            f'{path} is {known.title}; set model = "{known.model}", or use weights of '
            f"{recipe.model}"
        )
    return Found(path, known)


def settle(recipe: Recipe) -> Recipe:
    """The recipe with ``normalise`` and ``padding`` "auto" replaced: by what its weights want if
    these are known, and else by its model's defaults.

    Raises:
        ModelError: as ``find``.
    """
    if AUTO not in (recipe.normalise, recipe.padding):
        return recipe
    known = None
    if recipe.weights != "none" and not _in_timms_cache(recipe):
        known = find(recipe).known
    normalise = known.normalise if known else resolve.normalise(recipe.model)
    padding = (known or resolve.entry(recipe.model)).padding
    return replace(
        recipe,
        normalise=normalise if recipe.normalise == AUTO else recipe.normalise,
        padding=padding if recipe.padding == AUTO else recipe.padding,
    )


def about(recipe: Recipe) -> str:
    """What people should know of the weights and the images that they are given, in a line.

    Raises:
        ModelError: as ``find``.
    """
    chosen = settle(recipe)
    if _in_timms_cache(recipe):
        return f'weights of timm: images are normalised as "{chosen.normalise}"'
    found = find(recipe)
    how = f'images are normalised as "{chosen.normalise}"'
    either_way = resolve.entry(recipe.model).pads_either_way
    how += f' and padding is "{chosen.padding}"' if either_way else ""
    if found.known is None and recipe.weights in IMAGENET_WEIGHTS:
        return f"weights of torchvision ({found.path.name}): {how}"
    if found.known is None:
        options = ("normalise", "padding") if either_way else ("normalise",)
        unset = [name for name in options if getattr(recipe, name) == AUTO]
        mend = f"; set {' and '.join(unset)} if it was trained otherwise" if unset else ""
        return f"{found.path} is not a published file that is known here: {how}{mend}"
    wanted = (found.known.normalise, found.known.padding)
    if wanted == (chosen.normalise, chosen.padding):
        return f"{found.known.title}: {how}, as it was trained"
    return f'{found.known.title}: {how}, but it was trained with "{wanted[0]}" and "{wanted[1]}"'


def read(recipe: Recipe) -> StateFile:
    """The state dict that ``recipe.weights`` names, which is not "none"; on the CPU, with the names
    of the model's tensors.

    Raises:
        ModelError: there is none, it cannot be fetched or read, or it is damaged.
    """
    if _in_timms_cache(recipe):
        library, name = resolve.library_of(recipe.model), resolve.split(recipe.model)[1]
        assert library is not None
        return StateFile(library.state(name, recipe.model_options))
    found = find(recipe)
    if found.known and found.known.reader:
        module, _, function = found.known.reader.partition(":")
        return StateFile(getattr(import_module(module), function)(found.path))
    read = read_state(found.path)
    named = {_OLD_DENSENET_NAME.sub(r"\1\2", name): t for name, t in read.state.items()}
    module, _, function = resolve.entry(recipe.model).renamed.partition(":")
    if module:
        named = getattr(import_module(module), function)(named)
    return replace(read, state=named)


def outputs(recipe: Recipe, state: Mapping[str, Tensor]) -> int:
    """How many classes the head in a state dict has (ModelError if it has no head)."""
    name = f"{making.head_names(recipe.model, recipe.model_options)[0]}.weight"
    # A matrix, or the kernel of a convolution.
    if name not in state or state[name].ndim not in (2, 4):
        raise ModelError(
            f"{recipe.weights} has no matrix {name}, the head of {recipe.model}; use weights of "
            "this model"
        )
    return len(state[name])


def _in_timms_cache(recipe: Recipe) -> bool:
    """Whether timm itself fetches, keeps and reads the weights that a recipe names.

    Raises:
        ModelError: timm has none for the model.
    """
    if recipe.weights not in IMAGENET_WEIGHTS or resolve.split(recipe.model)[0] != "timm":
        return False
    if recipe.weights not in resolve.published(recipe.model):
        raise ModelError(
            f"timm has no weights {recipe.weights!r} for {recipe.model}; set weights to "
            '"imagenet", "none" or a file'
        )
    return True


def require_fit(recipe: Recipe, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """ModelError if a state dict has other tensors than the model, or of other shapes or types."""
    wanted = model.state_dict()
    for name, tensor in wanted.items():
        # Weights from before torch 0.4.1 have no such counters, and nothing depends on them.
        if name.endswith("num_batches_tracked"):
            continue
        if name not in state:
            raise ModelError(
                f"{recipe.weights} has no tensor {name}, which {recipe.model} needs; use weights "
                "of this model"
            )
        if state[name].shape != tensor.shape:
            raise ModelError(
                f"{recipe.weights}: {name} has shape {tuple(state[name].shape)}, but in "
                f"{recipe.model} it has {tuple(tensor.shape)}; use weights of this model"
            )
        if tensor.is_floating_point() and not state[name].is_floating_point():
            raise ModelError(
                f"{recipe.weights}: {name} has values of type {state[name].dtype}, as after "
                "quantisation; use weights of floating-point numbers"
            )
    for name in state:
        if name not in wanted:
            raise ModelError(
                f"{recipe.weights} has a tensor {name}, but {recipe.model} has none of that name; "
                "use weights of this model"
            )
