"""Errors of Azure Blob Storage in one sentence for an operator, never the library's own long text."""

from __future__ import annotations

from azure.core.exceptions import AzureError, ClientAuthenticationError, ServiceRequestError, ServiceResponseError

from wheelgate.core.errors import StoreError

_REFUSED = frozenset(
    {
        "AuthenticationFailed",
        "AuthorizationFailure",
        "AuthorizationPermissionMismatch",
        "InsufficientAccountPermissions",
        "KeyBasedAuthenticationNotPermitted",
    }
)


def store_error(error: AzureError | TimeoutError, where: str) -> StoreError:
    """Build the error for what the service answered at ``where`` (the container's URL), with the remedy."""
    code = code_of(error)
    if code == "ContainerNotFound":
        return StoreError(f"the container {where} does not exist: create it, or correct the URL")
    if isinstance(error, TimeoutError | ServiceRequestError | ServiceResponseError):
        return StoreError(f"the storage account of {where} cannot be reached, or does not answer in time")
    if isinstance(error, ClientAuthenticationError) or code in _REFUSED:
        return StoreError(
            f"the storage account refused us at {where} ({code or 'no valid credential'}): the identity needs the role "
            "Storage Blob Data Contributor there (Reader suffices where nothing is written), or the account key is wrong"
        )
    status = getattr(error, "status_code", None)
    return StoreError(f"the storage account of {where} answered {status or 'with an error'} ({code or type(error).__name__})")


def code_of(error: Exception) -> str | None:
    """The service's error code (x-ms-error-code), which tells more than the status."""
    code = getattr(error, "error_code", None)
    return None if code is None else str(getattr(code, "value", code))
