"""Rewriting of files of all formats: twice is once, the rest stays, and no secret is shown, or left without a word."""

from __future__ import annotations

import re

from tests.fuzzing.target import CANARY, Target, assert_sentence
from wheelgate.core.errors import BadInput
from wheelgate.rewrite.classify_urls import UrlClassifier
from wheelgate.rewrite.documents import Purpose, find_blobs, rewrite_text
from wheelgate.rewrite.shown import format_diff, redact

_GATE = "https://wheelgate.internal/python"
_NAMES = {
    b"r": "requirements.txt",
    b"c": "conda.yml",
    b"d": "Dockerfile",
    b"i": "pip.conf",
    b"j": "environment.json",
    b"p": "pyproject.toml",
    b"u": "uv.lock",
}


def check(data: bytes) -> None:
    """The first byte says which kind of file the others are."""
    name = _NAMES.get(data[:1], "requirements.txt")
    text = data[1:].decode("utf-8", "replace")
    for by_name in (False, True):
        try:
            once = _rewrite(name, text, by_name)
        except BadInput as error:
            assert_sentence(str(error))
            continue
        if once is None:
            continue
        assert _rewrite(name, once, by_name) in (once, None), "a second time changes more"
        if once != text:
            shown = format_diff(name, text, once)
            assert _is_hidden(shown), "the diff shows a credential"
    redact(text)


def _rewrite(name: str, text: str, by_name: bool) -> str | None:
    """The text rewritten; ``None`` if a line is refused."""
    done = rewrite_text(name, text, Purpose(ours=_OURS, gate=_GATE, by_name=by_name))
    find_blobs(name, text, _OURS)
    for _, sentence in (*done.refusals, *done.notes, *done.left, *done.sources):
        assert _is_hidden(sentence), "a remark shows a credential"
    if done.refusals:
        return None
    if not (done.left or done.notes):
        assert _is_hidden(done.text), "a credential is left without a word"
    return done.text


def _is_hidden(shown: str) -> bool:
    """Tell if the canary is nowhere where a credential stands: before a URL's ``@``, or in its query."""
    return not _SHOWN.search(shown)


_SHOWN = re.compile(rf"://[^\s/?#\"'`<>]*:{CANARY}@|://[^\s#\"'`<>]*\?[^\s#\"'`<>]*sig={CANARY}")
_SECRET = CANARY.encode()
_OURS = UrlClassifier(_GATE)
_WHEEL = b"acme_tool-1.0-py3-none-any.whl"
_BLOB = b"https://acct.blob.core.windows.net/wheels/"
_FEED = b"https://build:" + _SECRET + b"@pkgs.dev.azure.com/acme/_packaging/team/pypi/simple/"
TARGET = Target(
    check=check,
    modules=(
        "wheelgate.rewrite.documents",
        "wheelgate.rewrite.decisions",
        "wheelgate.rewrite.classify_urls",
        "wheelgate.rewrite.formats",
        "wheelgate.rewrite.leftovers",
        "wheelgate.rewrite.locks",
        "wheelgate.rewrite.settle_places",
        "wheelgate.rewrite.shell_places",
        "wheelgate.rewrite.toml_values",
    ),
    seeds=(
        b"r-i " + _FEED + b"\nacme-tool @ " + _BLOB + _WHEEL + b"?sig=" + _SECRET + b"#sha256=00 ; x > '1' # why\nrequests==2\n",
        b"r--extra-index-url " + _FEED + b"\n-f " + _BLOB + b"\ngit+https://u:" + _SECRET + b"@h/x.git@v1\n--no-index\n-i https://pypi.org/simple\n",
        b"cname: x\ndependencies:\n- python\n- pip:\n  - " + _BLOB + _WHEEL + b"\n  - '-i " + _FEED + b"'\n  - requests # why\n",
        b"dFROM x\nENV PIP_EXTRA_INDEX_URL=" + _FEED + b"\nRUN pip install \\\n -i " + _FEED + b" '" + _BLOB + _WHEEL + b"'\n",
        b"i[global]\nindex-url = https://pypi.org/simple\nextra-index-url =\n  " + _FEED + b"\n",
        b'j{"dependencies": [{"pip": ["-i ' + _FEED + b'", "a"]}], "e": {"PIP_INDEX_URL": "' + _FEED + b'"}}',
        b'p[[tool.uv.index]]\nurl = "' + _FEED + b'"\n[project]\ndependencies = ["a @ ' + _BLOB + _WHEEL + b'"]\n',
        b'u[[package]]\nname = "a"\nsource = { registry = "' + _FEED + b'" }\nsdist = { url = "' + _BLOB + _WHEEL + b'" }\n',
        b"r--index-url https://__token__:wgt_x@wheelgate.internal/python/simple/\n",
    ),
    words=(
        b"\n", b"\r\n", b"\\\n", b" #", b"-i ", b"--index-url=", b"--extra-index-url ", b"-f ", b"--no-index", b" @ ", b" ; ",
        b"'", b'"', b"- ", b"  - ", b"- pip:\n", b"|\n", b"&a ", b"*a", b"?sig=" + _SECRET, b"#egg=x[a]", b"#sha256=", _BLOB,
        _FEED, _WHEEL, b"https://u:" + _SECRET + b"@", b"https://${TOKEN}@", b"%2f", b"\\", b"\xc2\x85", b"\xe2\x80\xa8",
        b"\x0c", b"\xef\xbb\xbf", b"\t", b"acme-tool", b"https://wheelgate.internal/python/simple/",
        b"https://pypi.org/simple", b'"\\U00110000"', b"conda_file:\n", b"[",
    ),
    max_bytes=4_096,
)  # fmt: skip
