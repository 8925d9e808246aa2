"""Result storage in a bucket of S3, or of a server with its protocol.

Results outlive the worker and its disk, and every worker finds them. Prefect finds the bucket by a block on its server.
The block holds credentials only if the settings do, encrypted by the server. Without them, each process uses the role
or the profile of its machine.

The client retries failed requests for about half a minute. When it gives up, the result is not stored: Prefect still
completes the task, and the run reports it (`tasks.stored`).
"""

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from botocore.exceptions import ConnectionError as NoConnectionError
from prefect_aws import AwsCredentials, S3Bucket
from prefect_aws.client_parameters import AwsClientParameters
from pydantic import Field, SecretStr

from .block import load, save
from .probe import StoreError, probe
from .settings import PREFIX, PROJECT, ProjectSettings

LOCAL = ""
"""The data of this module that exists on this machine only: none."""
NEEDS_SERVER = True
"""Whether the result storage is a block on Prefect's server."""
FOLDER_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"


class ResultsSettings(ProjectSettings):
    """Where results are stored, and the credentials for it."""

    results_block: str = Field(default=PROJECT, pattern=r"^[a-z0-9-]+$")
    """The name of the storage block on the Prefect server."""
    results_bucket: str = ""
    """The bucket for the results of finished tasks. It must exist."""
    results_folder: str = Field(default=PROJECT, pattern=FOLDER_PATTERN)
    """The prefix of all results' names."""
    results_access_key: str = ""
    """The id of an access key; empty: the machine's role, profile or AWS variables."""
    results_secret_key: SecretStr = SecretStr("")
    """The key's secret."""
    results_region: str = ""
    """The bucket's region; empty: the one of the machine's profile or AWS variables."""
    results_endpoint: str = ""
    """The URL of a server other than Amazon's that speaks S3."""


settings = ResultsSettings()

RESULTS = f"s3-bucket/{settings.results_block}"
"""The `result_storage` of tasks: the slug of the saved block, because Prefect 3.9 refuses an unsaved one."""

ATTEMPTS = 8
"""Attempts per request. The pauses between them grow to 20 s each, and sum up to about half a minute (botocore's
standard mode)."""

# A HEAD request only gets the status, 403 or 404.
REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
MISSING = {"404", "NoSuchBucket"}


def storage() -> S3Bucket:
    """Load the saved block: see `block.load`."""
    bucket: S3Bucket = load(S3Bucket, RESULTS)
    return bucket


def endpoints() -> dict[str, str]:
    """Return the settings with URLs that workers must reach, by the names of their variables."""
    return {f"{PREFIX}RESULTS_ENDPOINT": settings.results_endpoint}


def register(replace: bool = False) -> str:
    """Test the bucket by a write, a read and a delete, and save its block. Idempotent.

    Args:
        replace: whether to replace a block of the same name that leads to another place.

    Returns:
        A line that says where the results are.

    Raises:
        StoreError: no bucket is set, it does not exist, or it cannot be reached, written to or read.
    """
    if not settings.results_bucket:
        raise StoreError(f"results cannot be kept: set {PREFIX}RESULTS_BUCKET to the name of a bucket")
    place = f"s3://{settings.results_bucket}/{settings.results_folder}"
    if bool(settings.results_access_key) != bool(settings.results_secret_key):
        raise StoreError(f"results cannot be kept: {PREFIX}RESULTS_ACCESS_KEY and _SECRET_KEY are set together or not")
    try:
        # Fewer attempts than in a run: a person waits for the answer.
        bucket = _bucket(attempts=2)
        client = bucket.credentials.get_client("s3")
        probe(
            bucket,
            lambda name: client.delete_object(Bucket=settings.results_bucket, Key=f"{settings.results_folder}/{name}"),
        )
    except (BotoCoreError, Boto3Error, ClientError, ValueError) as error:
        raise StoreError(f"results cannot be kept in {place}: {_reason(error)}") from error
    save(_bucket(ATTEMPTS), RESULTS, _place, replace)
    return f"results are kept in {place}"


def _bucket(attempts: int) -> S3Bucket:
    return S3Bucket(
        bucket_name=settings.results_bucket,
        bucket_folder=settings.results_folder,
        credentials=AwsCredentials(
            aws_access_key_id=settings.results_access_key or None,
            aws_secret_access_key=settings.results_secret_key or None,
            region_name=settings.results_region or None,
            aws_client_parameters=AwsClientParameters(
                endpoint_url=settings.results_endpoint or None,
                config={"retries": {"mode": "standard", "total_max_attempts": attempts}, "connect_timeout": 10},
            ),
        ),
    )


def _place(bucket: S3Bucket) -> str:
    return f"s3://{bucket.bucket_name}/{bucket.bucket_folder}"


def _reason(error: Exception) -> str:
    where = settings.results_endpoint or "Amazon"
    match error:
        case ClientError():
            code = error.response.get("Error", {}).get("Code", "")
            if code in MISSING:
                return f"{where} has no such bucket; make it, or set {PREFIX}RESULTS_BUCKET to another"
            if code in REFUSED:
                return (
                    f"{where} refuses it ({code}); check {PREFIX}RESULTS_ACCESS_KEY and {PREFIX}RESULTS_SECRET_KEY, or"
                    " the machine's role, which must allow s3:GetObject, s3:PutObject and s3:DeleteObject"
                )
        case NoCredentialsError():
            return f"no credentials; set {PREFIX}RESULTS_ACCESS_KEY and {PREFIX}RESULTS_SECRET_KEY, or give a role"
        case NoConnectionError() | HTTPClientError():
            return f"{where} cannot be reached; check the network and {PREFIX}RESULTS_ENDPOINT"
    return str(error).splitlines()[0]
