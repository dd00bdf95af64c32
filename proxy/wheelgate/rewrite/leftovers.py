"""The search of a whole text for what no format explained: credentials, signed URLs, and addresses of indexes, by line.

It errs towards naming. What it does not find is not thereby clean; what it finds is left to a person, and fails `--check`.
"""

from __future__ import annotations

import re
from base64 import b64decode
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence

from wheelgate.core.urls import without_user_info
from wheelgate.rewrite.classify_urls import AmbiguousUrl, UrlClassifier, UrlOwner, holds_secret
from wheelgate.rewrite.places import LineNumbers, Spans, Value
from wheelgate.rewrite.shell_places import list_urls

_ANY_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://\S+")
# A colon in the authority, and no port behind it: the end of the URL is missing, or stands elsewhere.
_USER = r"[^\s/?#@:\"'$%{}<>()\[\]]*"
_TAIL = r"[^\s/?#@\"'$%{}<>()\[\]*]"
_BROKEN_AUTHORITY = re.compile(rf"https?://{_USER}:(?=[0-9]*[^\s/?#@\"'$%{{}}<>()\[\]*0-9]){_TAIL}{{4,}}", re.IGNORECASE)
_NO_SCHEME = re.compile(r"(?<![A-Za-z0-9+.:/-]):?//[^\s/?#@\"']{0,200}:(?![$%{<])[^\s/?#@\"']{1,200}@")
_ENCODED = re.compile(r"(?:%3A|:)(?:%2F|/){2}[^\s/\"'&@%]{0,200}%3A(?!%|\$)[^\s/\"'&@%]{1,200}%40", re.IGNORECASE)
_SIGNATURE = re.compile(r"(?<![A-Za-z])sig=(?![$<{*%])[^\s&\"'<>]", re.IGNORECASE)
_TOKENS = re.compile(
    r"(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{20}|github_pat_[A-Za-z0-9_]{20}|gl(?:pat|dt|cbt|rt|ptt|ft|soat|agent|oas|imt|ffct)-[A-Za-z0-9_-]{16}|pypi-AgEI[A-Za-z0-9_-]{20}"
    r"|wgt_[A-Za-z0-9_-]{8}|AKIA[A-Z0-9]{16}|AccountKey=[A-Za-z0-9+/]{20}|SharedAccessSignature=s[a-z]=|hf_[A-Za-z]{30}"
    r"|npm_[A-Za-z0-9]{30}|dckr_pat_[A-Za-z0-9_-]{20}|AKCp[A-Za-z0-9]{20}|cmVmdGtu[A-Za-z0-9]{20}|[A-Za-z0-9_~.-]{3}8Q~[A-Za-z0-9_~.-]{30}"
    r"|eyJ[A-Za-z0-9_-]{10,2000}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{10}"
    # Azure DevOps' own: 84 characters with a word in them, before that 52 in base 32; and the 88 of a storage account's key.
    r"|[A-Za-z0-9]{76}AZDO[A-Za-z0-9]{4}(?![A-Za-z0-9])|(?=[a-z]{0,51}[2-7])[a-z2-7]{52}(?![A-Za-z0-9_])"
    r"|(?<![+/=])(?<!sha512[-:=])[A-Za-z0-9+/]{86}==)|-----BEGIN (?:[A-Z]{2,10} )?PRIVATE KEY-----"
)
_QUERY = re.compile(
    r"[?&](?:(?:code|key|subscription-key|ocp-apim-subscription-key)=(?=[^\s&\"'<>]{12})|(?:private_token|access_token|jwt|auth|signature"
    r"|x-(?:amz|goog)-(?:signature|security-token))=(?=[^\s&\"'<>]{6}))(?![$%<{*([])",
    re.IGNORECASE,
)
_RANDOM_PART = re.compile(r"/(?=[^/]*[a-z])(?=[^/]*[A-Z])(?=[^/]*[0-9][^/]*[0-9])[A-Za-z0-9_-]{24,200}(?=[/?#]|$)")
"""In the path of a URL: letters of both cases among digits, as neither names nor digests have, but ids of documents too."""
_DISTRIBUTION = re.compile(r"\.(?:whl|tar\.gz|zip)$", re.IGNORECASE)
_ENCODED_WORD = re.compile(
    r"(?<![A-Za-z0-9+/=_-])(?![0-9a-fA-F]{16,}(?![A-Za-z0-9+/=]))[A-Za-z0-9+/]{16,400}={0,2}(?![A-Za-z0-9+/=_-])"
)
_PAIR = re.compile(r"[\w.@-]{0,60}:[!-~]{6,200}", re.ASCII)
_AUTH = re.compile(r"auth\\?[\"']?[ \t]*[:=][ \t]*\\?[\"']?$", re.IGNORECASE)
_HEADER = re.compile(
    r"Authorization[\"']?\s*[:=]\s*[\"']?(?:Basic|Bearer|Token)\s+(?![$<{%])[A-Za-z0-9+/=_.~-]{6}", re.IGNORECASE
)
_NETRC = re.compile(
    r"\b(?:machine(?:\s|\\n)+[^\s\\]{1,200}(?:\s|\\n)[\s\S]{0,200}?(?:\b|\\n)|default(?:\s|\\n)+login(?:\s|\\n)+[^\s\\]{1,100}(?:\s|\\n)+)"
    r"password(?:\s|\\n)+(?![$<{%])\S",
    re.IGNORECASE,
)
_COMMANDS = re.compile(
    r"(?:\bcurl\b[^\n]{0,300}?\s(?:-u|--user)[ \t=]*[\"']?[^\s:\"'$]{0,100}:|\b(?:twine|login)\b[^\n]{0,300}?\s-p[ \t=]+[\"']?"
    r"|\bconfig\s+(?:pypi-token\.\S{1,100}|http-basic\.\S{1,100}\s+\S{1,100})\s+[\"']?"
    r"|\bConvertTo-SecureString\s+(?:-String\s+)?[\"'])(?![\s\"'$%<{(*-])[^\s\"']{6}",
    re.IGNORECASE,
)
# A name that says "secret", then a literal of some length: no reference to a variable, no placeholder, no word of a language.
_NAMES = (
    r"(?:pass(?:word|wd|phrase)?|pwd|secret|pypi_token_[a-z0-9_]{1,64}|token|pat|(?:api|account|access|storage|signing)[_-]?key|sas"
    r"|credential)"
)
# Before it stands a mark, or it is the last word of a name without one: feedToken, PGPASSWORD.
_BEGIN = r"(?:^|[\s,;:{\[(\"'_.?&=$-]|(?-i:(?<=[a-z0-9])(?=[A-Z]))|(?<=[a-z0-9])(?=password|passwd|secret))"
_ASSIGNED = re.compile(
    rf"(?:{_BEGIN}{_NAMES}\\?[\"']?[ \t]*(?:=>|[:=])[ \t]*"
    rf"|^[ \t]*ENV[ \t]+(?:[a-z0-9]{{1,30}}_){{0,5}}{_NAMES}[ \t]+"
    rf"|(?<![\w-])--?(?:[a-z]+[_-]){{0,3}}{_NAMES}[\"',\s]+)"
    r"\\?[\"']?(?![\s\"'<{\[&!|>=]|\\[\"']|\$(?:[A-Za-z_{(\[$?@#*]|[0-9](?![^\s\"']{5}))|%(?:[A-Za-z_]\w{0,60}%|[({%])|\([^\n]{0,200}\)|\([A-Za-z_][\w.]*[(\[.]"
    r"|\*(?:\*|[\w.-]*(?=[\s,;}\]\"'\\]|\Z)))"
    r"(?!(?:true|false|null|none|env:|file:|keyvault:|secret:|secrets\.|os\.|variables|parameters|inputs|https?:|read|write"
    r"|(?-i:[A-Z][A-Za-z]{1,20}-[A-Z][a-z]))"
    r"(?![A-Za-z0-9_]*[0-9]))"
    r"[^\s\"'\\,;)}\]]{6,}",
    re.IGNORECASE | re.MULTILINE,
)
_ENTRY_POINTS = (
    *("project.scripts.*", "project.gui-scripts.*", "project.entry-points.*.*"),
    *("tool.poetry.scripts.*", "tool.poetry.plugins.*.*"),
)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_INDEX_PATH = re.compile(r"/simple/?(?:[?#]|$)|/api/pypi/|/_packaging/[^/]+/pypi(?:/|$)|/-/packages/pypi/", re.IGNORECASE)
_FEED = re.compile(
    r"(?:pkgs\.dev\.azure\.com|(?<![A-Za-z0-9-])[A-Za-z0-9-]{1,64}\.pkgs\.visualstudio\.com)(?::\d+)?"
    r"/[^\s\"'`<>]{0,300}_packaging/[^\s\"'`<>]{0,300}",
    re.IGNORECASE,
)
_CONTINUATION = re.compile(r"[\\^`]\r?\n[ \t]*")
_COMMENT = re.compile(r"(?:^|\s)#|^\s*;")
_OURS = (UrlOwner.FILE, UrlOwner.NO_FILE)

