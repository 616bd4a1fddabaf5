"""How our tables came to be what they are, one revision a step; Alembic runs them.

A revision repeats what it needs of the tables and words of its time: those of today may have
changed when it runs.
"""

from __future__ import annotations

VERSION_TABLE = "tuneoff_alembic_version"
"""Our own: Optuna's revisions are in ``alembic_version``."""
HEAD = "0003"
"""The newest revision in ``versions``."""
