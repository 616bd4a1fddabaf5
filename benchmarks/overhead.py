"""What training costs more under tuneoff than bare, measured in turns."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping


def arguments(about: str | None) -> tuple[int, int]:
    """``--epochs`` and ``--rounds`` of the command line."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    chosen = parser.parse_args()
    return chosen.epochs, chosen.rounds


def seconds(run: Callable[[], object]) -> float:
    """How long a run takes."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def medians(
    bare: Callable[[int], float], ours: Callable[[int], float], epochs: int, rounds: int, ones: int
) -> Mapping[str, float]:
    """Median seconds of runs, which alternate, as the machine's speed changes.

    Args:
        bare, ours: seconds of a run of so many epochs.
        ones: runs of a single epoch in each round.

    Returns:
        By name: "bare" and "ours" of ``epochs`` epochs, "bare one" and "ours one" of one.
    """
    bare(1), ours(1)
    found: dict[str, list[float]] = {"bare": [], "ours": [], "bare one": [], "ours one": []}
    for _ in range(rounds):
        found["bare"].append(bare(epochs))
        found["ours"].append(ours(epochs))
        found["bare one"] += [bare(1) for _ in range(ones)]
        found["ours one"] += [ours(1) for _ in range(ones)]
    return {name: statistics.median(values) for name, values in found.items()}
