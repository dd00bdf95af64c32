"""Answers to requests for files, judged as they begin: the status, the range, and the first bytes where headers are odd."""

from __future__ import annotations

import re

import msgspec

from wheelgate.core.beginnings import is_web_page
from wheelgate.core.errors import CredentialRefused, UpstreamBadAnswer
from wheelgate.upstream.answers import FileAnswer, Hop, first_bytes
from wheelgate.upstream.hop_failures import HopFailures

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)


def check_file_answer(hop: Hop, failures: HopFailures, source: str, start: int | None, end: int | None) -> FileAnswer:
    """Take an answer to a request for a file, or for bytes ``start`` (included) to ``end`` (excluded) of it.

    Raises:
        UpstreamBadAnswer: it is neither the file nor that range.
    """
    response = hop.response
    if response.status not in ((200,) if start is None else (200, 206)):
        raise failures.bad(f"answered {response.status} for a file that it lists")
    total = response.content_length
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        total = int(match[3]) if match and match[3] != "*" else None
        last = min((e for e in (end, total) if e is not None), default=None)
        if match is None or int(match[1]) != start or (last is not None and int(match[2]) != last - 1):
            raise failures.bad("answered with another range of a file than it was asked for")
    return FileAnswer(response.status, hop.url, total, response, source)


async def judge_type(answer: FileAnswer, start: int | None) -> FileAnswer:
    """Look at the first bytes of a file of an odd type or coding: they, and not its headers, say what it is.

    pip does not undo a coding that it did not ask for either. Servers and networks of caches call an sdist's own compression
    a coding, and whatever they do not know a web page.

    Raises:
        CredentialRefused: it is a web page.
    """
    response, source = answer.response, answer.source
    coding = response.headers.get("Content-Encoding", "").strip().lower()[:20]
    is_page, is_coded = response.content_type == "text/html", coding not in ("", "identity")
    if not is_page and not is_coded:
        return answer
    is_beginning = answer.status == 200 or not start
    beginning = await first_bytes(response, f"source {source}", source) if is_beginning else b""
    doubt = UpstreamBadAnswer(f"source {source} sent a file in an encoding that was not asked for ({coding!r})", source=source)
    if is_page:
        doubt = CredentialRefused(
            f"source {source} answered with a web page (a sign-in page?) for a file that it lists", source=source
        )
        if is_web_page(beginning):
            raise doubt
    return msgspec.structs.replace(answer, beginning=beginning, coding=coding if is_coded else "", doubt=doubt)
