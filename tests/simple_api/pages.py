"""What the tests of the Simple API share: a page's place, parsing it, and pages that a server could hold."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from hypothesis import strategies as st

from tests.support.steps import straight
from wheelgate.core.model import File, ProjectPage, ProjectStatus, RemoteFile
from wheelgate.core.names import is_safe_filename, normalise_name, same_version_key, version_of
from wheelgate.core.page_links import PageLinks
from wheelgate.core.urls import HostRules, parse
from wheelgate.simple_api.collector import ParsedPage
from wheelgate.simple_api.parse import parse_json, split_json
from wheelgate.simple_api.parse_html import parse_html

INDEX = "https://index.example.com/simple/"
ORIGIN = "https://index.example.com"
SHA = "a" * 64
DIGESTS = {"md5": 32, "sha256": 64, "sha384": 96, "sha512": 128}
"""Those that clients are shown."""
UNSHOWN = {"sha1": 40, "sha3_256": 64, "blake2b_256": 64}


def links(project: str = "demo", *file_hosts: str) -> PageLinks:
    return PageLinks(parse(f"{INDEX}{project}/"), HostRules(parse(INDEX), file_hosts))


def parsed_json(page: object, project: str = "demo") -> ParsedPage:
    """A JSON page as parsed; bytes are taken as they are."""
    body = page if isinstance(page, bytes) else json.dumps(page).encode()
    return straight(parse_json(split_json(body), project, "upstream", links(project)))


def parsed_html(page: str | bytes, project: str = "demo", charset: str = "utf-8") -> ParsedPage:
    body = page if isinstance(page, bytes) else page.encode()
    return straight(parse_html(body, charset, project, "upstream", links(project)))


def assert_sound(parsed: ParsedPage, project: str = "demo") -> None:
    """What holds for every page that was accepted, whatever the upstream sent."""
    names = [file.filename for file in parsed.files]
    assert len(names) == len(set(names))
    assert len(parsed.versions) == len(set(parsed.versions))
    covered = {same_version_key(version) for version in parsed.versions}
    for file in parsed.files:
        assert file.project == project == normalise_name(project)
        assert is_safe_filename(file.filename)
        assert isinstance(file.location, RemoteFile)
        assert file.location.url.startswith(ORIGIN)
        assert_digests(file.hashes)
        assert file.size is None or (type(file.size) is int and 0 < file.size <= 2**40)
        assert file.upload_time is None or file.upload_time.utcoffset() == datetime.now(UTC).utcoffset()
        assert file.requires_python is None or (
            not re.search(r"[\x00-\x1f\x7f-\x9f]", file.requires_python) and len(file.requires_python) <= 8_000
        )
        assert file.yanked is None or (not re.search(r"[\x00-\x1f\x7f-\x9f]", file.yanked) and len(file.yanked) <= 1_000)
        assert file.core_metadata is None or file.core_metadata.keys() <= {"sha256"}
        assert_digests(file.core_metadata or {})
        assert file.provenance is None or file.provenance.startswith("https://")
        version = version_of(file.filename, project)
        assert version is None or same_version_key(version) in covered
    if parsed.status is not None:
        assert parsed.status.status in ("active", "archived", "quarantined", "deprecated")
        assert parsed.status.reason is None or "\n" not in parsed.status.reason
    assert parsed.dropped >= 0


def assert_digests(hashes: object) -> None:
    assert isinstance(hashes, dict)
    for algorithm, digest in hashes.items():
        assert re.fullmatch(rf"[0-9a-f]{{{(DIGESTS | UNSHOWN)[algorithm]}}}", digest)


# Text that a page may hold: what `clean` leaves of anything, with what hurts most in it more often.
texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cn")) | st.sampled_from("<>&\"'`=/\\{}%;#"), max_size=30
) | st.sampled_from(
    ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "--><b>", "&lt;&amp;amp;", "{title}", "]]>", "x" * 1_000]
)
printable = texts.filter(lambda text: text.isprintable() and bool(text))
constraints = printable.map(lambda text: " ".join(text.split()) or None)  # no other is kept
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone comes last
versions = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){0,2}(a1|b2|rc1|\.post1|\.dev3|\+local\.1)?", fullmatch=True)
endings = st.sampled_from(["-py3-none-any.whl", ".tar.gz", ".zip", ".tar.bz2", "-1-py3-none-any.whl", "-py2.7.egg", ".win32.exe"])
filenames = st.builds("demo-{}{}".format, versions, endings)


def digest_of(length: int) -> st.SearchStrategy[str]:
    return st.text("0123456789abcdef", min_size=length, max_size=length)


digest_maps = st.fixed_dictionaries({}, optional={name: digest_of(length) for name, length in (DIGESTS | UNSHOWN).items()})
core_metadata = st.none() | st.just({}) | st.fixed_dictionaries({"sha256": digest_of(64)})
provenances = st.none() | st.builds(
    "https://index.example.com/integrity/{}".format, st.from_regex(r"[A-Za-z0-9/&?=.-]{1,20}", fullmatch=True)
)


@st.composite
def pages(draw: st.DrawFn) -> ProjectPage:
    """A page as a source of ours may give it."""
    names = draw(st.lists(filenames, max_size=4, unique=True))
    files = tuple(
        File(
            filename=name,
            project="demo",
            source="upstream",
            location=RemoteFile(f"{ORIGIN}/f/{name}", "upstream"),
            hashes=draw(digest_maps),
            size=draw(st.none() | st.integers(1, 2**40)),
            upload_time=draw(st.none() | moments),
            requires_python=draw(st.none() | constraints),
            yanked=draw(st.none() | texts),
            core_metadata=draw(core_metadata),
            provenance=draw(provenances),
        )
        for name in names
    )
    stated = [version for name in names if (version := version_of(name, "demo"))]
    listed = tuple(dict.fromkeys(draw(st.permutations([*stated, *draw(st.lists(versions, max_size=2))]))))
    status = draw(
        st.none()
        | st.builds(
            ProjectStatus,
            st.sampled_from(["active", "archived", "quarantined", "deprecated"]),
            st.none() | texts.filter(bool),
        )
    )
    return ProjectPage(project="demo", files=files, versions=listed, status=status, as_of=datetime(2026, 1, 1, tzinfo=UTC))
