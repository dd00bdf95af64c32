"""What core metadata says of a release, field by field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from wheelgate.distfiles.core_metadata import BadWheel, read_fields
from wheelgate.distfiles.release_description import ReleaseDescription, read_release_description

HEAD = b"Metadata-Version: 2.4\nName: Acme_Tool\nVersion: 1.0.0\n"


def read(fields: bytes) -> ReleaseDescription:
    return read_release_description(HEAD + fields, "acme-tool", Version("1.0"))


def test_every_field_is_read_as_it_stands() -> None:
    read_all = read(
        b"Summary: it works\nHome-page: UNKNOWN\nLicense-Expression: MIT\nRequires-Python: >=3.9\n"
        b"Requires-Dist: idna >=2\nRequires-Dist: acme[x]; extra == 'y'\nProvides-Extra: y\nClassifier: A :: B\n"
        b"Project-URL: Source, https://example.com/a,b\nProject-URL: odd\nKeywords: a,b\nDynamic: version\n\nSummary: not this\n"
    )
    assert (read_all.summary, read_all.home_page, read_all.license_expression) == ("it works", None, "MIT")
    assert (read_all.requires_python, read_all.keywords, read_all.dynamic) == (">=3.9", "a,b", ["version"])
    assert read_all.requires_dist == ["idna >=2", "acme[x]; extra == 'y'"]
    assert (read_all.provides_extra, read_all.classifiers) == (["y"], ["A :: B"])
    assert read_all.project_urls == {"Source": "https://example.com/a,b", "odd": ""}


def test_what_is_not_said_is_not_known() -> None:
    nothing = read(b"")
    assert nothing.classifiers == []
    assert {getattr(nothing, field) for field in nothing.__struct_fields__ if field != "classifiers"} == {None}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(fields: bytes) -> None:
    try:
        read(fields)
    except BadWheel:
        pass


@pytest.mark.parametrize(("project", "version"), [("acme", "1.0"), ("acme-tool", "1.1")])
def test_it_is_of_this_very_release(project: str, version: str) -> None:
    with pytest.raises(BadWheel):
        read_release_description(HEAD, project, Version(version))


@pytest.mark.parametrize("name", [b"acme-tool", b"=?utf-8?q?Acme=5FTool?="])
def test_it_is_read_where_its_wheel_can_be(name: bytes) -> None:
    """As for ``.metadata``: uv takes an encoded name, and a local version that the file name alone has."""
    body = b"Metadata-Version: 2.4\nName: %b\nVersion: 1.0\nSummary: it works\n" % name
    assert read_fields(body, "acme_tool-1.0+cu128-py3-none-any.whl").body == body
    assert read_release_description(body, "acme-tool", Version("1.0+cu128")).summary == "it works"
