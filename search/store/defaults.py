"""What holds of every database unless a user says otherwise; no imports, for ``--help``."""

from __future__ import annotations

DEFAULT_URL = "sqlite:///tuneoff.db"

PATIENCE_SECONDS = 600.0
"""How long workers, and commands that start them, wait for a database that is away."""

COMMAND_PATIENCE_SECONDS = 10.0
"""The same for a command that answers at once: somebody is watching."""
