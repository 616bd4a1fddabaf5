"""Independent random streams by name, the same on every machine and with every version."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from numpy.typing import NDArray

from tuneoff.trainer.contract import RunSeed


def words(count: int, *parts: int | str) -> NDArray[np.uint64]:
    """``count`` random 64-bit words of the stream that ``parts`` name.

    Raw words, because NumPy promises that a bit generator's words never change, but not that
    ``Generator.permutation`` will make the same of them (NEP 19).

    Returns:
        uint64 array of shape (count,).
    """
    name = json.dumps(parts).encode()
    entropy = int.from_bytes(hashlib.sha256(name).digest(), "little")
    return np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(count)


def permutation(count: int, *parts: int | str) -> NDArray[np.int64]:
    """A random order of 0..count-1 from the stream that ``parts`` name, shape (count,)."""
    return words(count, *parts).argsort(kind="stable").astype(np.int64)


def stream(seed: RunSeed, name: str, *extra: int) -> tuple[int | str, ...]:
    """The name, as ``words`` takes it, of one of a run's streams, such as "order" of epoch 3."""
    return ("run", seed.study, seed.trial, seed.replica, name, *extra)


def torch_seed(seed: RunSeed, name: str, *extra: int) -> int:
    """A seed for ``torch.manual_seed``, 0 <= seed < 2**63."""
    return int(words(1, *stream(seed, name, *extra))[0] >> np.uint64(1))


def dropout(seed: RunSeed, step: int, rank: int) -> int:
    """A seed for ``torch.manual_seed`` before a step, from which dropout draws; each of the
    processes that share a batch has its own."""
    return torch_seed(seed, "dropout", step, rank)


def order(seed: RunSeed, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of an epoch's training images: a function of (seed, epoch), so that a run
    resumed in mid-epoch sees what it would have seen. Shape (count,)."""
    return permutation(count, *stream(seed, "order", epoch))


def flips(seed: RunSeed, epoch: int, count: int) -> NDArray[np.bool_]:
    """Which training images an epoch mirrors, each with probability 1/2. Shape (count,)."""
    return words(count, *stream(seed, "flip", epoch)) >= np.uint64(2**63)
