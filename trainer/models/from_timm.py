"""Any model of timm's, by its name there; it comes with the extra ``timm``."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, cast

from torch import Tensor, nn

from tuneoff.messages import first_line
from tuneoff.registry import nearest
from tuneoff.trainer.errors import MissingWeightsError, ModelError
from tuneoff.trainer.registry import normalisation_of


def make(name: str, classes: int, options: Mapping[str, Any]) -> nn.Module:
    """A model with ``classes`` outputs, initialised at random.

    Raises:
        ModelError: timm is not installed, or has no model of that name.
    """
    return cast(nn.Module, _timm(name).create_model(name, num_classes=classes, **options))


def published(name: str) -> Mapping[str, str]:
    """{"imagenet": ""} if timm has weights for it, which its own cache keeps; see ``state``."""
    return {"imagenet": ""} if _config(name).has_weights else {}


def state(name: str, options: Mapping[str, Any]) -> dict[str, Tensor]:
    """The pretrained weights of a model, with the head that they were trained with; from timm's own
    cache, or fetched into it.

    Raises:
        MissingWeightsError: they are not there and cannot be fetched.
        ModelError: as ``make``.
    """
    try:
        made = _timm(name).create_model(name, pretrained=True, **options)
    except Exception as error:  # of several libraries, for a network that is away among others
        raise MissingWeightsError(
            f"the weights of timm's {name} are not in its cache and cannot be fetched "
            f"({first_line(error)}); fetch them elsewhere and set weights to the file's path"
        ) from error
    found: dict[str, Tensor] = made.state_dict()
    return found


def normalise(name: str) -> str:
    """How its weights want images, as ``Recipe.normalise``."""
    config = _config(name)
    return normalisation_of(tuple(config.mean), tuple(config.std))


def side(name: str) -> int:
    """The side in pixels of the images that it was trained on."""
    return int(_config(name).input_size[-1])


def _config(name: str) -> Any:
    _timm(name)
    from timm.models import get_pretrained_cfg

    return get_pretrained_cfg(name)


def _timm(name: str) -> ModuleType:
    """timm, if it has this model. Only names of its own registry pass: others could be addresses
    from which it would fetch what to run."""
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise ModelError(f"timm cannot be imported: {error}; install the extra timm") from None
        raise ModelError(
            f'model = "timm:{name}" needs timm: uv pip install -c constraints.txt -e ".[timm]"'
        ) from None
    if not timm.is_model(name):
        near = nearest(name, timm.list_models())
        hint = f'did you mean "timm:{near}"? ' if near else ""
        raise ModelError(f"timm has no model {name!r}; {hint}timm.list_models() names all")
    return timm
