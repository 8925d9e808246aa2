"""Where finished tasks keep their results: a bucket of Google Cloud Storage.

Results outlive the worker and its disk, and every worker finds them. Prefect knows the bucket by a block on its server.
The block holds credentials only if the settings do, encrypted by the server; without them each process uses the
service account of its own machine (Application Default Credentials).

A failed request is tried again by the client itself, up to two minutes long. What it gives up is not stored: Prefect
completes the task all the same, and the flow says so (`durable.stored`).
"""

import os

from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, RetryError, Unauthorized
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from prefect_gcp import GcpCredentials
from prefect_gcp.cloud_storage import GcsBucket
from requests.exceptions import RequestException

from .block import load
from .probe import StoreError, probe
from .settings import PREFIX, settings

RESULTS = f"gcs-bucket/{settings.results_block}"
"""What a task takes as `result_storage`: the slug of the saved block, for an unsaved one is a TypeError."""

if settings.results_endpoint:
    # The one way that Google's client takes another endpoint under Prefect's block, which has no parameter for it.
    os.environ["STORAGE_EMULATOR_HOST"] = settings.results_endpoint


def storage() -> GcsBucket:
    """Return the saved block: see `block.load`."""
    return load(GcsBucket, RESULTS)


def register() -> str:
    """Prove by a write, a read and a delete that results can be kept in the bucket, and save its block. Idempotent.

    Returns:
        One line that says where the results are.

    Raises:
        StoreError: no bucket is set, it does not exist, or it cannot be reached, written to or read.
    """
    if not settings.results_bucket:
        raise StoreError(f"results cannot be kept: set {PREFIX}RESULTS_BUCKET to the name of a bucket")
    place = f"gs://{settings.results_bucket}/{settings.results_folder}"
    try:
        bucket = _bucket()
        probe(bucket, lambda name: bucket.get_bucket().blob(f"{settings.results_folder}/{name}").delete())
    except (GoogleAPIError, GoogleAuthError, RequestException, ValueError) as error:
        raise StoreError(f"results cannot be kept in {place}: {_reason(error)}") from error
    bucket.save(settings.results_block, overwrite=True)
    return f"results are kept in {place}"


def _bucket() -> GcsBucket:
    key = settings.results_credentials.get_secret_value()
    return GcsBucket(
        bucket=settings.results_bucket,
        bucket_folder=settings.results_folder,
        gcp_credentials=GcpCredentials(service_account_info=key or None),
    )


def _reason(error: Exception) -> str:
    where = settings.results_endpoint or "Google"
    match error:
        case NotFound():
            return f"{where} has no such bucket; make it, or set {PREFIX}RESULTS_BUCKET to another"
        case Forbidden() | Unauthorized() | RefreshError():
            return (
                f"{where} refuses it; check {PREFIX}RESULTS_CREDENTIALS, or the machine's service account, which needs"
                " the role Storage Object User and the permission storage.buckets.get"
            )
        case DefaultCredentialsError():
            return f"no credentials; set {PREFIX}RESULTS_CREDENTIALS to a service account's JSON key, or give a role"
        case RetryError() | RequestException() | GoogleAuthError():
            return f"{where} cannot be reached; check the network and {PREFIX}RESULTS_ENDPOINT"
        case ValueError():
            return f"{PREFIX}RESULTS_CREDENTIALS is not a service account's JSON key"
    return str(error)
