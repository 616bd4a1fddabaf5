"""Files kept where every machine can reach them: a shared folder or an S3 bucket, by URL."""

from __future__ import annotations

from tuneoff.search.store.artifacts.base import Artifacts, Store, Tick
from tuneoff.search.store.artifacts.urls import open_artifacts

__all__ = ["Artifacts", "Store", "Tick", "open_artifacts"]
