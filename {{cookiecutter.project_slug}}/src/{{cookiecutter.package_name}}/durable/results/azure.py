"""Result storage in a container of Azure Blob Storage.

Results outlive the worker and its disk, and every worker finds them. Prefect finds the container by a block on its
server. The block holds credentials only if the settings do, encrypted by the server. With only an account URL, each
process uses the identity of its machine (DefaultAzureCredential).

The client retries failed requests for up to a minute and a half. When it gives up, the result is not stored: Prefect
still completes the task, and the run reports it (`tasks.stored`).
"""

import asyncio

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from prefect_azure import AzureBlobStorageContainer, AzureBlobStorageCredentials
from pydantic import Field, SecretStr

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
    results_container: str = ""
    """The container for the results of finished tasks. It must exist."""
    results_folder: str = Field(default=PROJECT, pattern=FOLDER_PATTERN)
    """The prefix of all results' names."""
    results_connection_string: SecretStr = SecretStr("")
    """A connection string of the storage account, which includes its endpoint."""
    results_account_url: str = ""
    """The account's URL, to use the machine's identity instead of a connection string."""


settings = ResultsSettings()

RESULTS = f"azure-blob-storage-container/{settings.results_block}"
"""The `result_storage` of tasks: the slug of the saved block, because Prefect 3.9 refuses an unsaved one."""


def storage() -> AzureBlobStorageContainer:
    """Load the saved block: see `block.load`."""
    container: AzureBlobStorageContainer = load(AzureBlobStorageContainer, RESULTS)
    return container


def endpoints() -> dict[str, str]:
    """Return the settings with URLs that workers must reach, by the names of their variables."""
    return {f"{PREFIX}RESULTS_CONNECTION_STRING": settings.results_connection_string.get_secret_value()}


def register(replace: bool = False) -> str:
    """Test the container by a write, a read and a delete, and save its block. Idempotent.

    Args:
        replace: whether to replace a block of the same name that leads to another place.

    Returns:
        A line that says where the results are.

    Raises:
        StoreError: no account is set, the container does not exist, or it cannot be reached, written to or read.
    """
    if not (settings.results_connection_string or settings.results_account_url) or not settings.results_container:
        raise StoreError(
            f"results cannot be kept: set {PREFIX}RESULTS_CONTAINER, and {PREFIX}RESULTS_CONNECTION_STRING"
            f" or {PREFIX}RESULTS_ACCOUNT_URL"
        )
    place = f"the container {settings.results_container}, folder {settings.results_folder}"
    try:
        container = _container()
        reach(container.credentials.get_client().url)
        probe(container, lambda name: asyncio.run(_delete(container.credentials, name)))
    except (AzureError, RuntimeError, ValueError) as error:
        raise StoreError(f"results cannot be kept in {place}: {_reason(error)}") from error
    save(container, RESULTS, _place, replace)
    return f"results are kept in {place}"


def _container() -> AzureBlobStorageContainer:
    credentials = (
        AzureBlobStorageCredentials(connection_string=settings.results_connection_string)
        if settings.results_connection_string
        else AzureBlobStorageCredentials(account_url=settings.results_account_url)
    )
    return AzureBlobStorageContainer(
        container_name=settings.results_container, base_folder=settings.results_folder, credentials=credentials
    )


def _place(container: AzureBlobStorageContainer) -> str:
    return f"the container {container.container_name}, folder {container.base_folder}"


async def _delete(credentials: AzureBlobStorageCredentials, name: str) -> None:
    path = f"{settings.results_folder}/{name}"
    async with credentials.get_blob_client(settings.results_container, path) as blob:
        await blob.delete_blob()


def _reason(error: Exception) -> str:
    # Prefect's block raises RuntimeError from the client's error if something is missing.
    match error.__cause__ if isinstance(error, RuntimeError) else error:
        case ResourceNotFoundError():
            return f"the account has no such container; make it, or set {PREFIX}RESULTS_CONTAINER to another"
        case HttpResponseError(status_code=401 | 403) | ClientAuthenticationError():
            return (
                f"the account refuses it; check {PREFIX}RESULTS_CONNECTION_STRING, or the machine's identity, which"
                " needs the role Storage Blob Data Contributor"
            )
        case ServiceRequestError() | ServiceResponseError():
            return "the account cannot be reached; check the network and the account's URL"
        case ValueError() if settings.results_connection_string:
            return f"{PREFIX}RESULTS_CONNECTION_STRING is not a connection string of a storage account"
    return str(error).splitlines()[0]
