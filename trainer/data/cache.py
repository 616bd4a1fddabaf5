"""The folder of all packs: each one made once, verified once, and then trusted while unchanged.

``tuneoff data prepare`` and ``data info`` always verify whole.
"""

from __future__ import annotations

from pathlib import Path

from tuneoff.trainer.data import stamped
from tuneoff.trainer.data.pack import FILES, Pack, read
from tuneoff.trainer.data.stamped import Build, Kind

_PACKS = Kind("the decoded images", "decoding again", FILES, read)


def load_or_build(
    cache: Path,
    key: str,
    build: Build,
    *,
    verify: bool = False,
) -> Pack:
    """The pack stored under a key, built first if it is missing or damaged.

    Args:
        cache: folder of all packs; see ``stamped.load_or_build``.
        key: names the data set and everything that changes its pixels; a valid file name.
        build: writes the pack, by a ``PackWriter``; what it raises passes through.
        verify: whether to verify a pack whole that has not changed since it was last verified.

    Raises:
        DataError: the pack cannot be written.
    """
    return stamped.load_or_build(_PACKS, cache, key, build, verify=verify)
