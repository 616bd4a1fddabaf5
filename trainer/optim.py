"""The optimiser, with a learning rate and a weight decay for each layer, and L2 towards the
pretrained weights."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tuneoff import references
from tuneoff.messages import first_line
from tuneoff.trainer import optimizer_choice, own_code
from tuneoff.trainer.errors import ModelError
from tuneoff.trainer.models import factory, freezing
from tuneoff.trainer.optimizer_choice import BETAS, OPTIMIZERS
from tuneoff.trainer.recipe import HyperParams, Recipe


class Sgd(torch.optim.SGD):
    """torch.optim.SGD, whose weight decay may pull towards other weights than 0.

    Attributes:
        references: for each parameter group the weights w0 to which its decay pulls, a tensor for
            each of its parameters; empty for a group whose decay pulls to 0. No part of the state
            dict: whoever makes the optimiser again makes them of the same model.
    """

    def __init__(self, groups: list[dict[str, Any]], **settings: Any) -> None:
        super().__init__(groups, **settings)
        self.references: list[list[Tensor]] = [[] for _ in groups]

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step, with ``weight_decay * (w - w0)`` added to gradients that have references."""
        for group, towards_ in zip(self.param_groups, self.references, strict=True):
            pairs = [
                (parameter.grad, reference)
                for parameter, reference in zip(group["params"], towards_, strict=False)
                if parameter.grad is not None
            ]
            if pairs:  # torch adds weight_decay * w
                gradients, towards = zip(*pairs, strict=True)
                torch._foreach_add_(gradients, towards, alpha=-group["weight_decay"])
        loss: float | None = super().step(closure)
        return loss


@dataclass(frozen=True, slots=True)
class _Kind:
    """What parameters of one group share; ``below`` is 0 throughout unless stages differ.

    Attributes:
        factor: of their L2 strength.
        below: how many stages they lie below the head, which itself has 0.
    """

    factor: float
    below: int


def sgd(model: nn.Module, recipe: Recipe, params: HyperParams) -> Sgd:
    """SGD with momentum, with a parameter group for each rate and strength of L2 regularisation.

    The paper's eq. 4 minimises the cross entropy + sum over layers l of lambda_l ||w_l||, with the
    norm squared, as in all implementations. In torch's convention lambda_l is half of
    ``params.weight_decay * decay_factor(recipe, name, w_l)``. Unless the recipe says otherwise the
    factor of every parameter is 1, also in batch normalisation and for biases.

    With ``recipe.l2_sp`` = alpha > 0 the penalty of Li, Grandvalet and Davoine (2018, eq. 3) takes
    its place: alpha/2 ||w_S - w_S0||^2 + beta/2 ||w_H||^2, where w_S are the weights below the
    head, w_S0 those that they begin with, w_H the head's, and beta is ``params.weight_decay``. The
    factors are those of eq. 4 there too.

    Parameters that no epoch trains (``recipe.frozen_stages``) are not among its own.

    Args:
        model: with the weights that it begins with, which are copied for L2-SP.
        recipe: names the options.
        params: the optimiser's numbers.
    """
    groups, pulled_to = _groups(model, recipe, params)
    optimizer = Sgd(
        groups,
        lr=params.lr,
        momentum=params.momentum,
        nesterov=recipe.nesterov and params.momentum > 0,  # torch refuses it without momentum
        fused=True,
    )
    optimizer.references = pulled_to
    # torch makes the momentum of a parameter when it gets its first gradient. The fused form cannot
    # do that if other parameters have one already, as a head has when frozen layers thaw. Made of
    # zeros beforehand it changes nothing: the first step is the same.
    every = [parameter for group in groups for parameter in group["params"]]
    for parameter in every if params.momentum else ():
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def optimizer(model: nn.Module, recipe: Recipe, params: HyperParams) -> torch.optim.Optimizer:
    """The recipe's optimiser, with a parameter group for each rate and strength of weight decay.

    The groups are those of ``sgd``, which says what their factors are. What weight decay is depends
    on the optimiser: added to the gradient (sgd, adam, rmsprop), or apart from it (adamw, lion).
    L2-SP is part of the loss: in every optimiser its gradient is added to that of the loss.

    Args:
        model: with the weights that it begins with, which are copied for L2-SP.
        recipe: names the optimiser and its options.
        params: the optimiser's numbers.

    Raises:
        ModelError: it is a reference to something else than an optimiser, or cannot be made.
    """
    if recipe.optimizer == "sgd":
        return sgd(model, recipe, params)
    groups, pulled_to = _groups(model, recipe, params)
    strengths = [group["weight_decay"] for group in groups]
    for group, towards in zip(groups, pulled_to, strict=True):
        if towards:
            group["weight_decay"] = 0.0
    made = _made(recipe, params, groups)
    if any(pulled_to):

        def pull(of: torch.optim.Optimizer, *_: Any) -> None:
            every = zip(of.param_groups, pulled_to, strengths, strict=True)
            for group, towards, strength in every:
                _pull(group["params"], towards, strength)

        made.register_step_pre_hook(pull)
    return made


@torch.no_grad()
def _pull(parameters: Sequence[Tensor], towards: Sequence[Tensor], strength: float) -> None:
    """Adds the gradient of ``strength / 2 * ||w - w0||^2`` to those of the parameters."""
    for parameter, reference in zip(parameters, towards, strict=False):
        if parameter.grad is not None:
            parameter.grad.add_(parameter - reference, alpha=strength)


