"""Connections: stored credentials, each for one URL and everything below it, with the fields of Azure ML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator

from wheelgate.config.section import Section
from wheelgate.config.value_types import Reference
from wheelgate.core.devops import suggest_feeds_url
from wheelgate.core.urls import UnsafeUrl, UrlScope, is_loopback_host, parse, parse_scope, without_user

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


def _parse_target(value: object) -> object:
    """Remove the user name that Azure DevOps puts into the URLs it shows; a password is refused."""
    if not isinstance(value, str):
        raise ValueError("must be the URL that the credential is for, with everything below it")
    try:
        text = without_user(value.strip())
        url = parse(text)
    except UnsafeUrl as error:
        raise ValueError(f"cannot be used: {error}") from None
    if url.raw_query_string or url.raw_fragment:
        raise ValueError("must end with its path, without a query or fragment")
    return text


class Connection(Section):
    """A stored credential for a URL and everything below it."""

    name: str
    category: Category = "PythonFeed"
    target: Annotated[str, BeforeValidator(_parse_target)]
    auth_type: AuthType = "None"
    value: Reference | None = None
    """Where the secret is: the token, password, client secret or signature."""
    username: str | None = None
    client_id: str | None = None
    tenant_id: str | None = None
    scope: str | None = None
    """Scope of an Entra token; known for Azure DevOps and storage."""
    allow_http: bool = False

    @property
    def place(self) -> UrlScope:
        """URLs that the credential is for."""
        return parse_scope(self.target)

    @property
    def entra_scope(self) -> str | None:
        """Scope of an Entra token for this target; ``None``: not known."""
        host = self.place.origin[1]
        known = "dev.azure.com" if self.place.is_devops else "blob" if host.endswith(".blob.core.windows.net") else ""
        return self.scope or _SCOPES.get(known)

    def find_contradictions(self) -> list[str]:
        problems = []
        if not _NAME.fullmatch(self.name):
            problems.append("name: must consist of letters, digits, dots, dashes and underscores, 63 at most")
        for field in ("value", "username", "client_id", "tenant_id", "scope"):
            given = getattr(self, field)
            if not given and field in _NEEDS[self.auth_type]:
                problems.append(f"{field}: is missing, but auth_type {self.auth_type} needs it")
            elif given is not None and field not in _TAKES[self.auth_type]:
                problems.append(f"{field}: auth_type {self.auth_type} does not use it")
            if given and field in ("client_id", "tenant_id") and not _CLIENT.fullmatch(given):
                problems.append(f"{field}: must be an ID from Microsoft Entra")
        if self.username is not None and (":" in self.username or not self.username.isprintable()):
            problems.append("username: must be printable, without a colon (RFC 7617)")
        if self.scope is not None and not _SCOPE.fullmatch(self.scope):
            problems.append('scope: must look like "api://wheelgate/.default"')
        return problems + self._check_target()

    def _check_target(self) -> list[str]:
        scheme, host, _ = self.place.origin
        if self.category == "PythonFeed" and (better := suggest_feeds_url(parse(self.target))) is not None:
            return [f"target: no feed is at {host}, so the credential would never be used: write {better}"]
        if self.auth_type in _BOUND_TO_AN_ORGANISATION and self.place.is_devops and not self.place.segments:
            return [
                f"target: {host} is shared by all organisations, so your token would be sent to any of them: add yours, as in "
                f"https://{host}/ORGANISATION"
            ]
        if scheme == "http" and not self.allow_http and self.auth_type != "None" and not is_loopback_host(host):
            return [
                f"target: the secret would be sent unencrypted to {self.target}: use https, or set allow_http = true if intended"
            ]
        if self.auth_type in ("ManagedIdentity", "ServicePrincipal") and self.entra_scope is None:
            return ['scope: is missing: the scope of the identity\'s token, such as "api://wheelgate/.default"']
        return []


def covers(connections: Sequence[Connection], url: str) -> bool:
    """Tell if some connection applies to a URL, even one whose auth_type is ``None``."""
    try:
        place = parse_scope(url)
    except UnsafeUrl:
        return False
    return any(connection.place.holds(place) for connection in connections)


def find_conflicts(connections: Sequence[Connection]) -> list[str]:
    """Find connections of the same name or place; each message begins with the position of the later one."""
    problems = []
    for number, connection in enumerate(connections):
        for other in connections[:number]:
            if other.name == connection.name:
                problems.append(f"connection[{number}].name: another connection is also named {connection.name}")
            elif other.place == connection.place:
                problems.append(
                    f"connection[{number}].target: {connection.name} and {other.name} both apply to "
                    f"{connection.target}: remove one of them"
                )
    return problems
