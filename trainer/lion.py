"""Lion, an optimiser that steps by the sign of a moving average of gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Lion(torch.optim.Optimizer):
    """Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2).

    For a gradient g, its moving average m, which begins at 0, and weights w, a step is
    w <- w - lr * (sign(beta1 m + (1 - beta1) g) + weight_decay w), and then
    m <- beta2 m + (1 - beta2) g.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
    ) -> None:
        """
        Args:
            params: parameters, or groups of them as other optimisers take them.
            lr: learning rate.
            betas: beta1, for the step, and beta2, for the moving average; 0 to 1.
            weight_decay: see above.
        """
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step, on the parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            pairs = [(p, p.grad) for p in group["params"] if p.grad is not None]
            if pairs:
                parameters, gradients = map(list, zip(*pairs, strict=True))
                self._step(group, parameters, gradients)
        return loss

    def _step(
        self, group: dict[str, Any], parameters: list[Tensor], gradients: list[Tensor]
    ) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["average"] = torch.zeros_like(parameter)
        averages = [self.state[p]["average"] for p in parameters]
        beta1, beta2 = group["betas"]
        signs = torch._foreach_lerp(gradients, averages, beta1)
        torch._foreach_sign_(signs)
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, signs, alpha=-group["lr"])
        torch._foreach_lerp_(averages, gradients, 1 - beta2)
