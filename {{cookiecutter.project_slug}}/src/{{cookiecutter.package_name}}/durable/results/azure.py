"""Where finished tasks keep their results: a container of Azure Blob Storage.

Results outlive the worker and its disk, and every worker finds them. Prefect knows the container by a block on its
server. The block holds credentials only if the settings do, encrypted by the server; with an account's URL alone each
process uses the identity of its own machine (DefaultAzureCredential).

A failed request is tried again by the client itself, up to a minute and a half long. What it gives up is not stored:
Prefect completes the task all the same, and the run says so (`tasks.stored`).
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
"""What of this module is on this machine alone: nothing."""
NEEDS_SERVER = True
"""Whether the store is known by a block on Prefect's server."""
FOLDER_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$"


class ResultsSettings(ProjectSettings):
    """Where the results are, and who may keep them there."""

    results_block: str = Field(default=PROJECT, pattern=r"^[a-z0-9-]+$")
    """The name of the block by which the Prefect server knows the place of the results."""
    results_container: str = ""
    """The container in which finished tasks keep their results. It must exist."""
    results_folder: str = Field(default=PROJECT, pattern=FOLDER_PATTERN)
    """What the names of all results begin with."""
    results_connection_string: SecretStr = SecretStr("")
    """A connection string of the storage account, which names its endpoint too."""
    results_account_url: str = ""
    """Instead of it: the account's URL, for the machine's own identity."""


settings = ResultsSettings()

RESULTS = f"azure-blob-storage-container/{settings.results_block}"
"""What a task takes as `result_storage`: the slug of the saved block, for Prefect 3.9 refuses an unsaved one."""


def storage() -> AzureBlobStorageContainer:
    """Return the saved block: see `block.load`."""
    container: AzureBlobStorageContainer = load(AzureBlobStorageContainer, RESULTS)
    return container


def endpoints() -> dict[str, str]:
    """Return the settings with URLs that workers must reach, by the names of their variables."""
    return {f"{PREFIX}RESULTS_CONNECTION_STRING": settings.results_connection_string.get_secret_value()}


def register(replace: bool = False) -> str:
    """Prove by a write, a read and a delete that results can be kept in the container, and save its block. Idempotent.

    Args:
        replace: whether a block of that name may lead to another place until now.

    Returns:
        One line that says where the results are.

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
    # Prefect's block raises RuntimeError from what says that something is missing.
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
