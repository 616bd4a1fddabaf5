"""What torch.load does with files that hold more than tensors."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn


def test_objects_are_refused_by_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 2), tmp_path / "x.pt")
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        torch.load(tmp_path / "x.pt", weights_only=True)


def test_a_namespace_is_read_where_it_is_called_safe(tmp_path: Path) -> None:
    torch.save({"args": argparse.Namespace(lr=0.1)}, tmp_path / "x.pt")
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        torch.load(tmp_path / "x.pt", weights_only=True)
    with torch.serialization.safe_globals([argparse.Namespace]):
        found = torch.load(tmp_path / "x.pt", weights_only=True)
    assert found == {"args": argparse.Namespace(lr=0.1)}
