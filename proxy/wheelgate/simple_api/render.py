"""Renderer of pages to the bytes of a Simple API answer. Unknown keys are left out, never null."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from urllib.parse import quote

import msgspec

from wheelgate.core.digests import SHOWN, shown_digests
from wheelgate.core.file_list import TOGETHER
from wheelgate.core.model import File, ProjectPage
from wheelgate.simple_api import API_VERSION, API_VERSION_WITHOUT_SIZES, JSON

_SLICE_FILES = 4 * TOGETHER
_UNQUOTED = "+!"
"""Of versions, and good as they are in a path (RFC 3986, 3.3). simple-repository quotes once more what came quoted."""
_NEEDS_NO_QUOTING = re.compile(r"[A-Za-z0-9._~+!-]+", re.ASCII)


class _WireFile(msgspec.Struct, rename="kebab", omit_defaults=True, gc=False):
    filename: str
    url: str
    hashes: Mapping[str, str]
    requires_python: str | None = None
    size: int | None = None
    upload_time: datetime | None = None
    yanked: bool | str = False
    core_metadata: bool | Mapping[str, str] = False
    """Under this name alone: pip 22.3 to 23.1.2 cannot read a page whose JSON has the older one (PEP 714)."""
    provenance: str | None = None


_encode = msgspec.json.Encoder().encode


def file_url(prefix: str, project: str, filename: str) -> str:
    """The path-absolute URL of a file: no host, so that no Host header is ever believed; its last segment is the name."""
    name = filename if _NEEDS_NO_QUOTING.fullmatch(filename) else quote(filename, safe=_UNQUOTED)
    return f"{prefix}/files/{project}/{name}"


def render_page(page: ProjectPage, content_type: str, prefix: str) -> Iterator[bytes]:
    """Render a project page in one of the three content types, part by part: the whole of a large one would be 9 MB.

    ``prefix``: the path that everything is served below.
    """
    if content_type == JSON:
        return _page_json(page, prefix)
    return _page_html(page, prefix)


def _page_json(page: ProjectPage, prefix: str) -> Iterator[bytes]:
    """Render a page whose version comes last: it is known once every file was seen to have a size, or one not to (PEP 700)."""
    head: dict[str, object] = {"name": page.project}
    has_sizes = True
    if page.status is not None:
        head["project-status"] = page.status if page.status.reason else {"status": page.status.status}
    head["versions"] = page.versions
    before = _encode(head)[:-1] + b',"files":['
    for files in _slices(page.files):
        wires = [
            _WireFile(
                file.filename,
                url,
                stated if len(stated := file.hashes) == 1 and "sha256" in stated else shown_digests(stated),
                file.requires_python,
                file.size,
                file.upload_time,
                False if file.yanked is None else file.yanked or True,
                False if file.core_metadata is None else file.core_metadata or True,
                file.provenance,
            )
            for file, url in zip(files, _file_urls(files, page.project, prefix), strict=True)
        ]
        yield before + _encode(wires)[1:-1]
        before, has_sizes = b",", has_sizes and all(wire.size is not None for wire in wires)
    version = API_VERSION if has_sizes else API_VERSION_WITHOUT_SIZES
    yield (b"" if page.files else before) + b'],"meta":' + _encode({"api-version": version}) + b"}"


def _slices(files: Sequence[File]) -> Iterator[Sequence[File]]:
    return (files[start : start + _SLICE_FILES] for start in range(0, len(files), _SLICE_FILES))


def _file_urls(files: Sequence[File], project: str, prefix: str) -> list[str]:
    """The URL of each file (:func:`file_url`). Where no name needs quoting, as nearly always, one look shows it."""
    names = [file.filename for file in files]
    if not _NEEDS_NO_QUOTING.fullmatch("".join(names)):
        return [file_url(prefix, project, name) for name in names]
    folder = file_url(prefix, project, "")
    return [folder + name for name in names]


def _page_html(page: ProjectPage, prefix: str) -> Iterator[bytes]:
    yield _HEAD.format(title=f"Links for {page.project}", status=_status_metas(page)).encode()
    for files in _slices(page.files):
        urls = _file_urls(files, page.project, prefix)
        yield "".join([_anchor(file, url) for file, url in zip(files, urls, strict=True)]).encode()
    yield _FOOT.encode()


_HEAD = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    f'<meta name="pypi:repository-version" content="{API_VERSION}">\n'
    "{status}<title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n"
)
_FOOT = "</body>\n</html>\n"


def _status_metas(page: ProjectPage) -> str:
    if page.status is None:
        return ""
    metas = f'<meta name="pypi:project-status" content="{escape(page.status.status)}">\n'
    if page.status.reason:
        metas += f'<meta name="pypi:project-status-reason" content="{escape(page.status.reason)}">\n'
    return metas


def _anchor(file: File, url: str) -> str:
    fragment = next((f"#{name}={file.hashes[name]}" for name in SHOWN if name in file.hashes), "")
    attributes = [f'href="{url}{fragment}"']
    if file.requires_python is not None:
        attributes.append(f'data-requires-python="{escape(file.requires_python)}"')
    if file.yanked is not None:
        attributes.append(f'data-yanked="{escape(file.yanked)}"')
    if file.core_metadata is not None:
        digest = file.core_metadata.get("sha256")
        value = f"sha256={digest}" if digest else "true"
        attributes += [f'data-core-metadata="{value}"', f'data-dist-info-metadata="{value}"']
    if file.provenance is not None:
        attributes.append(f'data-provenance="{escape(file.provenance)}"')
    return f"<a {' '.join(attributes)}>{escape(file.filename)}</a><br>\n"


def render_names(names: Iterable[Sequence[bytes]], content_type: str, prefix: str) -> Iterator[bytes]:
    """Render the project list in one of the three content types, part by part.

    ``names``: sorted, some at a time. None of them make a part too, an empty one, so that whoever takes the parts may pause.
    """
    if content_type == JSON:
        before = _encode({"meta": {"api-version": API_VERSION}})[:-1] + b',"projects":['
        for some in names:
            yield before + b'{"name":"' + b'"},{"name":"'.join(some) + b'"}' if some else b""
            before = b"," if some else before
        yield before.removeprefix(b",") + b"]}"
        return
    yield _HEAD.format(title="Simple index", status="").encode()
    before = f'<a href="{prefix}/simple/'.encode()
    for some in names:
        yield b"".join([b'%b%b/">%b</a><br>\n' % (before, name, name) for name in some])
    yield _FOOT.encode()
