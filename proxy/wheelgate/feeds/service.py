"""Feed service: Azure DevOps' own account of a feed, read from its REST interface.

It tells what a feed's upstreams are, and of each version that was published to the feed or saved in it whence and when it came.
What a feed's page lists beyond that, nobody has saved yet: it comes from an upstream. Every answer is bounded, and what cannot be
read is a failure, never "nothing".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import quote

import msgspec
from yarl import URL

from wheelgate.core.devops import FEED_SERVICE_HOST, FeedPlace
from wheelgate.core.errors import UpstreamBadAnswer
from wheelgate.core.names import normalise_name, same_version_key
from wheelgate.runtime.cooperative import Steps, in_slices
from wheelgate.runtime.deadline import Deadline
from wheelgate.upstream.client import SourceClient

ANSWER_S = 4.5
"""For one question, all attempts together: the page, which is asked for next, needs time too."""
_JSON = "application/json"
_A_PAGE, _PAGES = 100, 40
_SLICE = 200
_NO_OLDER = datetime(2000, 1, 1, tzinfo=UTC)
"""An earlier date stands for "not known"."""
T = TypeVar("T")


class FeedUpstream(msgspec.Struct, frozen=True):
    """One upstream source of a feed, as far as packages for Python go."""

    id: str
    """In lower case, as versions name it."""
    name: str
    kind: str
    """``public`` (an index that is), ``internal`` (another feed); anything else this program does not know."""
    is_live: bool
    """Asked by the feed for what it lacks; ``False``: it was removed, and what was saved of it is still there."""
    place: FeedPlace | None = None
    """Of another feed that the same service tells of; ``None``: it is a public index, or the service does not say."""


class FeedDescription(msgspec.Struct, frozen=True):
    """A feed as the service describes it."""

    upstreams: tuple[FeedUpstream, ...] = ()
    """Of packages for Python, removed ones too; none: everything in it was published to it."""


class VersionFact(msgspec.Struct, frozen=True, array_like=True):
    """The service's account of one version that was published to a feed or saved in it."""

    key: str
    """As :func:`wheelgate.core.names.same_version_key` has it."""
    origin: str = ""
    """Identifier of the upstream that it was saved from; empty: it was published to the feed."""
    published: datetime | None = None
    """When it was published to the feed, or saved in it. Aware, UTC."""
    is_deleted: bool = False


class _Upstream(msgspec.Struct, rename="camel"):
    id: str
    name: str | None = None
    protocol: str | None = None
    location: str | None = None
    upstream_source_type: str | None = None
    internal_upstream_feed_id: str | None = None
    internal_upstream_project_id: str | None = None
    deleted_date: str | None = None
    status: str | None = None


class _Feed(msgspec.Struct, rename="camel"):
    id: str
    upstream_enabled: bool | None = None
    upstream_sources: list[_Upstream] | None = None


class _ListedVersion(msgspec.Struct, rename="camel"):
    version: str | None = None
    normalized_version: str | None = None
    publish_date: str | None = None
    is_deleted: bool | None = None
    direct_upstream_source_id: str | None = None


class _Package(msgspec.Struct, rename="camel"):
    name: str
    normalized_name: str | None = None
    protocol_type: str | None = None
    versions: list[_ListedVersion] | None = None


class _Packages(msgspec.Struct):
    value: list[msgspec.Raw]
    """Each is read by itself: a server may list everything that it has."""


_decode_package = msgspec.json.Decoder(_Package).decode


