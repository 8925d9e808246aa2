"""Where finished tasks keep their results: a bucket of Google Cloud Storage.

Results outlive the worker and its disk, and every worker finds them. Prefect knows the bucket by a block on its server.
The block holds credentials only if the settings do, encrypted by the server; without them each process uses the
service account of its own machine (Application Default Credentials).

A failed request is tried again by the client itself, up to two minutes long. What it gives up is not stored: Prefect
completes the task all the same, and the run says so (`tasks.stored`).
"""

import os

from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, RetryError, Unauthorized
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError
from prefect_gcp import GcpCredentials
from prefect_gcp.cloud_storage import GcsBucket
from pydantic import Field, SecretStr
from requests.exceptions import RequestException

from .block import load, reach, save
from .probe import StoreError, probe
from .settings import PREFIX, PROJECT, ProjectSettings

LOCAL = ""
"""What of this module is on this machine alone: nothing."""
NEEDS_SERVER = True
"""Whether the store is known by a block on Prefect's server."""
FOLDER_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"


class ResultsSettings(ProjectSettings):
    """Where the results are, and who may keep them there."""

    results_block: str = Field(default=PROJECT, pattern=r"^[a-z0-9-]+$")
    """The name of the block by which the Prefect server knows the place of the results."""
    results_bucket: str = ""
    """The bucket in which finished tasks keep their results. It must exist."""
    results_folder: str = Field(default=PROJECT, pattern=FOLDER_PATTERN)
    """What the names of all results begin with."""
    results_credentials: SecretStr = SecretStr("")
    """A service account's key, as JSON; empty: the Application Default Credentials of the machine."""
    results_endpoint: str = ""
    """The URL of another server than Google's, such as an emulator."""


settings = ResultsSettings()

RESULTS = f"gcs-bucket/{settings.results_block}"
"""What a task takes as `result_storage`: the slug of the saved block, for Prefect 3.9 refuses an unsaved one."""

if settings.results_endpoint:
    # The one way that Google's client takes another endpoint under Prefect's block, which has no parameter for it.
    os.environ["STORAGE_EMULATOR_HOST"] = settings.results_endpoint


def storage() -> GcsBucket:
    """Return the saved block: see `block.load`."""
    bucket: GcsBucket = load(GcsBucket, RESULTS)
    return bucket


def endpoints() -> dict[str, str]:
    """Return the settings with URLs that workers must reach, by the names of their variables."""
    return {f"{PREFIX}RESULTS_ENDPOINT": settings.results_endpoint}


def register(replace: bool = False) -> str:
    """Prove by a write, a read and a delete that results can be kept in the bucket, and save its block. Idempotent.

    Args:
        replace: whether a block of that name may lead to another place until now.

    Returns:
        One line that says where the results are.

    Raises:
        StoreError: no bucket is set, it does not exist, or it cannot be reached, written to or read.
    """
    if not settings.results_bucket:
        raise StoreError(f"results cannot be kept: set {PREFIX}RESULTS_BUCKET to the name of a bucket")
    place = f"gs://{settings.results_bucket}/{settings.results_folder}"
    reach(settings.results_endpoint or "https://storage.googleapis.com")
    try:
        bucket = _bucket()
        probe(bucket, lambda name: bucket.get_bucket().blob(f"{settings.results_folder}/{name}").delete())
    except (GoogleAPIError, GoogleAuthError, RequestException, ValueError) as error:
        raise StoreError(f"results cannot be kept in {place}: {_reason(error)}") from error
    save(bucket, RESULTS, _place, replace)
    return f"results are kept in {place}"


def _bucket() -> GcsBucket:
    key = settings.results_credentials.get_secret_value()
    try:
        credentials = GcpCredentials(service_account_info=key or None)
    except ValueError as error:
        raise StoreError(f"{PREFIX}RESULTS_CREDENTIALS is not a service account's key, in JSON") from error
    return GcsBucket(bucket=settings.results_bucket, bucket_folder=settings.results_folder, gcp_credentials=credentials)


def _place(bucket: GcsBucket) -> str:
    return f"gs://{bucket.bucket}/{bucket.bucket_folder.rstrip('/')}"


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
    return str(error).splitlines()[0]
