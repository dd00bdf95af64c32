"""Checks of what clients get from a source: a file that it lists, what it states of files, a URL that is signed for a blob."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from itertools import takewhile

from wheelgate.cli.checks.findings import Finding
from wheelgate.cli.checks.remedies import explain_failure
from wheelgate.cli.checks.subjects import Subject
from wheelgate.client.signed_reading import try_signed_url
from wheelgate.core.errors import StoreError, UpstreamError
from wheelgate.core.model import File, ProjectPage, RemoteFile
from wheelgate.core.names import is_index_document
from wheelgate.core.protocols import BlobStore
from wheelgate.core.urls import UrlScope, display_host, parse, parse_scope


async def check_files(subject: Subject, page: ProjectPage, *, is_own: bool) -> list[Finding]:
    """Check that a listed file can be fetched, and say what the page leaves out. ``is_own``: the project is one of its own."""
    files = [file for file in page.files if isinstance(file.location, RemoteFile) and not is_index_document(file.filename)]
    if subject.client is None or not files:
        return []
    if (uncovered := _find_uncovered_file(files, subject)) is not None:
        return [subject.find("files", uncovered, ok=False)]
    # A feed keeps for good what it is asked for of its own upstreams.
    is_fetched = is_own or (subject.settings is not None and subject.settings.type != "devops")
    if is_fetched and (problem := await _fetch_beginning(files[-1], subject)) is not None:
        return [subject.find("files", problem, ok=False)]
    found = []
    of = f"{'the file' if len(files) == 1 else f'none of the {len(files)} files'} of {page.project}"
    if not any(file.stated_hashes for file in files):
        lacks = f"states no digests ({of}): what it sends is kept if it is whole and what its name says, as observed"
        found.append(subject.find("digests", lacks, doubtful=True))
    if not any(file.upload_time and "upload_time" not in file.observed for file in files):
        found.append(subject.find("times", f"sends no upload times ({of}): a file counts from when it was first seen here"))
    return found


async def _fetch_beginning(file: File, subject: Subject) -> str | None:
    """Fetch the first byte of a file; why that cannot be had, or ``None``."""
    location = file.location
    if not isinstance(location, RemoteFile) or subject.client is None:
        return None
    try:
        async with subject.client.file(location.url, accept=location.accept, start=0, end=1):
            return None
    except UpstreamError as error:
        host = display_host(parse(location.url))
        return f"its pages can be read, but {file.filename} cannot be fetched from {host}: {explain_failure(subject, error)}"


def _find_uncovered_file(files: list[File], subject: Subject) -> str | None:
    """Report a file on the host of a source with a connection that no connection applies to; ``None``: there is none."""
    is_covered: Callable[[str], bool] | None = subject.is_covered
    if is_covered is None or subject.settings is None or not is_covered(subject.settings.index_url):
        return None
    here = parse_scope(subject.settings.index_url)
    for file in files:
        if isinstance(file.location, RemoteFile) and not is_covered(file.location.url):
            there = parse_scope(file.location.url)
            if there.origin == here.origin:
                return (
                    f"its pages can be read, but its files cannot be fetched: no connection covers {file.filename}; one with "
                    f"target {_find_common_url(here, there)} would"
                )
    return None


def _find_common_url(here: UrlScope, there: UrlScope) -> str:
    """Find the longest URL that contains both."""
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(here.segments, there.segments, strict=False))
    shared = [segment for segment, _ in pairs]
    scheme, host, port = here.origin
    at = "" if port == {"https": 443, "http": 80}[scheme] else f":{port}"
    return "/".join([f"{scheme}://{host}{at}", *shared])


async def check_stored(subject: Subject) -> list[Finding]:
    """Write a blob where uploads go to, read what is signed by the URL that clients get, and leave all as it was.

    Raises:
        StoreError: it cannot be written, so that no upload would succeed; or not listed.
    """
    if subject.target is not None:
        store, probe = subject.target.store, f"state/probe-{uuid.uuid4().hex}"
        await store.put_if_absent(probe, b"wheelgate", {})
        try:
            return await _check_signature(subject, store, probe) if subject.signs else []
        finally:
            await store.delete(probe)
    if not subject.signs or subject.container is None:
        return []
    async for info in subject.container.list(""):
        if info.damage is None and info.size:
            return await _check_signature(subject, subject.container, info.path)
    return []


async def _check_signature(subject: Subject, store: BlobStore, path: str) -> list[Finding]:
    setting = (
        "store.delivery" if subject.settings is not None and subject.settings.type == "store" else subject.setting("delivery")
    )
    try:
        url = await store.signed_url(path)
        if url is None:
            is_folder = subject.settings is not None and not subject.place.startswith("http")
            unsigned = "has no key to sign URLs with, so its files are passed through this server"
            return [] if is_folder else [subject.find("signed", unsigned)]
        await try_signed_url(url, ca_file=subject.ca_file)
    except (UpstreamError, StoreError) as error:
        return [
            subject.find(
                "signed",
                f'{setting} = "redirect" sends clients to URLs that do not work ({subject.place}): {error}. Correct its account '
                f'key, the role of the identity, its firewall or this machine\'s clock; or set {setting} = "stream"',
                ok=False,
            )
        ]
    return [subject.find("signed", f"a signed URL of it works (clients are sent to {display_host(parse(url))})")]
