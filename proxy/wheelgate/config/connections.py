"""Connections: a stored credential and the place it belongs to, with the fields that Azure ML gives them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator

from wheelgate.config.section import Section
from wheelgate.config.values import Reference
from wheelgate.core.url_scope import UrlScope, place_of
from wheelgate.core.urls import UnsafeUrl, is_loopback_host, parse, without_user

AuthType = Literal["None", "PAT", "UsernamePassword", "Bearer", "ManagedIdentity", "ServicePrincipal", "SAS"]
Category = Literal["PythonFeed", "Git", "AzureBlob", "HttpProxy"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CLIENT = re.compile(r"[A-Za-z0-9-]{1,64}")
_SCOPE = re.compile(r"[a-z]+:[A-Za-z0-9/._-]{1,200}/\.default|[0-9a-fA-F-]{36}/\.default")
_NEEDS = {
    "None": (),
    "PAT": ("value",),
    "UsernamePassword": ("username", "value"),
    "Bearer": ("value",),
    "ManagedIdentity": (),
    "ServicePrincipal": ("tenant_id", "client_id", "value"),
    "SAS": ("value",),
}
_TAKES = {
    **_NEEDS,
    "PAT": ("value", "username"),
    "ManagedIdentity": ("client_id", "scope"),
    "ServicePrincipal": (*_NEEDS["ServicePrincipal"], "scope"),
}
_BOUND_TO_AN_ORGANISATION = ("PAT", "UsernamePassword", "Bearer")
_SCOPES = {"dev.azure.com": "499b84ac-1321-427f-aa17-267ca6975798/.default", "blob": "https://storage.azure.com/.default"}


def _target(value: object) -> object:
    """Azure DevOps shows URLs with a user name in them, which says nothing; a password does, and has no business there."""
    if not isinstance(value, str):
        raise ValueError("must be the URL that everything below it is signed in to")
    try:
        text = without_user(value.strip())
        url = parse(text)
    except UnsafeUrl as error:
        raise ValueError(f"cannot be used: {error}") from None
    if url.raw_query_string or url.raw_fragment:
        raise ValueError("must end with its path, without a query or fragment")
    return text


class Connection(Section):
    """A credential for a URL and everything below it."""

    name: str
    category: Category = "PythonFeed"
    target: Annotated[str, BeforeValidator(_target)]
    auth_type: AuthType = "None"
    value: Reference | None = None
    """Where the secret is: the token, password, client secret or signature."""
    username: str | None = None
    client_id: str | None = None
    tenant_id: str | None = None
    scope: str | None = None
    """What an Entra token is asked for; known for Azure DevOps and storage."""
    allow_http: bool = False

    @property
    def place(self) -> UrlScope:
        """What the credential belongs to."""
        return place_of(self.target)

    @property
    def entra_scope(self) -> str | None:
        """What an Entra token for this target is asked for, as far as that is known."""
        host = self.place.origin[1]
        known = "dev.azure.com" if self.place.is_devops else "blob" if host.endswith(".blob.core.windows.net") else ""
        return self.scope or _SCOPES.get(known)

    def contradictions(self) -> list[str]:
        """See :class:`~wheelgate.config.section.Section`."""
        problems = []
        if not _NAME.fullmatch(self.name):
            problems.append("name: must be letters, digits, dots, dashes and underscores, 63 at most")
        given = [field for field in ("value", "username", "client_id", "tenant_id", "scope") if getattr(self, field) is not None]
        problems += [
            f"{field}: is missing, and auth_type {self.auth_type} needs it"
            for field in _NEEDS[self.auth_type]
            if not getattr(self, field)
        ]
        problems += [f"{field}: auth_type {self.auth_type} has none" for field in given if field not in _TAKES[self.auth_type]]
        problems += [
            f"{field}: must be an identifier of Microsoft Entra"
            for field in ("client_id", "tenant_id")
            if getattr(self, field) and not _CLIENT.fullmatch(getattr(self, field))
        ]
        if self.username is not None and (":" in self.username or not self.username.isprintable()):
            problems.append("username: must be printable and without a colon (RFC 7617)")
        if self.scope is not None and not _SCOPE.fullmatch(self.scope):
            problems.append('scope: must look like "api://wheelgate/.default"')
        return problems + self._target_problems()

    def _target_problems(self) -> list[str]:
        scheme, host, _ = self.place.origin
        if self.auth_type in _BOUND_TO_AN_ORGANISATION and self.place.is_devops and not self.place.segments:
            return [
                f"target: {host} is shared by every organisation, and one's token would be offered to all: name yours, as in "
                f"https://{host}/ORGANISATION"
            ]
        if scheme == "http" and not self.allow_http and self.auth_type != "None" and not is_loopback_host(host):
            return [f"target: the secret would travel readable to {host}: use https, or say allow_http = true if that is meant"]
        if self.auth_type in ("ManagedIdentity", "ServicePrincipal") and self.entra_scope is None:
            return ['scope: is missing: what the identity\'s token is for, such as "api://wheelgate/.default"']
        return []


def covers(connections: Sequence[Connection], url: str) -> bool:
    """Whether some connection belongs to a URL, even one that says ``None``."""
    try:
        place = place_of(url)
    except UnsafeUrl:
        return False
    return any(connection.place.holds(place) for connection in connections)


def ties(connections: Sequence[Connection]) -> list[str]:
    """A sentence for each connection that another one makes ambiguous, beginning with its position."""
    problems = []
    for number, connection in enumerate(connections):
        for other in connections[:number]:
            if other.name == connection.name:
                problems.append(f"connection[{number}].name: {connection.name} is the name of another connection too")
            elif other.place == connection.place:
                problems.append(
                    f"connection[{number}].target: {connection.name} and {other.name} are for the same place: nobody could say "
                    "which of them is meant"
                )
    return problems
