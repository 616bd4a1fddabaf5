"""Storage URLs as they may be shown: what is known to be harmless, and nothing else."""

from __future__ import annotations

import difflib
from typing import Final

import sqlalchemy as sa

from tuneoff.search.errors import StorageError

HARMLESS: Final = frozenset(
    (
        *("user", "dbname", "host", "hostaddr", "port", "service", "passfile", "application_name"),
        *("connect_timeout", "tcp_user_timeout", "options", "target_session_attrs"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("sslmode", "sslcert", "sslkey", "sslrootcert", "channel_binding", "client_encoding"),
        *("timeout", "mode", "uri", "cache"),  # SQLite's
    )
)
"""Keys of a URL's query whose values may be shown. Any other may be a password's, misspelt."""


def shown(url: sa.URL) -> str:
    """The URL with ``***`` for its password, and without every option that may hold one."""
    others = [key for key in url.query if key not in HARMLESS]
    return url.difference_update_query(others).render_as_string(hide_password=True)


def check_no_password_is_astray(raw: str, url: sa.URL) -> None:
    """Make sure that no part of a password is taken for another part of the URL.

    Args:
        raw: the URL as it was written.
        url: what was read of it, a Postgres URL.

    Raises:
        StorageError: it has an "@" too many, or an option that Postgres does not know; the message
            shows no value.
    """
    after_user = raw.partition("://")[2].partition(":")[2]
    if url.password is not None and "@" in after_user.partition("@")[2]:
        raise StorageError(
            "the storage URL has more than one @ after its user's name; write one that belongs to "
            "the password as %40 (and : as %3A, / as %2F)"
        )
    import psycopg

    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    for key in url.query:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            fix = f"did you mean {near[0]!r}?" if near else "take it out"
            raise StorageError(f"Postgres knows no option {key!r} of the storage URL; {fix}")
