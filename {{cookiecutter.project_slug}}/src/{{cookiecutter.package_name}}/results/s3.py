"""Where finished tasks keep their results: a bucket of S3, or of a server that speaks its protocol.

Results outlive the worker and its disk, and every worker finds them. Prefect knows the bucket by a block on its server.
The block holds credentials only if the settings do, encrypted by the server; without them each process uses the role or
the profile of its own machine.

A failed request is tried again by the client itself, about half a minute long. What it gives up is not stored: Prefect
completes the task all the same, and the flow says so (`durable.stored`).
"""

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
from botocore.exceptions import ConnectionError as NoConnectionError
from prefect_aws import AwsCredentials, S3Bucket
from prefect_aws.client_parameters import AwsClientParameters

from .block import load
from .probe import StoreError, probe
from .settings import PREFIX, settings

RESULTS = f"s3-bucket/{settings.results_block}"
"""What a task takes as `result_storage`: the slug of the saved block, for an unsaved one is a TypeError."""

# 403 and 404 are all that the answer to a HEAD request says.
REFUSED = {"403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
MISSING = {"404", "NoSuchBucket"}


def storage() -> S3Bucket:
    """Return the saved block: see `block.load`."""
    return load(S3Bucket, RESULTS)


def register() -> str:
    """Prove by a write, a read and a delete that results can be kept in the bucket, and save its block. Idempotent.

    Returns:
        One line that says where the results are.

    Raises:
        StoreError: no bucket is set, it does not exist, or it cannot be reached, written to or read.
    """
    if not settings.results_bucket:
        raise StoreError(f"results cannot be kept: set {PREFIX}RESULTS_BUCKET to the name of a bucket")
    place = f"s3://{settings.results_bucket}/{settings.results_folder}"
    bucket = _bucket()
    client = bucket.credentials.get_client("s3")
    try:
        probe(
            bucket,
            lambda name: client.delete_object(Bucket=settings.results_bucket, Key=f"{settings.results_folder}/{name}"),
        )
    except (BotoCoreError, Boto3Error, ClientError) as error:
        raise StoreError(f"results cannot be kept in {place}: {_reason(error)}") from error
    bucket.save(settings.results_block, overwrite=True)
    return f"results are kept in {place}"


def _bucket() -> S3Bucket:
    return S3Bucket(
        bucket_name=settings.results_bucket,
        bucket_folder=settings.results_folder,
        credentials=AwsCredentials(
            aws_access_key_id=settings.results_access_key or None,
            aws_secret_access_key=settings.results_secret_key or None,
            region_name=settings.results_region or None,
            aws_client_parameters=AwsClientParameters(
                endpoint_url=settings.results_endpoint or None,
                # boto3's own default is 5 attempts without a pause worth the name.
                config={"retries": {"mode": "standard", "total_max_attempts": 8}, "connect_timeout": 10},
            ),
        ),
    )


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
    return str(error)
