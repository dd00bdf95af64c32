"""Form of a sha256 as it is stored and compared everywhere: 64 hexadecimal digits in lower case, and nothing after them."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
"""To be matched in full."""
Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""The same, as a field of a record."""