CREDENTIAL = "a credential"
SIGNED = "a signature"
INDEX = "an address that packages come from"


def find_leftovers(
    text: str,
    values: Iterable[Value],
    explained: Collection[tuple[int, int]],
    kept: Collection[str],
    ours: UrlClassifier,
    *,
    has_comments: bool = True,
) -> list[tuple[int, str]]:
    """Find the things that are left in a text, each with its line, counted from 1.

    ``explained``: the pieces of the text that a format explains; ``kept``: the addresses of which it was decided that they stay;
    ``has_comments``: a hash sign begins a comment, whose addresses no tool reads. Credentials are found everywhere.
    """
    lines, spans, values = LineNumbers(text), Spans(explained), list(values)
    commands = Spans((value.start, value.end) for value in values if _is_entry_point(value))
    names = {value.path[:-1]: value.text for value in values if value.key == "name"}
    found = {(lines.find(at), thing) for at, thing in _find_secrets(text) if not commands.overlap(at, at + 1)}
    found |= {(lines.find(at), INDEX) for at in _find_addresses(text, spans, kept, ours, has_comments=has_comments)}
    found |= {(lines.find(at), thing) for at, thing in _find_joined(text)}
    for value in values:
        line = lines.find(value.start)
        name = names.get(value.path[:-1], "") if value.key == "value" else value.key
        content = value.text.strip()
        if "\n" not in content and _ASSIGNED.search(f"{name}: {content}") and not _is_entry_point(value):
            found.add((line, CREDENTIAL))
        if value.text == text[value.start : value.end]:
            continue  # else: escapes may hide what it is
        found |= {(line, thing) for _, thing in _find_secrets(value.text)}
        is_explained = spans.overlap(value.start, value.end)
        if not is_explained and any(True for _ in _find_addresses(value.text, Spans(()), kept, ours, has_comments=True)):
            found.add((line, INDEX))
    return sorted(found)


