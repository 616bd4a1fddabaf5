"""Which configurations are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def key_of(params: Mapping[str, Any]) -> str:
    """Equal for equal parameters, in whatever order they are given."""
    return json.dumps(dict(params), sort_keys=True)
