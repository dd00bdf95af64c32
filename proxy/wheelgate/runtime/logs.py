"""Logging: lines for a person at a terminal, or JSON for a collector. One event is one line, whatever is in it."""

from __future__ import annotations

import logging
import math
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal, TextIO

import msgspec
from cachetools import LRUCache

Format = Literal["text", "json"]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_CHARACTERS = 2_000
_QUIET = ("azure", "aiohttp", "asyncio")
access = logging.getLogger("wheelgate.access")
"""Where answered requests are logged."""


class AnsweredRequest(msgspec.Struct, frozen=True, gc=False):
    """An answered request, for its log line and the metrics."""

    method: str
    route: str
    project: str
    file: str
    status: int
    seconds: float
    """How long the answer took."""
    client: str
    agent: str
    request_id: str
    path: str = ""
    """As it came, without the query; cut off after 200 characters."""
    at: float = msgspec.field(default_factory=time.time)
    """Seconds since the epoch."""

    def __str__(self) -> str:
        what = f"{self.project}/{self.file}" if self.file else self.project or self.path or "-"
        return f"{self.method} {self.route} {what} {self.status}"


class AnsweredBatch(msgspec.Struct, frozen=True):
    """Answered requests logged together: the message of one record, which formatters here write as one line a request.

    A batch costs a tenth of as many records.
    """

    answers: Sequence[AnsweredRequest]

    def __str__(self) -> str:
        return "\n".join(map(str, self.answers))


class _Text(logging.Formatter):
    """Formats lines such as ``12:34:56 WARNING source team-feed is unreachable: ...``."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, AnsweredBatch):
            return "\n".join(map(self._format_answer, record.msg.answers))
        line = f"{_local_time(int(record.created))} {record.levelname:<7} {_one_line(record.getMessage())}"
        if record.exc_info:
            for trace_line in self.formatException(record.exc_info).splitlines():
                line += f"\n  {_one_line(trace_line)}"  # an exception's message must not pass for a line of its own
        return line

    @staticmethod
    def _format_answer(answer: AnsweredRequest) -> str:
        took = f"{answer.seconds * 1000:.0f} ms {answer.request_id}"
        return f"{_local_time(int(answer.at))} INFO    {_one_line(str(answer))} {took}"


class _Json(logging.Formatter):
    """Formats one object a line, with an RFC 3339 time."""

    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, AnsweredBatch):
            return "\n".join(self._format_answer(record, answer) for answer in record.msg.answers)
        return self._encode(record, record.created, record.getMessage()[:_MAX_CHARACTERS])

    def _format_answer(self, record: logging.LogRecord, answer: AnsweredRequest) -> str:
        fields = {**msgspec.structs.asdict(answer), "seconds": round(answer.seconds, 4)}
        return self._encode(record, fields.pop("at"), str(answer), fields)

    def _encode(self, record: logging.LogRecord, at: float, message: str, fields: Mapping[str, object] | None = None) -> str:
        entry: dict[str, object] = {
            "time": f"{_utc_time(int(at))}.{int(at % 1 * 1000):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": message,
            **(fields or {}),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        for key, value in entry.items():
            if isinstance(value, str):  # undecodable bytes of a header or file name are lone surrogates, which JSON may not hold
                entry[key] = value.encode("utf-8", "backslashreplace").decode()
        return msgspec.json.encode(entry).decode()


class TroubleLog:
    """Log of troubles that last: each is one line when it is first met, and another when it is another trouble. Bounded."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._logged: LRUCache[str, str] = LRUCache(4_096)

    def report(self, about: str, sentence: str, level: int = logging.ERROR) -> None:
        """Log what is wrong with something, unless that was said of it last."""
        if self._logged.get(about) != sentence:
            self._logged[about] = sentence
            self._log.log(level, "%s", sentence)


class RepeatedWarning:
    """A warning about what somebody else can make happen at any rate: one line in a while, which says how often it was."""

    def __init__(
        self, log: logging.Logger, message: str, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._log = log
        self._message = message
        self._every_s = every_s
        self._clock = clock
        self._silent_until = -math.inf
        self._untold = 0

    def give(self, why: str = "") -> None:
        """Write the line, with the reason of this time, unless one was written lately."""
        now = self._clock()
        if now < self._silent_until:
            self._untold += 1
            return
        untold = f" ({self._untold} more times since the last such line)" if self._untold else ""
        self._log.warning("%s%s%s", self._message, f": {why}" if why else "", untold)
        self._silent_until, self._untold = now + self._every_s, 0


class _Handler(logging.StreamHandler[TextIO]):
    """Writer of log lines. One that cannot be written, as on a full disk, is lost, and harms nobody."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def configure(style: Format, level: str = "INFO") -> None:
    """Log everything to standard error in one style; libraries only from WARNING on."""
    handler = _Handler(sys.stderr)
    handler.setFormatter(_Json() if style == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # aiohttp logs a trace for each malformed request and each client that hangs up.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)


@lru_cache(4)
def _local_time(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


@lru_cache(4)
def _utc_time(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _one_line(message: str) -> str:
    """Replace control characters: no message can forge another line or move the cursor."""
    return _CONTROL.sub(" ", message)[:_MAX_CHARACTERS]