def _is_entry_point(value: Value) -> bool:
    """Recognise the function that a command of a project runs, whatever the command is called."""
    return any(map(value.matches, _ENTRY_POINTS)) and _FUNCTION.fullmatch(value.text) is not None


def holds_any_secret(text: str) -> bool:
    """Say whether a text holds what looks like a credential or a signature."""
    return any(True for _ in _find_secrets(text))


def _find_joined(text: str) -> Iterator[tuple[int, str]]:
    """The secrets that stand on two lines, which are one word to a shell."""
    for joint in _CONTINUATION.finditer(text):
        begin, end = text.rfind("\n", 0, joint.start()) + 1, text.find("\n", joint.end())
        before, after = text[begin : joint.start()], text[joint.end() : end if end >= 0 else None]
        apart = {thing for piece in (before, after) for _, thing in _find_secrets(piece)}
        yield from ((joint.start(), thing) for _, thing in _find_secrets(before + after) if thing not in apart)


def _find_secrets(text: str) -> Iterator[tuple[int, str]]:
    for match in _ANY_URL.finditer(text):
        if holds_secret(match[0]) and not _is_only_signed(match[0]):
            yield match.start(), CREDENTIAL
        path = re.split(r"[?#\"'`<>]", match[0], maxsplit=1)[0]
        if _RANDOM_PART.search(path) and (_INDEX_PATH.search(path) or _DISTRIBUTION.search(path)):
            yield match.start(), CREDENTIAL
    for match in list_urls(text):  # two in one word: the first ends where a quote does
        if holds_secret(match[0]) and not _is_only_signed(match[0]):
            yield match.start(), CREDENTIAL
    for pattern, thing in (
        (_BROKEN_AUTHORITY, CREDENTIAL),
        (_NO_SCHEME, CREDENTIAL),
        (_ENCODED, CREDENTIAL),
        (_SIGNATURE, SIGNED),
        (_TOKENS, CREDENTIAL),
        (_HEADER, CREDENTIAL),
        (_NETRC, CREDENTIAL),
        (_COMMANDS, CREDENTIAL),
        (_ASSIGNED, CREDENTIAL),
        (_QUERY, CREDENTIAL),
    ):
        for match in pattern.finditer(text):
            yield match.end() - 1, thing
    yield from ((at, CREDENTIAL) for at in _find_encoded(text))


