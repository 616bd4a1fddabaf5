"""A model as a chain of stages, the first of which can stay as they are in fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from tuneoff.trainer.models import resolve
from tuneoff.trainer.models.heads import heads


class _Mean(nn.Module):
    """The mean over a feature map: (batch, channels, height, width) to (batch, channels)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


OPERATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "+relu": nn.ReLU,
    "+relu6": nn.ReLU6,
    "+flatten": lambda: nn.Flatten(1),
    "+mean": _Mean,
}
"""What stands in models' own code between their modules, by its name in ``stage_tables``."""


@dataclass(frozen=True)
class Part:
    """What belongs to one stage of a model.

    Attributes:
        modules: its modules, some of which may lie within others.
        parameters: all of its parameters.
    """

    modules: tuple[nn.Module, ...]
    parameters: tuple[nn.Parameter, ...]


def parts(model: nn.Module, name: str) -> dict[str, Part]:
    """What belongs to each stage of a model, in order, whether or not the stages make a ``chain``.

    Args:
        model: as ``chain`` takes it.
        name: likewise.
    """
    if resolve.entry(name).stages:
        return {
            stage: Part(tuple(steps.modules()), tuple(steps.parameters()))
            for stage, steps in chain(model, name).items()
        }
    last = heads(model)
    of_head = Part(last, tuple(p for layer in last for p in layer.parameters()))
    apart = {id(parameter) for parameter in of_head.parameters}
    below = Part(
        tuple(m for m in model.modules() if not set(last) & set(m.modules())),
        tuple(p for p in model.parameters() if id(p) not in apart),
    )
    return dict(zip(resolve.entry(name).stage_names, (below, of_head), strict=True))


def chain(model: nn.Module, name: str) -> dict[str, nn.Sequential]:
    """The stages of a model by name, in order; one applied after the other they compute the same.

    Args:
        model: built by ``factory.build`` or ``factory.skeleton``. The stages hold its own modules,
            not copies, so that what one trains the other has.
        name: as ``Recipe.model``; where its stages are, ``registry.MODELS`` says.

    Returns:
        The first stage takes float images of shape (batch, 3, height, width), the last one returns
        logits of shape (batch, classes). No stage changes its input in place.
    """
    return {
        stage.name: nn.Sequential(
            *(
                OPERATIONS[step]() if step in OPERATIONS else model.get_submodule(step)
                for step in stage.steps
            )
        )
        for stage in resolve.entry(name).stages
    }


def before(model: nn.Module, name: str, frozen: int) -> nn.Sequential:
    """The first ``frozen`` stages of a model; they hold its own modules. See ``chain``."""
    return nn.Sequential(*list(chain(model, name).values())[:frozen])


def after(model: nn.Module, name: str, frozen: int) -> nn.Sequential:
    """The stages that follow ``before``."""
    return nn.Sequential(*list(chain(model, name).values())[frozen:])