def check_optimizer(recipe: Recipe) -> tuple[str, ...]:
    """Make sure that a reference's optimiser can be made, takes steps, can be kept and goes on.

    Returns:
        A line for people, if it does not heed its groups' weight_decay.

    Raises:
        ModelError: it cannot, in one line.
    """
    if not references.is_reference(recipe.optimizer):
        return ()
    said = f'optimizer = "{recipe.optimizer}"'
    plain, decayed = (_three_steps(recipe, said, decay) for decay in (0.0, 0.5))
    if not torch.equal(plain, decayed):
        return ()
    return (f"{said} does not heed weight_decay: it trains the same whatever its value",)


def _three_steps(recipe: Recipe, said: str, decay: float) -> Tensor:
    """Weights after three steps, the last of them by an optimiser that was given the state of the
    first; ModelError as ``check_optimizer``."""
    weight = nn.Parameter(torch.ones(2, 3))
    weight.grad = torch.ones(2, 3)

    def made() -> torch.optim.Optimizer:
        return _made(recipe, HyperParams(), [{"params": [weight], "weight_decay": decay}])

    first, second = made(), made()
    body = io.BytesIO()
    try:
        first.step()
        first.step()
        values = first.state_dict()
        torch.save(values, body)
    except Exception as error:
        raise ModelError(f"{said} fails in its first step: {_named(error)}") from error
    body.seek(0)
    try:
        saved = torch.load(body, weights_only=True)
    except Exception as error:
        raise ModelError(
            f"{said} keeps more than tensors, numbers and words in its state_dict, which a "
            f"checkpoint cannot have: {_named(error)}"
        ) from error
    try:
        second.load_state_dict(saved)
        second.step()
    except Exception as error:
        raise ModelError(f"{said} does not go on from its state_dict: {_named(error)}") from error
    return weight.detach()


def _made(
    recipe: Recipe, params: HyperParams, groups: list[dict[str, Any]]
) -> torch.optim.Optimizer:
    name = recipe.optimizer
    given = optimizer_choice.arguments(name, recipe.optimizer_options)
    if references.is_reference(name):
        return _foreign(name, params, groups, given)
    entry = OPTIMIZERS.entry(name)
    if {"beta1", "beta2"} <= entry.options.keys():
        betas = (given.pop(beta, entry.options[beta].default) for beta in ("beta1", "beta2"))
        given[BETAS] = tuple(betas)
    if entry.has_momentum:
        given["momentum"] = params.momentum
    if entry.is_fused:
        given["fused"] = True
    made: torch.optim.Optimizer = OPTIMIZERS.load(name)(groups, lr=params.lr, **given)
    return made


def _foreign(
    name: str, params: HyperParams, groups: list[dict[str, Any]], options: Mapping[str, Any]
) -> torch.optim.Optimizer:
    said = f'optimizer = "{name}"'
    call = own_code.load(name, "optimizer")
    if not callable(call):
        raise ModelError(
            f"{said} is no class or function, but a {type(call).__name__}; name a "
            "torch.optim.Optimizer"
        )
    try:
        made = call(groups, lr=params.lr, **options)
    except Exception as error:
        given = "".join(f", {key}={value!r}" for key, value in options.items())
        raise ModelError(
            f"{said} cannot be made with lr={params.lr:g}{given} ({_named(error)}); it has to take "
            "parameter groups first, and these by name"
        ) from error
    if not isinstance(made, torch.optim.Optimizer):
        raise ModelError(f"{said} is no torch.optim.Optimizer, but makes a {type(made).__name__}")
    return made


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _groups(
    model: nn.Module, recipe: Recipe, params: HyperParams
) -> tuple[list[dict[str, Any]], list[list[Tensor]]]:
    """The parameter groups, and for each the weights to which L2-SP pulls it (see ``Sgd``)."""
    below = freezing.below_the_head(model, recipe) if by_stage(recipe) else {}
    kinds: dict[_Kind, list[nn.Parameter]] = {}
    for name, parameter in freezing.trained(model, recipe):
        kind = _Kind(decay_factor(recipe, name, parameter), below.get(parameter, 0))
        kinds.setdefault(kind, []).append(parameter)
    pulled = [recipe.l2_sp > 0 and kind.below > 0 for kind in kinds]
    groups = [
        {
            "params": parameters,
            "weight_decay": (recipe.l2_sp if is_pulled else params.weight_decay) * kind.factor,
            "rate_factor": rate_factor(recipe, kind.below) if below else 1.0,
        }
        for (kind, parameters), is_pulled in zip(kinds.items(), pulled, strict=True)
    ]
    towards = [
        [parameter.detach().clone() for parameter in parameters] if is_pulled else []
        for parameters, is_pulled in zip(kinds.values(), pulled, strict=True)
    ]
    return groups, towards


def by_stage(recipe: Recipe) -> bool:
    """Whether the stages of a model have parameter groups of their own."""
    return recipe.head_lr_factor != 1 or recipe.layer_lr_decay != 1 or recipe.l2_sp > 0


def rate_factor(recipe: Recipe, below: int) -> float:
    """By what the learning rate of a stage is multiplied that lies so many below the head."""
    return recipe.layer_lr_decay**below if below else recipe.head_lr_factor


def decay_factor(recipe: Recipe, name: str, parameter: Tensor) -> float:
    """The factor of the weight decay of a parameter.

    It is that of the longest prefix of the parameter's name in ``recipe.layer_decay``, and 1 if
    there is none. Without ``recipe.decay_norms`` it is 0 for normalisation layers and biases, which
    are the parameters of one dimension.
    """
    if parameter.ndim < 2 and not recipe.decay_norms:
        return 0.0
    prefixes = [prefix for prefix in recipe.layer_decay if factory.starts_with(name, prefix)]
    return recipe.layer_decay[max(prefixes, key=len)] if prefixes else 1.0


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Makes ``rate``, times each group's factor, the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("rate_factor", 1.0)  # old checkpoints have none