def _find_encoded(text: str) -> Iterator[int]:
    """Find the words in base64 that hold a secret: a user and a password behind ``auth``, or what looks like one anywhere."""
    for match in _ENCODED_WORD.finditer(text):
        try:
            word = b64decode(match[0] + "=" * (-len(match[0]) % 4)).decode("ascii")
        except ValueError:
            continue
        is_named = _AUTH.search(text, max(0, match.start() - 20), match.start()) is not None
        if word.isprintable() and (
            (is_named and _PAIR.fullmatch(word))
            or any(pattern.search(word) for pattern in (_TOKENS, _ASSIGNED))
            or _holds_user(word)
        ):
            yield match.start()


def _holds_user(text: str) -> bool:
    return any(holds_secret(match[0]) for match in _ANY_URL.finditer(text))


def _is_only_signed(url: str) -> bool:
    return not holds_secret(re.sub(r"(?<=[?&])sig=[^&#\s]*", "", url, flags=re.IGNORECASE))


def _find_addresses(text: str, spans: Spans, kept: Collection[str], ours: UrlClassifier, *, has_comments: bool) -> Iterator[int]:
    urls = list(list_urls(text))
    starts = [match.start() for match in urls]
    comments: dict[int, int] = {}
    """Where the comment of a line begins, by where the line does: a line may have thousands of addresses."""
    for match in (*urls, *(bare for bare in _FEED.finditer(text) if not _is_within(bare, urls, starts))):
        start, end = match.span()
        if spans.overlap(start, end) or match[0] in kept:
            continue
        begin = text.rfind("\n", 0, start) + 1
        if has_comments:
            if begin not in comments:
                end = text.find("\n", start)
                comment = _COMMENT.search(text[begin : end if end >= 0 else None])
                comments[begin] = begin + comment.end() if comment else len(text) + 1
            if comments[begin] <= start:
                continue
        if _is_index(match[0], ours):
            yield start


def _is_within(match: re.Match[str], urls: Sequence[re.Match[str]], starts: Sequence[int]) -> bool:
    """Say whether it lies in the last of the URLs that begin before it."""
    at = bisect_right(starts, match.start())
    return at > 0 and match.start() < urls[at - 1].end()


def _is_index(url: str, ours: UrlClassifier) -> bool:
    if "://" not in url:
        return True
    try:
        verdict = ours.classify(url)
    except AmbiguousUrl:
        return True
    if verdict.owner is UrlOwner.GATE:
        return False
    is_data = verdict.owner is UrlOwner.NO_FILE and verdict.is_blob and not ours.is_configured  # any storage account's
    return (verdict.owner in _OURS and not is_data) or bool(_INDEX_PATH.search(without_user_info(url)[0]))
