"""Records in plain JSON types."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """``value`` in plain JSON types: dataclasses become objects, NaN and infinity None.

    A dataclass may name in ``DERIVED`` the properties that are shown beside its fields, and in
    ``NOT_FINITE`` the fields that may hold NaN or infinity, for the schema.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if is_dataclass(value):
        names = [*(field.name for field in fields(value)), *getattr(value, "DERIVED", ())]
        return {name: plain(getattr(value, name)) for name in names}
    return str(value)
