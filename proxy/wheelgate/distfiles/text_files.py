"""Text files as installers read them: UTF-8, any encoding that a byte-order mark says, or one that a comment names (PEP 263)."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import msgspec

from wheelgate.core.errors import BadInput
from wheelgate.runtime.regular_file import FileTooLarge, read_argument

_LONGEST_SHOWN = 500
_MAX_FILE_BYTES = 16 * 1024 * 1024
# Those of four bytes first: two of their bytes are the mark of another.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NAMED = re.compile(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_LINES_THAT_NAME = 2


class TextFile(msgspec.Struct, frozen=True):
    """A text, byte-order mark and line ends included, and the encoding that its file has."""

    text: str
    encoding: str

    def encode(self, text: str) -> bytes:
        """Encode another text for the same file; :class:`UnicodeEncodeError` if it has characters that the file cannot."""
        return text.encode(self.encoding)


def read_text_file(path: Path, included_by: str = "") -> TextFile:
    """Read a text file as it is; :class:`BadInput` if it cannot be read."""
    before, shown = f"{included_by}: " if included_by else "", str(path)[:_LONGEST_SHOWN]
    try:
        return decode_text(read_argument(path, _MAX_FILE_BYTES))
    except FileTooLarge:
        raise BadInput(f"{before}{shown}: is larger than any requirements or lock file") from None
    except FileNotFoundError:
        raise BadInput(f"{before}{shown}: there is no such file") from None
    except UnicodeDecodeError:
        raise BadInput(f"{before}{shown}: is not UTF-8 text, and says no other encoding: save it as UTF-8") from None
    except LookupError:
        raise BadInput(f"{before}{shown}: names an encoding that cannot be used: save it as UTF-8") from None
    except ValueError:  # a null character
        raise BadInput(f"{before}{shown!r} is not the path of a file") from None
    except OSError as error:
        raise BadInput(f"{before}{shown}: cannot be read: {(error.strerror or 'unknown reason').lower()}") from None


def decode_text(body: bytes) -> TextFile:
    """Decode a text as pip does.

    Raises:
        UnicodeDecodeError: it is in no encoding that it says.
        LookupError: it says one that is not known, or that does not give back the same bytes.
    """
    encoding = next((name for mark, name in _MARKS if body.startswith(mark)), None)
    if encoding is None:
        named = next(filter(None, map(_NAMED.match, body.split(b"\n")[:_LINES_THAT_NAME])), None)
        encoding = codecs.lookup(named[1].decode("ascii", "replace")).name if named else "utf-8"
    try:
        text = body.decode(encoding)
        same = text.encode(encoding) == body
    except UnicodeEncodeError:
        same = False
    if not same:
        raise LookupError(encoding)
    return TextFile(text, encoding)
