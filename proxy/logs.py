"""Log lines: readable for a person at a terminal, JSON for a collector. One line an event, whatever is in it."""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Literal

import msgspec

Format = Literal["text", "json"]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MAX_CHARACTERS = 2_000
_QUIET = ("azure", "aiohttp", "asyncio")


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


def _one_line(message: str) -> str:
    """No message can forge another line or move the cursor."""
    return _CONTROL.sub(" ", message)[:_MAX_CHARACTERS]
