"""YAML as people write settings in it, and the connection documents made of it: no message repeats a secret."""

from __future__ import annotations

import json

import yaml

from tests.fuzzing.target import CANARY, Target, assert_sentence
from wheelgate.config.connection_documents import parse_document
from wheelgate.config.plain_yaml import NotPlainYaml, compose_yaml, find_text, find_value, list_entries, parse_plain_yaml
from wheelgate.core.errors import ConfigurationError


def check(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    _check_plain(text)
    try:
        node = compose_yaml(text, anchors=True)
    except NotPlainYaml as error:
        assert_sentence(str(error))
    else:
        find_text(node)
        list_entries(find_value(node, "dependencies"))
    _check_document(data)


def _check_plain(text: str) -> None:
    try:
        value = parse_plain_yaml(text)
    except NotPlainYaml as error:
        assert_sentence(str(error))
        return
    _check_value(value, 0)
    try:
        written = json.dumps(value)
        if json.loads(written) == value:  # a key may also be yes or null
            assert parse_plain_yaml(f'{{"a": {written}}}') == {"a": value}
    except RecursionError:
        pass
    dumped = yaml.safe_dump(value, allow_unicode=False)
    try:
        again = parse_plain_yaml(dumped)
    except NotPlainYaml as error:  # JSON may be deeper than YAML
        assert text.lstrip().startswith("{"), error
    else:
        assert again == value or text.lstrip().startswith("{")


def _check_value(value: object, depth: int) -> None:
    assert value is None or isinstance(value, str | bool | dict | list)
    if depth > 40:
        return
    for key in value if isinstance(value, dict) else ():
        assert key is None or isinstance(key, str | bool)
        _check_value(value[key], depth + 1)
    for entry in value if isinstance(value, list) else ():
        _check_value(entry, depth + 1)


def _check_document(data: bytes) -> None:
    try:
        document = parse_document(data)
        connection = document.build_connection(value="env:X")
    except ConfigurationError as error:
        for problem in error.problems:
            assert_sentence(problem)
    except ValueError as error:
        assert_sentence(str(error))
    else:
        assert CANARY not in str(document.secret)
        assert connection.place.holds(connection.place)


_SECRET = CANARY.encode()
TARGET = Target(
    check=check,
    modules=("wheelgate.config.plain_yaml", "wheelgate.config.connection_documents", "wheelgate.config.connections"),
    seeds=(
        b"name: acme\ntype: python_feed\ntarget: https://h/acme\ncredentials:\n  type: pat\n  pat: " + _SECRET + b"\n",
        b'{"name": "acme", "properties": {"category": "PythonFeed", "target": "https://h/x", "authType": "UsernamePassword", '
        b'"credentials": {"username": "u", "password": "' + _SECRET + b'"}}}',
        b"$schema: x\nname: acme\ntarget: https://h/\nauthType: PAT\nvalue: " + _SECRET + b"\n" + _SECRET + b": x\n",
        b"name: b\ntype: " + _SECRET + b"\ntarget: https://u:" + _SECRET + b"@h/\nauth_type: " + _SECRET + b"\n",
        b"a: &x [1, *x]\nb: |\n  text\nc: 'it''s'\nd: \"\\x41\"\ne: {f: yes, g: ~}\n---\n",
    ),
    words=(
        b": ", b"- ", b"\n", b"\n  ", b"&a ", b"*a", b"!!str ", b"!", b"<<: ", b"? ", b"|\n", b">\n", b"'", b'"', b"{", b"}",
        b"[", b"]", b"#", b"%YAML 1.1\n---\n", b"%YAML " + b"9" * 4400 + b".1\n---\n", b"%TAG ! tag:x,2000:\n---\n",
        b'"\\U00110000"', b'"\\UFFFFFFFF"', b'"\\uD800"', b'"\\0"', b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"---\n",
        b"...\n", b"yes", b"null", b"~", b"1e400", b"9" * 4400, b"2026-01-01", b".inf", b"0x1f", b"name", b"target",
        b"credentials", b"properties", b"value", b"pat", b"type", b"category", b"authType", b"true", b"\\ud800", _SECRET,
        b"https://h/", b"[" * 40, b"\t", b"\0", b"%",
    ),
    max_bytes=4_096,
)  # fmt: skip
