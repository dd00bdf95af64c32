"""Wheel names, variants included: one reader, and everybody who wants to know more than the project asks it."""

from __future__ import annotations

import ast
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from tests.support.packages import metadata, wheel_bytes
from tests.test_layers import MODULES, ROOT
from wheelgate.core.belonging import Membership
from wheelgate.core.names import is_index_document, is_listable, parse_head, project_in, version_of
from wheelgate.core.wheel_names import WheelName, parse_wheel_name, python_tag_of, split_label
from wheelgate.distfiles.attestations import _same_name
from wheelgate.distfiles.core_metadata import read_core_metadata, read_fields
from wheelgate.distfiles.wheels import check_wheel
from wheelgate.mirror.targets import find_best_wheel, parse_target
from wheelgate.sources.packed_listing import find_keys
from wheelgate.uploads.accept import parse_filename_project

VARIANT = "acme_tool-1.0-py3-none-any-cu12.8_x.whl"
BUILT = "acme_tool-1.0-1a-py3-none-any-null.whl"


@pytest.mark.parametrize(
    ("filename", "plain", "label"),
    [
        ("acme-1.0-py3-none-any.whl", "acme-1.0-py3-none-any.whl", None),
        ("acme-1.0-1-py3-none-any.whl", "acme-1.0-1-py3-none-any.whl", None),
        ("acme-1.0-1b-cp311-cp311-win32.whl", "acme-1.0-1b-cp311-cp311-win32.whl", None),
        ("acme-1.0-py3-none-any-cu128.whl", "acme-1.0-py3-none-any.whl", "cu128"),
        ("acme-1.0-py3-none-any-1.whl", "acme-1.0-py3-none-any.whl", "1"),
        ("acme-1.0-1-py3-none-any-null.whl", "acme-1.0-1-py3-none-any.whl", "null"),
        ("acme-1!1.0+cpu-py3-none-any-x86_64_v3.whl", "acme-1!1.0+cpu-py3-none-any.whl", "x86_64_v3"),
    ],
)
def test_a_label_stands_last(filename: str, plain: str, label: str | None) -> None:
    assert split_label(filename) == (plain, label)
    assert parse_wheel_name(filename) == WheelName(*parse_wheel_filename(plain), label)


@pytest.mark.parametrize(
    "filename",
    [
        "acme-1.0-py3-none-any-.whl",
        "acme-1.0-py3-none-any-CU128.whl",
        "acme-1.0-py3-none-any-a b.whl",
        "acme-1.0-py3-none-any-a+b.whl",
        "acme-1.0-py3-none-any-a-b.whl",
        "acme-1.0-1-py3-none-any-a-b.whl",
        "acme-1.0-py3-none.whl",
        "acme-none-any-x-y-z.whl",
        "-1.0-py3-none-any-null.whl",
        "acme-1.0-py3-none-any-null",
    ],
)
def test_what_is_no_wheels_name_is_refused(filename: str) -> None:
    with pytest.raises(InvalidWheelFilename):
        parse_wheel_name(filename)


a_part = st.text("abc019._+-! ", min_size=0, max_size=6)


@given(st.lists(a_part, min_size=3, max_size=8).map("-".join))
def test_without_a_label_it_is_read_as_ever(stem: str) -> None:
    filename = f"{stem}.whl"
    try:
        expected = parse_wheel_filename(filename)
    except ValueError:
        return
    assert parse_wheel_name(filename) == WheelName(*expected, None)
    assert python_tag_of(filename) == filename[:-4].split("-")[-3]


@pytest.mark.parametrize("filename", [VARIANT, BUILT])
def test_every_reader_of_wheel_names_understands_a_variant(filename: str) -> None:
    assert (parse_head(filename), project_in(filename), version_of(filename, "acme-tool")) == ("acme-tool", "acme-tool", "1.0")
    assert filename in Membership("acme-tool")
    assert filename not in Membership("acme")
    assert python_tag_of(filename) == "py3"
    assert find_keys(filename) == find_keys("acme_tool-1.0-py3-none-any.whl")
    assert parse_filename_project(filename) == "acme-tool"
    assert _same_name(filename.replace("acme_tool", "Acme.Tool"), filename)
    assert not _same_name(filename, "acme_tool-1.0-py3-none-any.whl")
    assert read_fields(metadata("acme-tool", "1.0"), filename).name == "acme-tool"
    body = io.BytesIO(wheel_bytes("acme-tool", "1.0"))
    assert read_core_metadata(body, filename).version == "1.0"
    plain = "acme_tool-1.0-py2.py3-none-any.whl"
    target = parse_target("3.11", "linux-x86_64")
    assert find_best_wheel([filename, plain], target) == plain, "who knows no variants takes none"
    assert find_best_wheel([filename], target) is None


def test_nobody_else_reads_wheel_names() -> None:
    readers = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and "parse_wheel_filename" in {alias.name for alias in node.names}:
                readers.add(str(path.relative_to(ROOT)))
    assert readers == {"core/wheel_names.py"}


@pytest.mark.parametrize(
    ("filename", "project"),
    [
        ("acme_tool-1.0-variants.json", "acme-tool"),
        ("Acme.Tool-1!1.0+cpu-variants.json", "acme-tool"),
        ("acme-tool-1.0-variants.json", None),
        ("acme_tool-1.0-variants.json.metadata", None),
        ("acme_tool-1.0-variants.JSON", None),
        ("-1.0-variants.json", None),
        ("acme_tool-variants.json", None),
    ],
)
def test_the_name_of_an_index_document(filename: str, project: str | None) -> None:
    assert project_in(filename) == project
    if project is not None:
        assert is_index_document(filename)
        assert is_listable(filename)
        assert filename in Membership(project)
        assert filename not in Membership("acme")
        assert find_keys(filename) == find_keys("acme_tool-1.0-py3-none-any.whl")
        assert version_of(filename, project) == filename.split("-")[1]


def variant(content: bytes | None) -> io.BytesIO:
    extra = {} if content is None else {"acme_tool-1.0.dist-info/variant.json": content}
    return io.BytesIO(wheel_bytes("acme-tool", "1.0", extra=extra))


def test_an_upload_of_a_variant_says_what_its_label_means() -> None:
    good = b'{"variants": {"null": {}}, "default-priorities": {"namespace": ["x86_64"]}}'
    assert check_wheel(variant(good), "acme_tool-1.0-py3-none-any-null.whl").name == "acme-tool"
    assert zipfile.is_zipfile(variant(good))
    for content, why in {
        None: "has no variant.json, without which no installer takes it",
        b"{}": "has a variant.json that is not the JSON of PEP 825",
        b"[" * 100_000: "has a variant.json that is not the JSON of PEP 825",
        b'{"variants": {"cu128": {"nvidia": {"sm": ["1"]}}}}': "is named for the variant null, but its variant.json has 'cu128'",
        b'{"variants": {"null": {}, "more": {}}}': "is named for the variant null, but its variant.json has 'more', 'null'",
        b'{"variants": {}}': "is named for the variant null, but its variant.json has none",
    }.items():
        with pytest.raises(ValueError, match=why):
            check_wheel(variant(content), "acme_tool-1.0-py3-none-any-null.whl")
