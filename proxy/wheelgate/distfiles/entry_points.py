"""The scripts that a wheel has made in an environment: names and forms with which pip and uv make them."""

from __future__ import annotations

import configparser
import re

from wheelgate.distfiles.member_names import show_name

MAX_ENTRY_POINTS_BYTES = 128 * 1024
_MAX_SECTIONS = 1_000
_SECTIONS = ("console_scripts", "gui_scripts")
_REFERENCE = re.compile(r"[\w.-]+\s*:\s*[\w.-]+(\s*\[[^\[\]]*\])?\s*")
_RESERVED = re.compile(r"(pythonw?|python3|graalpy|pypy[23]?|python3\.\d{1,3}t?|pythonw3\.\d{1,3}t)(\.py)?(\.exe)?", re.ASCII)
"""Names that uv keeps for interpreters."""


def check_entry_points(body: bytes, bad: type[ValueError]) -> None:
    """Check an ``entry_points.txt``; ``bad``, whose message completes "it ...", if an installer stops at it."""
    parser = configparser.ConfigParser(delimiters=("=",), strict=True, interpolation=None, default_section="\n")
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # as its documentation says to keep case
    try:
        text = body.decode("utf-8")
        if sum(line.lstrip().startswith("[") for line in text.splitlines()) > _MAX_SECTIONS:
            raise bad(f"has an entry_points.txt of more than {_MAX_SECTIONS} sections")
        parser.read_string(text)
    except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as error:
        name = error.option if isinstance(error, configparser.DuplicateOptionError) else error.section
        raise bad(f"has an entry_points.txt that states {show_name(name)} twice, which uv refuses") from None
    except (configparser.Error, UnicodeDecodeError):
        raise bad("has an entry_points.txt that cannot be read") from None
    for section in _SECTIONS:
        for name, reference in parser.items(section) if parser.has_section(section) else ():
            if not _REFERENCE.fullmatch(reference):
                raise bad(f"has a script {show_name(name)} in entry_points.txt that names no function (module:function)")
            if not name.isprintable():
                raise bad(f"has a script in entry_points.txt whose name cannot be printed: {show_name(name)}")
            if "/" in name or "\\" in name or name in (".", "..") or name[1:2] == ":":
                raise bad(f"has a script in entry_points.txt whose name leaves its folder: {show_name(name)}")
            check_script_name(name, bad)


def check_script_name(name: str, bad: type[ValueError]) -> None:
    """Check that a script takes the name of no interpreter; or raise ``bad``."""
    if _RESERVED.fullmatch(name.lower()):
        raise bad(f"has a script named like an interpreter, which uv refuses: {show_name(name)}")
