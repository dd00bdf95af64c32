"""Locations of mirrors, as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wheelgate.cli.destinations import parse_location
from wheelgate.core.errors import ConfigurationError

FOLDERS = {
    "file:./bundle": "bundle",
    "file:bundle": "bundle",
    "./bundle": "bundle",
    "./bundle/": "bundle",
    "./a/b c": "a/b c",
    ".": ".",
    "..": "..",
    "../bundle": "../bundle",
    "/srv/bundle": "/srv/bundle",
    "file:/srv/bundle": "/srv/bundle",
    "file:///srv/bundle": "/srv/bundle",
    "~/bundle": "~/bundle",
}


@pytest.mark.parametrize(("text", "folder"), FOLDERS.items())
def test_a_path_means_the_folder(text: str, folder: str) -> None:
    found = parse_location(text, "--to", None)
    assert found.folder == Path(folder).expanduser().absolute()
    assert found.name == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("bundle", "--to: 'bundle' is neither a folder nor a URL: write ./bundle for the folder"),
        ("data/bundle", "write ./data/bundle for the folder"),
        ("acct.blob.core.windows.net/mirror", "--to: must be a folder"),
        (".hidden", "--to: must be a folder"),
        ("", "--to: must be a folder"),
        ("http://acct.blob.core.windows.net/mirror", "must be https"),
    ],
)
def test_what_may_be_meant_otherwise_is_asked_for(text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_location(text, "--to", None)
    assert sentence in str(caught.value)


def test_a_container_is_its_url() -> None:
    assert (
        parse_location("https://acct.blob.core.windows.net/mirror/", "--to", None).name
        == "https://acct.blob.core.windows.net/mirror"
    )
