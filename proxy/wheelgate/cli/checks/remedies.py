"""Remedies: what a failure of a source wants an operator to do, and where the source is, which its own sentence may not say."""

from __future__ import annotations

import re
from collections.abc import Callable

from wheelgate.cli.checks.subjects import Subject
from wheelgate.core.errors import (
    AddressRefused,
    Busy,
    CredentialRefused,
    LoopDetected,
    PageTooLarge,
    StoreError,
    UpstreamBadAnswer,
    UpstreamError,
    UpstreamUnavailable,
)

_Advise = Callable[[Subject], str]
_BY_WORDS: tuple[tuple[re.Pattern[str], _Advise], ...] = (
    (
        re.compile("answered 407|proxy answered 407"),
        lambda subject: f"store a connection of category HttpProxy for {subject.proxy or 'the proxy on the way'}",
    ),
    (re.compile("key vault"), lambda subject: f"correct {subject.vault or 'server.key_vault'}, or let this machine reach it"),
    (re.compile("does not speak TLS"), lambda subject: f"correct scheme or port in {subject.setting('url')}"),
    (re.compile("outbound proxy"), lambda subject: f"correct {subject.proxy or 'outbound_proxy'}, or start that proxy"),
    (
        re.compile("trustworthy certificate"),
        lambda subject: (
            f"correct the host in {subject.setting('url')}, or name the authority that signed its certificate: "
            f"{subject.setting('ca_file')} or server.ca_file"
        ),
    ),
    (re.compile("no connection is stored"), lambda _: "store one with wheelgate connection set"),
    (
        re.compile("lets only listed addresses in"),
        lambda _: "have this machine's address added to its IP allow list, or go out by an address that is on it",
    ),
    (re.compile("was refused by"), lambda _: "store one that is accepted with wheelgate connection set"),
    (re.compile("wants fewer requests|asked us to wait|answered 429"), lambda _: "wait, or give its connection a larger budget"),
    (
        re.compile("its name cannot be resolved"),
        lambda subject: f"correct the host in {subject.setting('url')}, or this machine's DNS",
    ),
    (re.compile("for a file that it lists|for a file$"), lambda _: "whoever runs it has to give them out to this machine"),
    (
        re.compile("nor among its file_hosts"),
        lambda subject: f"list that host in {subject.setting('file_hosts')} if this index keeps its files there",
    ),
    (
        re.compile("X-Forwarded-Host with the port"),
        lambda subject: f"or, if its files are meant to be there, list that host in {subject.setting('file_hosts')}",
    ),
    (re.compile("signed URL that"), lambda _: "let this machine reach that host"),
)
"""In the order in which they are tried. Errors of these kinds differ in their sentences alone."""
_SAID = re.compile(
    "[Cc]heck |[Cc]reate |correct |add it|put |restore|make a |give only|give it without|write |have it made|authorise"
    '|give it the url|needs |[Ll]ist it|[Hh]ave |list "|must send X-Forwarded-Proto'
)
"""An imperative in a sentence that ends with its remedy already."""


def explain_failure(subject: Subject, error: UpstreamError | StoreError) -> str:
    """Say what a source failed with, what to do, and where the source is."""
    sentence = str(error)
    if not _SAID.search(sentence):
        sentence = f"{sentence}: {_find_remedy(subject, sentence, error)}"
    return sentence if subject.place in sentence else f"{sentence} ({subject.place})"


def _find_remedy(subject: Subject, said: str, error: UpstreamError | StoreError) -> str:
    for words, advise in _BY_WORDS:
        if words.search(said):
            return advise(subject)
    url = subject.setting("url")
    match error:
        case Busy():
            return "nothing is known to be wrong; try again"
        case UpstreamUnavailable():
            return f"start it, or correct {url}; does a firewall or an outbound_proxy stand between it and this machine?"
        case LoopDetected() | AddressRefused():
            return f"set {url} to an index that answers for itself, or switch that off there"
        case CredentialRefused():
            return "store a connection for it with wheelgate connection set"
        case PageTooLarge():
            return f"set {url} to an index for installers"
        case UpstreamBadAnswer():
            return f"check that {url} is the one that installers use"
    return f"correct {url}, or make it readable for this machine"
