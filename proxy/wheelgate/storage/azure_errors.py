"""Errors of Azure Blob Storage: its answers as the errors that everybody here goes by, and what is asked again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from azure.core.exceptions import AzureError, ClientAuthenticationError
from azure.core.pipeline import PipelineResponse
from azure.storage.blob.aio import LinearRetry

from wheelgate.core.errors import BlobChanged, BlobExists, BlobNotFound, StoreError, UpstreamError, WheelgateError
from wheelgate.credentials.azure_transport import MAX_PAUSE_S, UNANSWERED, read_pause_s
from wheelgate.credentials.shared_signature import SharedAccessSignature

FAILURES = (AzureError, TimeoutError, UpstreamError)
"""Of the service, and of a connection's credential, which may be missing for a moment."""
_ABSENT = frozenset({"BlobNotFound"})
# The second is Azure's word to the loser of two commits: the winner's threw the other's blocks away.
_PRESENT = frozenset({"BlobAlreadyExists", "InvalidBlockList"})
_CHANGED = frozenset({"ConditionNotMet", "TargetConditionNotMet"})
_REFUSED = frozenset(
    {
        "AuthenticationFailed",
        "AuthorizationFailure",
        "AuthorizationPermissionMismatch",
        "InsufficientAccountPermissions",
        "KeyBasedAuthenticationNotPermitted",
    }
)


_MALFORMED = frozenset({"InvalidAuthenticationInfo", "InvalidQueryParameterValue", "MissingRequiredQueryParameter"})
"""Azure's words, with 400, for fields of a signature that it cannot read."""
_NEEDS = {"list": ("l",), "put": ("cw",), "stage": ("cw",), "replace": ("w",), "facts": ("w",), "delete": ("d",)}
Explain = Callable[[str | None], str]
"""Says of a signature, by the code of a refusal, why it was refused and what to do."""


def explain_signature(signature: SharedAccessSignature | None, operation: str) -> Explain | None:
    """Make out of a signature what says why it was refused for an operation of the store; ``None``: there is none."""
    return None if signature is None else lambda code: signature.explain_refusal(code, _NEEDS.get(operation, ("r",)))


class _AnsweredByAnother(AzureError):
    """Answer that Azure Blob Storage did not give: a captive portal's, a balancer's, a proxy's."""


def check_answered_by_storage(response: PipelineResponse[Any, Any]) -> None:
    """Raise unless the service answered, which puts its identifier on every answer, errors included.

    The emulator leaves it out where a delegation key is asked for; what answers there shows itself by giving one.
    """
    is_key = "comp=userdelegationkey" in response.http_request.url
    if not is_key and "x-ms-request-id" not in response.http_response.headers:
        raise _AnsweredByAnother(f"{response.http_response.status_code} without x-ms-request-id")


class FewRetries(LinearRetry):
    """Retries that end soon: against a dead endpoint about a second to the first error; with the library's defaults 84 s.

    ``Retry-After``, which the library's own policy of storage does not read, is kept to, or nothing is asked again.
    """

    def __init__(self) -> None:
        super().__init__(backoff=0, retry_total=2, random_jitter_range=1)

    def increment(self, settings: dict[str, Any], request: Any, response: Any = None, error: Any = None, **more: Any) -> bool:
        """Tell whether the request is to be made again, after what :meth:`get_backoff_time` says."""
        settings["pause_s"] = read_pause_s(response)
        again: bool = super().increment(settings, request, response=response, error=error, **more)
        return again and (settings["pause_s"] or 0.0) <= MAX_PAUSE_S

    def get_backoff_time(self, settings: dict[str, Any]) -> float:
        """Seconds until then."""
        pause_s: float | None = settings.get("pause_s")
        return super().get_backoff_time(settings) if pause_s is None else pause_s


def build_blob_error(
    error: AzureError | TimeoutError | UpstreamError, path: str, whom: str, explain: Explain | None = None
) -> WheelgateError:
    """Build the error for what the service answered about one blob. The store is ``whom`` to clients; ``explain``: see below.

    Only a code of the service says that a blob is there, is not, or has changed. Statuses alone do not: a balancer answers
    404 as well, and 409 is also the word for a container that is being deleted.
    """
    code = _code_of(error)
    if code in _ABSENT:
        return BlobNotFound(f"the store has no {path}")
    if code in _PRESENT:
        return BlobExists(f"the store has {path} already")
    if code in _CHANGED:
        return BlobChanged(f"the store's {path} was changed by somebody else")
    return build_store_error(error, whom, explain)


def build_store_error(error: AzureError | TimeoutError | UpstreamError, whom: str, explain: Explain | None = None) -> StoreError:
    """Build the error for what the service answered: with the remedy where there is one, and without the container's URL.

    ``explain``: of a signature that somebody gave us; ``None``: we signed in as an identity, or with an account key.
    """
    if isinstance(error, UpstreamError):
        return StoreError(f"{whom} cannot be used: {error}")
    if isinstance(error, _AnsweredByAnother):
        return StoreError(
            f"{whom} is answered by something that is not Azure Blob Storage ({error}): check the URL, and any proxy on the way"
        )
    code = _code_of(error)
    if code == "ContainerNotFound":
        return StoreError(f"{whom}: there is no such container: create it, or correct the URL")
    if is_unanswered(error):
        return StoreError(f"{whom} cannot be reached, or does not answer in time: try again in a moment")
    status = getattr(error, "status_code", None)
    if explain is not None and (status in (401, 403) or code in _REFUSED or code in _MALFORMED):
        return StoreError(f"{whom} cannot be used: {explain(code)}")
    if isinstance(error, ClientAuthenticationError) or code in _REFUSED:
        return StoreError(
            f"the storage account of {whom} refused us ({code or 'no valid credential'}): the identity needs the role "
            "Storage Blob Data Contributor there (Reader suffices where nothing is written), or the account key or this "
            "machine's clock is wrong"
        )
    return StoreError(f"the storage account of {whom} answered {status or 'with an error'} ({code or type(error).__name__})")


def is_unanswered(error: Exception) -> bool:
    """True if the service said nothing, or cannot be reached."""
    return isinstance(error, (TimeoutError, *UNANSWERED))


def _code_of(error: Exception) -> str | None:
    """The service's error code (x-ms-error-code), which tells more than the status."""
    code = getattr(error, "error_code", None)
    return None if code is None else str(getattr(code, "value", code))
