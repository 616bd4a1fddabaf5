"""Linear algebra on one thread, as a worker owns its cores and the matrices are small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread within, as before outside."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    # To look for the libraries takes longer than a suggestion.
    return ThreadpoolController()
