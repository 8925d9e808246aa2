"""Result storage in a bucket of Google Cloud Storage.

Results outlive the worker and its disk, and every worker finds them. Prefect finds the bucket by a block on its server.
The block holds credentials only if the settings do, encrypted by the server. Without them, each process uses the
service account of its machine (Application Default Credentials).

The client retries failed requests for up to two minutes. When it gives up, the result is not stored: Prefect still
completes the task, and the run reports it (`tasks.stored`).
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
    results_credentials: SecretStr = SecretStr("")
    """A service account's key, as JSON; empty: the Application Default Credentials of the machine."""
    results_endpoint: str = ""
    """The URL of a server other than Google's, such as an emulator."""


settings = ResultsSettings()

RESULTS = f"gcs-bucket/{settings.results_block}"
"""The `result_storage` of tasks: the slug of the saved block, because Prefect 3.9 refuses an unsaved one."""

if settings.results_endpoint:
    # Prefect's block has no parameter for the endpoint: Google's client only takes it from this variable.
    os.environ["STORAGE_EMULATOR_HOST"] = settings.results_endpoint


def storage() -> GcsBucket:
    """Load the saved block: see `block.load`."""
    bucket: GcsBucket = load(GcsBucket, RESULTS)
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
