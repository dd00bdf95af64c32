"""Log lines: one an event, whatever is in it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wheelgate.runtime import logs

HOSTILE = "one\r\n12:00:00 ERROR forged\x1b[2J\x00\u2028two\x85three\udcff"


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    names = ("", "azure", "aiohttp", "asyncio", "aiohttp.server")
    root = logging.getLogger()
    handlers, levels = root.handlers[:], {name: logging.getLogger(name).level for name in names}
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def written(capsys: pytest.CaptureFixture[str], style: logs.Format, message: str, *arguments: object, **more: Any) -> str:
    logs.configure(style)
    logging.getLogger("wheelgate.test").warning(message, *arguments, **more)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


def answered(**more: Any) -> logs.AnsweredRequest:
    usual = {
        "method": "GET",
        "route": "project",
        "project": "demo",
        "file": "",
        "status": 200,
        "seconds": 0.01234,
        "client": "127.0.0.1",
        "agent": "pip/26",
        "request_id": "abc",
        "path": "/simple/demo/",
    }
    return logs.AnsweredRequest(**{**usual, **more})


def log_answers(capsys: pytest.CaptureFixture[str], style: logs.Format, *answers: logs.AnsweredRequest) -> list[str]:
    logs.configure(style)
    logs.access.info(logs.AnsweredBatch(answers))
    return capsys.readouterr().err.split("\n")[:-1]


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    line = written(capsys, "text", "source %s is unreachable", "feed")
    moment, level, *rest = line.split()
    assert len(moment.split(":")) == 3
    assert level == "WARNING"
    assert " ".join(rest) == "source feed is unreachable"
    assert line.count("\n") == 1


def test_request_lines_for_people_end_with_their_time_and_id(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = log_answers(capsys, "text", answered(), answered(file="demo-1.0.tar.gz", status=404, request_id="def"))
    assert first[8:] == " INFO    GET project demo 200 12 ms abc"
    assert second[8:] == " INFO    GET project demo/demo-1.0.tar.gz 404 12 ms def"


def test_request_lines_for_a_collector_are_an_object_each(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = map(json.loads, log_answers(capsys, "json", answered(at=1_000_000_000.25), answered(request_id="def")))
    assert first == {
        "time": "2001-09-09T01:46:40.250Z",
        "level": "INFO",
        "logger": "wheelgate.access",
        "message": "GET project demo 200",
        "method": "GET",
        "route": "project",
        "project": "demo",
        "file": "",
        "status": 200,
        "seconds": 0.0123,
        "client": "127.0.0.1",
        "agent": "pip/26",
        "request_id": "abc",
        "path": "/simple/demo/",
    }
    assert second["request_id"] == "def"


def test_request_lines_pass_any_handler_of_logging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wheelgate.access")
    logs.access.info(logs.AnsweredBatch([answered(), answered(method="HEAD")]))
    assert [record.getMessage() for record in caplog.records] == ["GET project demo 200\nHEAD project demo 200"]


def test_a_line_for_a_collector(capsys: pytest.CaptureFixture[str]) -> None:
    entry = json.loads(written(capsys, "json", "source %s is unreachable", "feed"))
    moment = entry.pop("time")
    assert moment[10] == "T"
    assert moment.endswith("Z")
    assert entry == {"level": "WARNING", "logger": "wheelgate.test", "message": "source feed is unreachable"}


def test_no_message_forges_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    line = written(capsys, "text", "file %s", HOSTILE)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert "\x00" not in line


def test_no_message_or_field_forges_a_line_for_a_collector(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = written(capsys, "json", "file %s", HOSTILE).split("\n")[:-1]
    assert json.loads(line)["message"].startswith("file one\r\n12:00:00 ERROR forged")
    # A header that is not UTF-8 reaches us as lone surrogates, which JSON cannot hold.
    (line,) = log_answers(capsys, "json", answered(agent=HOSTILE))
    assert json.loads(line)["agent"].endswith("three\\udcff")
    (line,) = log_answers(capsys, "text", answered(project=HOSTILE))
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("style", ["text", "json"])
def test_a_long_message_is_cut(capsys: pytest.CaptureFixture[str], style: logs.Format) -> None:
    assert 2_000 < len(written(capsys, style, "x" * 100_000)) < 2_200


def raised() -> tuple[type[BaseException], BaseException, Any]:
    try:
        raise ValueError("it broke\n12:00:00 ERROR forged")
    except ValueError as error:
        return (ValueError, error, error.__traceback__)


def test_a_trace_for_people_is_indented_so_that_it_forges_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    first, *rest = written(capsys, "text", "failed", exc_info=raised()).splitlines()
    assert first.endswith("failed")
    assert "  ValueError: it broke" in rest
    assert all(line.startswith("  ") for line in rest)


def test_a_trace_for_a_collector_stays_in_its_object(capsys: pytest.CaptureFixture[str]) -> None:
    line = written(capsys, "json", "failed", exc_info=raised())
    assert line.count("\n") == 1
    assert json.loads(line)["trace"].endswith("ValueError: it broke\n12:00:00 ERROR forged")


def test_libraries_speak_only_when_something_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "DEBUG")
    for name in ("azure.core.pipeline", "aiohttp.access", "asyncio"):
        logging.getLogger(name).info("chatter")
        logging.getLogger(name).warning("trouble of %s", name)
    logging.getLogger("aiohttp.server").error("a malformed request")
    logging.getLogger("wheelgate.test").debug("ours")
    lines = capsys.readouterr().err
    assert "chatter" not in lines
    assert "malformed" not in lines
    assert lines.count("trouble") == 3
    assert "ours" in lines


def test_configuring_again_replaces_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text")
    logs.configure("text", "ERROR")
    logging.getLogger("wheelgate.test").warning("quiet")
    logging.getLogger("wheelgate.test").error("loud")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["loud"]


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=40))
def test_any_text_is_one_line_in_either_style(message: str, agent: str) -> None:
    batch = logs.AnsweredBatch([answered(project=message, agent=agent)])
    for said in (message, batch):
        record = logging.LogRecord("wheelgate.test", logging.INFO, "", 0, said, None, None)
        assert len(logs._Text().format(record).splitlines()) == 1
        encoded = logs._Json().format(record)
        assert "\n" not in encoded
        assert json.loads(encoded)["level"] == "INFO"
