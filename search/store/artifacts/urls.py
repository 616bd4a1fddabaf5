"""Which artifact store a URL means."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from tuneoff.retry import Patience
from tuneoff.search.errors import ArtifactError
from tuneoff.search.store.artifacts.base import Artifacts
from tuneoff.search.store.artifacts.folder import open_folder
from tuneoff.search.store.artifacts.s3 import open_bucket

HOW = "file:///ABSOLUTE/FOLDER or s3://BUCKET/PREFIX?endpoint_url=URL"
LONGEST_PAUSE = 5.0  # seconds


def open_artifacts(url: str, patience: Patience) -> Artifacts:
    """The artifact store behind a URL; nothing is asked of it yet, see ``Artifacts.check``.

    Args:
        url: "file:///ABSOLUTE/FOLDER", or "s3://BUCKET/PREFIX" with "?endpoint_url=URL" and
            "&region=NAME" where boto3 does not know them.
        patience: with a store that is away.

    Raises:
        ArtifactError: a bad URL, a folder that is not there, or boto3 is not installed. The
            message shows no password.
    """
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ArtifactError(f"the artifact store's URL cannot be read; write {HOW}") from None
    endpoint = options.get("endpoint_url", "")
    if "@" in parts.netloc or "@" in urlsplit(endpoint).netloc:
        raise ArtifactError(
            "the artifact store's URL holds credentials, which others could read; take them out "
            "and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    # A worker that is asked to leave hears of it between two pauses.
    patience = replace(patience, longest_pause=LONGEST_PAUSE)
    if parts.scheme == "file":
        return open_folder(url, parts, patience)
    if parts.scheme == "s3":
        return open_bucket(url, parts, options, patience)
    raise ArtifactError(f"{url!r} is no artifact store; write {HOW}")
