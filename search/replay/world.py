"""What a simulated training comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tuneoff.trainer.contract import RunSeed

Params = Mapping[str, Any]
"""The searched parameters of one configuration."""


class World(Protocol):
    """Errors of configurations, 0 to 1. Equal arguments give equal errors."""

    def search_error(self, params: Params, seed: RunSeed, epoch: int) -> float:
        """Validation error of a short run after an epoch (1-based)."""

    def diverges_in(self, params: Params, seed: RunSeed) -> int | None:
        """The epoch in which a short run diverges; None if it does not."""

    def full_error(self, params: Params, seed: RunSeed) -> float:
        """Validation error after full training."""

    def test_error(self, params: Params, seed: RunSeed) -> float:
        """Test error after full training."""