class FeedService:
    """The service as one source asks it, with the credential of that source's pages."""

    def __init__(self, source: str, client: SourceClient) -> None:
        """``source``: the operator's name, for sentences. ``client``: may ask the service's host, and nobody else."""
        self._source = source
        self._client = client

    async def describe(self, place: FeedPlace) -> FeedDescription:
        """Ask what a feed is.

        Raises:
            CredentialRefused: the identity may not ask.
            UpstreamError: it does not say.
        """
        feed = await self._ask(place.url, {}, _Feed, "what the feed is", self._begin())
        enabled = feed.upstream_enabled is not False
        return FeedDescription(
            tuple(
                FeedUpstream(
                    id=upstream.id.lower(),
                    name=(upstream.name or upstream.id)[:100],
                    kind=(upstream.upstream_source_type or "").lower()[:20],
                    is_live=enabled and not upstream.deleted_date and (upstream.status or "").lower() != "disabled",
                    place=_find_inner(place, upstream),
                )
                for upstream in feed.upstream_sources or ()
                if (upstream.protocol or "pypi").lower() == "pypi"
            )
        )

    async def list_versions(self, place: FeedPlace, project: str) -> tuple[VersionFact, ...]:
        """Ask what a feed has of a project, by its normalised name; nothing: nobody published or saved a version of it.

        Raises as :meth:`describe`.
        """
        query = {"protocolType": "pypi", "normalizedPackageName": project, "includeAllVersions": "true", "$top": str(_A_PAGE)}
        deadline = self._begin()
        for page in range(_PAGES):
            more = {"$skip": str(page * _A_PAGE)} if page else {}
            listed = await self._ask(f"{place.url}/packages", {**query, **more}, _Packages, f"what it has of {project}", deadline)
            try:
                package = await in_slices(_find_package(listed.value, project))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                raise self._bad(f"did not say what it has of {project} in a way that can be read") from None
            if package is not None:
                return await in_slices(_read_versions(package.versions or ()))
            if len(listed.value) < _A_PAGE:  # a server that knows no such filter lists everything
                return ()
        raise self._bad(f"lists more than {_PAGES * _A_PAGE} packages, and {project} is not among them")

    def _begin(self) -> Deadline:
        return Deadline.within(ANSWER_S, f"the feed service of source {self._source}")

    async def _ask(self, url: str, query: dict[str, str], form: type[T], what: str, deadline: Deadline) -> T:
        if f"://{FEED_SERVICE_HOST}/" in url:  # a server of one's own speaks the version that it has
            query = {**query, "api-version": "7.1"}
        asked = f"{url}?{'&'.join(f'{name}={quote(value)}' for name, value in query.items())}" if query else url
        answer = await self._client.page(asked, accept=_JSON, deadline=deadline)
        if answer.status == 404:
            raise self._bad(f"does not know the feed, or hides it, asked {what} (404)")
        try:
            return msgspec.json.decode(answer.body, type=form)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._bad(f"did not say {what} in a way that can be read ({answer.content_type[:60]})") from None
        finally:
            if answer.claim is not None:
                answer.claim.release()

    def _bad(self, what: str) -> UpstreamBadAnswer:
        return UpstreamBadAnswer(f"the feed service {what}", source=self._source)


def _find_inner(place: FeedPlace, upstream: _Upstream) -> FeedPlace | None:
    """Find another feed that an upstream is. Only the shared service has places that can be told from identifiers."""
    url = URL(place.feeds_url, encoded=True)
    if not upstream.internal_upstream_feed_id or url.host != FEED_SERVICE_HOST:
        return None
    said = (upstream.location or "").partition("://")[2].split("/")
    organisation = said[0] if len(said) > 1 and said[0] else url.raw_parts[1]
    home = [organisation, upstream.internal_upstream_project_id] if upstream.internal_upstream_project_id else [organisation]
    path = "/".join(quote(part, safe="") for part in home)
    feeds_url = f"https://{FEED_SERVICE_HOST}/{path}/_apis/packaging/feeds"
    return FeedPlace(feeds_url, quote(upstream.internal_upstream_feed_id, safe=""))


def _find_package(packages: list[msgspec.Raw], project: str) -> Steps[_Package | None]:
    """Find a project among packages. Raises MsgspecError, UnicodeDecodeError, RecursionError."""
    for raw in packages:
        package = _decode_package(raw)
        is_python = (package.protocol_type or "pypi").lower() == "pypi"
        if is_python and project in (normalise_name(package.name), package.normalized_name):
            return package
        yield
    return None


def _read_versions(versions: list[_ListedVersion] | tuple[()]) -> Steps[tuple[VersionFact, ...]]:
    facts: list[VersionFact] = []
    for number, version in enumerate(versions):
        if not number % _SLICE:
            yield
        if (said := version.normalized_version or version.version) is not None:
            origin = (version.direct_upstream_source_id or "").lower()
            facts.append(
                VersionFact(same_version_key(said), origin, _read_moment(version.publish_date), bool(version.is_deleted))
            )
    return tuple(facts)


def _read_moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment if moment >= _NO_OLDER else None
