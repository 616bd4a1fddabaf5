"""What a loop of one's own costs more under tuneoff than bare: per epoch, and per trial.

python benchmarks/own_loop.py --epochs 200
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from overhead import arguments, medians, seconds

from tuneoff import references
from tuneoff.trainer.contract import RunSeed
from tuneoff.trainer.own.loop import LoopTrainer
from tuneoff.trainer.own.recipe import OwnTraining
from tuneoff.trainer.recipe import HyperParams

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "own_loop"
PARAMS = {"lr": 0.1, "momentum": 0.9, "width": 64, "batch_size": 32}


class Bare:
    """Stands for the context where nobody listens."""

    resume, seed = None, 0

    def __init__(self, epochs: int) -> None:
        self.remaining = range(1, epochs + 1)

    def save(self, state: Any) -> None:
        """Nothing is kept."""

    def report(self, epoch: int, value: float, test: float) -> None:
        """Nobody is told."""


def main() -> None:
    """Print the medians."""
    epochs, rounds = arguments(__doc__)
    sys.path.insert(0, str(EXAMPLE))
    references.allow(["mytrain"])
    import mytrain  # type: ignore[import-not-found]

    def bare(epochs: int) -> float:
        return seconds(lambda: mytrain.train(PARAMS, Bare(epochs)))

    def ours(epochs: int) -> float:
        recipe = OwnTraining(epochs, "mytrain:train", params=PARAMS)
        with tempfile.TemporaryDirectory() as folder:
            run = LoopTrainer().train(recipe, HyperParams(), RunSeed(), Path(folder), lambda: False)
            return seconds(lambda: list(run))

    middle = medians(bare, ours, epochs, rounds, ones=5)
    epoch = (middle["ours"] - middle["bare"]) / epochs
    trial = middle["ours one"] - middle["bare one"]
    print(f"bare: {1e3 * middle['bare'] / epochs:.2f} ms an epoch")
    print(f"with checkpoint and report: {1e3 * epoch:.2f} ms more an epoch")
    print(f"a trial of one epoch: {1e3 * trial:.2f} ms more than {1e3 * middle['bare one']:.2f}")


if __name__ == "__main__":
    main()
