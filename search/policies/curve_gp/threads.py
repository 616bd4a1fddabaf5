"""Linear algebra on one thread, as a worker owns its cores and the matrices are small."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

# BLAS has one number of threads for the whole process. If two Python threads limited it at once,
# the second one to leave its block would restore the limit that the first had set.
_limiting = threading.RLock()


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep BLAS to one thread inside the block, in which one Python thread at a time can be."""
    with _limiting, _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    # Kept, as looking for the libraries takes longer than a suggestion.
    return ThreadpoolController()
