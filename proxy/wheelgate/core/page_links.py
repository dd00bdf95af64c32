"""Links of a page: resolved as clients resolve them, and judged before anybody follows them."""

from __future__ import annotations

import re
from urllib.parse import quote

from yarl import URL

from wheelgate.core.urls import PLAIN_PLACE, HostRules, UnsafeUrl, describe_place, parse

# The plain form that nearly every link has, which no two parsers read differently: it needs no parser at all.
_PLAIN_PATH = re.compile(r"(?:/[A-Za-z0-9_~+=@-][A-Za-z0-9_.~+=@-]*+)++")  # possessive: it never goes back, in half the time
_BEHIND_SCHEME = len("https://")
_REFERENCE = re.compile(r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?]*))?(?P<path>[^?]*)(?P<query>\?.*)?")
"""RFC 3986, appendix B; there is no fragment any more."""


class PageLinks:
    """Resolver and judge of the links of one page."""

    def __init__(self, page: URL, rules: HostRules) -> None:
        self._base: URL | None = page
        self._here = str(page.origin())
        self._rules = rules
        self._places: dict[str, str | None] = {}

    def rebase(self, href: str) -> None:
        """Resolve against a ``<base href>``; one that cannot be read leaves every relative link unresolvable."""
        try:
            if href := href.strip().partition("#")[0]:  # one that is a fragment alone changes nothing
                self._base = _resolve(self._base, href)
                self._here = str(self._base.origin())
        except ValueError:
            self._base, self._here = None, ""

    def absolute(self, href: str) -> str | None:
        """The absolute URL without fragment and user information if it is safe and allowed, else ``None``."""
        end = href.find("/", _BEHIND_SCHEME) if href.startswith("http") else 0
        if not _PLAIN_PATH.fullmatch(href, end):
            return self._judge(href)
        place = href[:end] or self._here
        try:
            allowed = self._places[place]
        except KeyError:
            if not PLAIN_PLACE.fullmatch(place):
                return self._judge(href)
            root = self._judge(f"{place}/")
            allowed = self._places[place] = root and root[:-1]
        if allowed is None:
            return None
        return href if end and allowed == place else allowed + href[end:]

    def _judge(self, href: str) -> str | None:
        try:
            url = _resolve(self._base, href.partition("#")[0])
        except ValueError:
            return None
        return str(url) if self._rules.allows(url) else None

    def explain(self, href: str) -> str:
        """Say where a refused link leads, and why it is not followed, in words that may follow "links to it "."""
        try:
            url = _resolve(self._base, href.partition("#")[0])
        except UnsafeUrl as error:
            return f"in a way that is not followed: {error}"
        except ValueError:
            return "in a way that is not followed: it is malformed"
        return f"at {describe_place(url)}, {self._rules.explain(url)}"


def _resolve(base: URL | None, href: str) -> URL:
    """Resolve a link without fragment (RFC 3986, 5.2), as clients do: quoted where it is not, and with its dot segments removed.

    User information is dropped: credentials are chosen by us. Empty segments stay; pip drops those of relative links, which is
    the standard library's own way, and uv does not. Raises UnsafeUrl.
    """
    if not href or not href.isprintable() or "\\" in href:
        raise UnsafeUrl("it is malformed")
    # Unencoded characters (spaces, non-ASCII) are legal in an href and quoted by every client; what is encoded stays so.
    found = _REFERENCE.fullmatch(quote(href.strip(" "), safe="/_.~!$&'()*+,;=:@%?[]-", errors="strict"))
    if found is None or (found["scheme"] and found["authority"] is None):
        raise UnsafeUrl("it is not an absolute http(s) URL")  # never "https:path", which some readers take as relative
    scheme, authority, path, query = found["scheme"], found["authority"], found["path"], found["query"] or ""
    if authority is None:
        if base is None:
            raise UnsafeUrl("it is relative to a place that cannot be read")
        authority = base.raw_authority
        if not path:
            path, query = base.raw_path, query or (f"?{base.raw_query_string}" if base.raw_query_string else "")
        elif not path.startswith("/"):
            path = f"{base.raw_path.rpartition('/')[0]}/{path}"
    if not scheme:
        if base is None:
            raise UnsafeUrl("it is relative to a place that cannot be read")
        scheme = base.scheme
    return parse(f"{scheme}://{authority.rpartition('@')[2]}{_remove_dots(path)}{query}", empty_segments=True)


def _remove_dots(path: str) -> str:
    """Remove the dot segments of a path (RFC 3986, 5.2.4); encoded ones are refused later."""
    if "/." not in path:
        return path
    kept: list[str] = []
    first, *segments = path.split("/")
    for segment in segments:
        if segment == ".." and kept:
            kept.pop()
        elif segment not in (".", ".."):
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join([first, *kept])
