"""A recipe's optimiser and its options: which there are, and which go together; no torch import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuneoff import references
from tuneoff.registry import Entry, Registry
from tuneoff.trainer.limits import plain

BETAS = "betas"
"""An option that gives "beta1" and "beta2" at once, as torch.optim writes them."""


@dataclass(frozen=True)
class Option:
    """What an option of an optimiser may be.

    Attributes:
        default: its value where none is given; torch.optim's.
        low: a number's least value; without meaning for a switch.
        below: what a number has to stay below.
    """

    default: float | bool
    low: float = 0.0
    below: float = 1.0


@dataclass(frozen=True)
class OptimizerEntry(Entry):
    """An optimiser; its target is a torch.optim.Optimizer.

    Attributes:
        options: those that ``Recipe.optimizer_options`` may have, by name.
        has_momentum: whether ``HyperParams.momentum`` plays a part.
        buffers: tensors of a parameter's size that it keeps for each parameter.
        grows: options that are switches, each of which makes it keep one more.
        is_fused: whether torch computes a step in one pass over memory.
    """

    options: Mapping[str, Option] = field(default_factory=dict)
    has_momentum: bool = False
    buffers: int = 1
    grows: tuple[str, ...] = ()
    is_fused: bool = False


_ADAM: Mapping[str, Option] = {
    "beta1": Option(0.9),
    "beta2": Option(0.999),
    "eps": Option(1e-8),
    "amsgrad": Option(False),
}

OPTIMIZERS: Registry[OptimizerEntry] = Registry(
    "optimizer",
    {
        "sgd": OptimizerEntry(
            "tuneoff.trainer.optim:Sgd",
            "gradient descent with momentum; weight_decay is added to the gradient",
            has_momentum=True,
            is_fused=True,
        ),
        "adamw": OptimizerEntry(
            "torch.optim:AdamW",
            "Adam with weight decay apart from the gradient (Loshchilov and Hutter 2019): each "
            "step shrinks the weights by lr * weight_decay",
            options=_ADAM,
            buffers=2,
            grows=("amsgrad",),
            is_fused=True,
        ),
        "adam": OptimizerEntry(
            "torch.optim:Adam",
            "Adam (Kingma and Ba 2015); weight_decay is added to the gradient",
            options=_ADAM,
            buffers=2,
            grows=("amsgrad",),
            is_fused=True,
        ),
        "rmsprop": OptimizerEntry(
            "torch.optim:RMSprop",
            "gradients divided by the root of their mean square (Tieleman and Hinton 2012), with "
            "momentum; weight_decay is added to the gradient",
            options={"alpha": Option(0.99), "eps": Option(1e-8), "centered": Option(False)},
            has_momentum=True,
            buffers=2,
            grows=("centered",),
        ),
        "lion": OptimizerEntry(
            "tuneoff.trainer.lion:Lion",
            "the sign of a moving average of gradients (Chen et al. 2023), with weight decay apart "
            "from the gradient; it wants rates 3 to 10 times lower than AdamW's",
            options={"beta1": Option(0.9), "beta2": Option(0.99)},
        ),
    },
)

_FOREIGN = OptimizerEntry("", "a reference", buffers=2)
# What every optimiser gets from other fields of the recipe, or what would change how it computes.
_RESERVED = ("params", "lr", "weight_decay", "foreach", "fused", "capturable", "differentiable")


def entry(optimizer: str) -> OptimizerEntry:
    """All that is written about an optimiser, or can be said of any reference."""
    return _FOREIGN if references.is_reference(optimizer) else OPTIMIZERS.entry(optimizer)


def check(optimizer: str, options: Mapping[str, Any]) -> None:
    """Make sure that an optimiser is known, or has the form of a reference, and may have these
    options; nothing is imported.

    Raises:
        ValueError: it is not, or may not; one line.
    """
    for name, value in options.items():
        plain(f"optimizer_options.{name}", value)
        if name in _RESERVED:
            raise ValueError(f"optimizer_options.{name} is not to be set: the recipe decides it")
    if references.is_reference(optimizer):
        references.check(optimizer, "optimizer")
        return
    known = OPTIMIZERS.entry(optimizer).options
    for name, value in arguments(optimizer, options).items():
        if name not in known:
            raise ValueError(_not_for(optimizer, name))
        _check_value(name, value, known[name])


def _not_for(optimizer: str, name: str) -> str:
    """Why an optimiser cannot have an option: it is another's, or nobody's."""
    known = OPTIMIZERS.entry(optimizer).options
    sought = "beta1" if name == BETAS else name
    others = [other for other in OPTIMIZERS if sought in OPTIMIZERS.entry(other).options]
    has = f"{optimizer}'s are {', '.join(known)}" if known else f"{optimizer} has none"
    if not others:
        return f"optimizer_options.{name} is not an option of {optimizer}: {has}"
    *some, last = others
    named = f"{', '.join(some)} and {last}" if some else last
    return (
        f'optimizer_options.{name} is an option of {named}; with optimizer = "{optimizer}" leave '
        f"it out ({has}), or where optimizer is searched, too, give it "
        f"when = \"optimizer = '{others[0]}'\""
    )


def _check_value(name: str, value: Any, option: Option) -> None:
    said = f"optimizer_options.{name} = {value!r}"
    if isinstance(option.default, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{said} must be true or false")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{said} must be a number")
    elif not option.low <= value < option.below:
        raise ValueError(f"{said} must be at least {option.low:g} and below {option.below:g}")


def arguments(optimizer: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with "beta1" and "beta2" instead of "betas", where an optimiser has these two.

    Raises:
        ValueError: "betas" is no list of two numbers, or stands beside one of them.
    """
    found = dict(options)
    if references.is_reference(optimizer) or "beta1" not in OPTIMIZERS.entry(optimizer).options:
        return found
    if (betas := found.pop(BETAS, None)) is not None:
        if both := [name for name in ("beta1", "beta2") if name in found]:
            raise ValueError(f"optimizer_options has {BETAS} and {both[0]}; take one of them out")
        if not isinstance(betas, list | tuple) or len(betas) != 2:
            raise ValueError(
                f"optimizer_options.{BETAS} = {betas!r} must be two numbers, as in [0.9, 0.999]"
            )
        found["beta1"], found["beta2"] = betas
    return found


def buffers(optimizer: str, options: Mapping[str, Any]) -> int:
    """How many tensors of a parameter's size an optimiser keeps for each parameter.

    Of a reference it is not known: two are counted, as Adam has them.
    """
    known = entry(optimizer)
    return known.buffers + sum(bool(options.get(name)) for name in known.grows)
