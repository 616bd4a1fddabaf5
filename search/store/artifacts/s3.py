"""An S3-compatible bucket as an artifact store."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote

from tuneoff.messages import first_line, how_to_install
from tuneoff.retry import Patience
from tuneoff.search.errors import ArtifactError
from tuneoff.search.store.artifacts.base import Artifacts, Failures

PASSING_CODES = ("RequestTimeout", "SlowDown", "Throttling", "ThrottlingException")


def open_bucket(
    url: str, parts: SplitResult, options: dict[str, str], patience: Patience
) -> Artifacts:
    """The store behind an ``s3:`` URL with these options (ArtifactError as ``open_artifacts``)."""
    unknown = sorted(options.keys() - {"endpoint_url", "region"})
    if not parts.netloc or parts.fragment or unknown:
        what = f"does not know {unknown[0]}" if unknown else "is no bucket's URL"
        raise ArtifactError(
            f"{url!r} {what}; write s3://BUCKET/PREFIX?endpoint_url=URL&region=NAME"
        )
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        raise ArtifactError(f"{url}: S3 needs boto3; install it: {how_to_install('s3')}") from None
    from optuna.artifacts import Boto3ArtifactStore

    config = Config(
        connect_timeout=10,
        read_timeout=30,
        retries={"mode": "standard", "total_max_attempts": 2},
        # Not every S3-compatible store knows the newer checksums; objects have a digest of ours.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        client = boto3.Session().client(
            "s3",
            endpoint_url=options.get("endpoint_url"),
            region_name=options.get("region"),
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise ArtifactError(f"{url}: cannot be used ({first_line(error)}); fix the URL") from None
    prefix = unquote(parts.path).strip("/")
    return Artifacts(
        url,
        # Our bytes need not outlive the upload, and must be read as they are sent.
        Boto3ArtifactStore(parts.netloc, client, avoid_buf_copy=True),
        prefix and f"{prefix}/",
        Failures((BotoCoreError, ClientError), _s3_passing, _s3_reason),
        patience,
    )


def _s3_passing(error: Exception) -> bool:
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        return status >= 500 or status in (408, 429) or _s3_code(error) in PASSING_CODES
    return isinstance(
        error,
        exceptions.ConnectionError
        | exceptions.HTTPClientError
        | exceptions.IncompleteReadError
        | exceptions.CredentialRetrievalError,
    )


def _s3_code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _s3_reason(error: Exception) -> str:
    from botocore import exceptions

    code = _s3_code(error)
    if code == "NoSuchBucket":
        return "there is no such bucket; make it, or fix the URL"
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
    if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
        return f"{code}; check the credentials, which must let us get, put, delete and list"
    message = getattr(error, "response", {}).get("Error", {}).get("Message")
    return f"{code}: {message}" if message else first_line(error)
