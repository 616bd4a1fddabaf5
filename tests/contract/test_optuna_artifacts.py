"""Facts about Optuna's artifact stores that ``tuneoff.search.store.artifacts`` relies on."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from optuna.artifacts import Boto3ArtifactStore, FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound


def test_the_folder_store_shows_half_an_object(tmp_path: Path) -> None:
    """Why we have a store of our own for folders."""
    store = FileSystemArtifactStore(tmp_path)
    store.write("checkpoint", io.BytesIO(b"old"))
    seen: list[bytes] = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            seen.append((tmp_path / "checkpoint").read_bytes())
            return super().read(size)

    store.write("checkpoint", Slow(b"new"))
    assert b"old" not in seen


@pytest.mark.slow
def test_the_bucket_store_calls_a_missing_bucket_a_missing_object(
    bucket_url: str, s3_server: Any
) -> None:
    """Why ``Artifacts`` looks at the cause."""
    for bucket, code in ((urlsplit(bucket_url).netloc, "NoSuchKey"), ("nowhere", "NoSuchBucket")):
        with pytest.raises(ArtifactNotFound) as caught:
            Boto3ArtifactStore(bucket, s3_server.client()).open_reader("some/key")
        cause = caught.value.__cause__
        assert isinstance(cause, ClientError)
        assert cause.response["Error"]["Code"] == code
        assert code in str(cause)


@pytest.mark.slow
def test_the_bucket_store_passes_on_what_reading_raises(bucket_url: str, s3_server: Any) -> None:
    """So a lost lease ends an upload, in one part or many, and leaves no object."""

    class LeaseLost(Exception):
        pass

    class Lost(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise LeaseLost

    client, bucket = s3_server.client(), urlsplit(bucket_url).netloc
    store = Boto3ArtifactStore(bucket, client, avoid_buf_copy=True)
    for size in (10, 20 * 2**20):
        with pytest.raises(LeaseLost):
            store.write("some/key", Lost(b"1" * size))
    assert "Contents" not in client.list_objects_v2(Bucket=bucket)
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
