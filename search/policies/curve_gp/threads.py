"""Linear algebra on one thread, as a worker owns its cores and the matrices are small."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

# The number of threads is the process's: of two that limit it at once, the second to leave would
# restore the first one's limit.
_limiting = threading.RLock()


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread within, as before outside; one thread of Python at a time."""
    with _limiting, _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    # To look for the libraries takes longer than a suggestion.
    return ThreadpoolController()
