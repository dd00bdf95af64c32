"""Log lines: readable for a person at a terminal, JSON for a collector. One line an event, whatever is in it."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import time
from collections.abc import Sequence
from typing import Literal, TextIO

import msgspec

Format = Literal["text", "json"]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_CHARACTERS = 2_000
_QUIET = ("azure", "aiohttp", "asyncio")
_WAIT_S = 0.1
_WAITING = 500
_access = logging.getLogger("wheelgate.access")


class AnsweredRequest(msgspec.Struct, gc=False):
    """A request that was answered, as its line tells it."""

    at: float
    """Seconds since the epoch."""
    method: str
    route: str
    project: str
    file: str
    status: int
    seconds: float
    """How long it took."""
    client: str
    agent: str
    request_id: str

    @property
    def sentence(self) -> str:
        """What happened, in short."""
        what = f"{self.project}/{self.file}" if self.file else self.project or "-"
        return f"{self.method} {self.route} {what} {self.status}"


class _Text(logging.Formatter):
    """Lines such as ``12:34:56 WARNING source team-feed cannot be heard: ...``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        line = f"{moment} {record.levelname:<7} {_one_line(record.getMessage())}"
        fields = getattr(record, "fields", None)
        if fields:
            line += f" {fields['seconds'] * 1000:.0f} ms {fields['request_id']}"
        if record.exc_info:
            for trace_line in self.formatException(record.exc_info).splitlines():
                line += f"\n  {_one_line(trace_line)}"  # an exception's message must not pass for a line of its own
        return line

    def format_answers(self, answers: Sequence[AnsweredRequest]) -> str:
        """A line for each."""
        lines = []
        second, moment = -1, ""
        for answer in answers:
            if int(answer.at) != second:
                second = int(answer.at)
                moment = time.strftime("%H:%M:%S", time.localtime(second))
            took = f"{answer.seconds * 1000:.0f} ms {answer.request_id}"
            lines.append(f"{moment} INFO    {_one_line(answer.sentence)} {took}\n")
        return "".join(lines)


class _Json(logging.Formatter):
    """One object a line, with an RFC 3339 time."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry: dict[str, object] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:_MAX_CHARACTERS],
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(_encodable(entry)).decode()

    def format_answers(self, answers: Sequence[AnsweredRequest]) -> str:
        """A line for each."""
        return "".join(_json_line(answer) for answer in answers)


class AccessLog:
    """One line a request. Those that were answered from memory wait a moment for others, to be written together.

    What waits is lost only with a process that is killed; whoever ends it in order calls :meth:`write`.
    """

    def __init__(self) -> None:
        self._waiting: list[AnsweredRequest] = []

    def add(
        self,
        method: str,
        route: str,
        project: str,
        file: str,
        status: int,
        seconds: float,
        client: str,
        agent: str,
        request_id: str,
    ) -> None:
        """Write a line, soon. Costs next to nothing where nobody wants to read it."""
        if not _access.isEnabledFor(logging.INFO):
            return
        waiting = self._waiting
        waiting.append(AnsweredRequest(time.time(), method, route, project, file, status, seconds, client, agent, request_id))
        if len(waiting) == 1:
            asyncio.get_running_loop().call_later(_WAIT_S, self.write)
        elif len(waiting) >= _WAITING:
            self.write()

    def write(self) -> None:
        """Write what waits, now."""
        answers, self._waiting = self._waiting, []
        if not answers:
            return
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and isinstance(handler.formatter, _Text | _Json):
                _write(handler, handler.formatter.format_answers(answers))
            else:
                for answer in answers:
                    handler.handle(_access.makeRecord(_access.name, logging.INFO, "", 0, answer.sentence, (), None))


def _write(handler: logging.StreamHandler[TextIO], text: str) -> None:
    handler.acquire()
    try:
        handler.stream.write(text)
        handler.flush()
    except OSError:  # as a log line anywhere: nobody's request fails for it
        pass
    finally:
        handler.release()


def configure(style: Format, level: str = "INFO") -> None:
    """Send everything to standard error in one style; libraries only from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # A malformed request or a client that hangs up is not our trouble: aiohttp writes a trace for each.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


def _encodable(entry: dict[str, object]) -> dict[str, object]:
    """What came as undecodable bytes (a header, a file name) holds lone surrogates, which no JSON may."""
    return {
        key: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for key, value in entry.items()
    }


def _json_line(answer: AnsweredRequest) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(answer.at))
    entry: dict[str, object] = {
        "time": f"{moment}.{int(answer.at % 1 * 1000):03d}Z",
        "level": "INFO",
        "logger": _access.name,
        "message": answer.sentence,
        "method": answer.method,
        "route": answer.route,
        "project": answer.project,
        "file": answer.file,
        "status": answer.status,
        "seconds": round(answer.seconds, 4),
        "client": answer.client,
        "agent": answer.agent,
        "request_id": answer.request_id,
    }
    return msgspec.json.encode(_encodable(entry)).decode() + "\n"


def _one_line(message: str) -> str:
    """No message can forge another line or move the cursor."""
    return _CONTROL.sub(" ", message)[:_MAX_CHARACTERS]
