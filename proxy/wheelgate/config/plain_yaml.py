"""YAML as people write settings in it: mappings, lists, text, yes and no; bounded, and everything else refused.

A password ``0123`` is that text, not the number 83; of a key written twice nobody knows which one is meant; an anchor could make
a few lines a terabyte, so only those who walk nodes may allow it; and the C parser, which is not used, ends the process at a
document that is nested deeply enough.
"""

from __future__ import annotations

import json
from typing import Any

import yaml

_MAX_DEPTH = 32
_TAG = "tag:yaml.org,2002:"
_INVALID, _NEITHER = "is not valid YAML", "is neither YAML nor JSON"
_DEEP, _TWICE = "is nested too deeply", "says one thing twice"


class NotPlainYaml(ValueError):
    """The text cannot be used; the message says why and where, and repeats nothing of it."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"{problem} (line {line})")
        self.problem = problem
        self.line = line
        """Counted from 1; ``None`` where it is not known."""


def parse_plain_yaml(text: str) -> object:
    """Parse the one document in a text, which may be JSON. Numbers and dates come as the text they are written as.

    Raises:
        NotPlainYaml: it is none, or has more in it than settings need.
    """
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text, object_pairs_hook=_refuse_duplicates, parse_int=str, parse_float=str, parse_constant=str)
        except NotPlainYaml:
            raise
        except RecursionError:
            raise NotPlainYaml(_DEEP) from None
        except ValueError:
            pass  # YAML has braces too
    try:
        return _build_value(compose_yaml(text))
    except NotPlainYaml as error:
        raise NotPlainYaml(_NEITHER if error.problem == _INVALID else error.problem, error.line) from None


def compose_yaml(text: str, *, anchors: bool = False) -> yaml.Node | None:
    """Compose the nodes of the one document in a text, with their positions; ``None`` if it is empty.

    With ``anchors`` a node may stand in several places, even within itself: whoever walks them must visit each once.

    Raises:
        NotPlainYaml: it is none, or has more in it than that.
    """
    try:
        loader = _Loader(text)
        loader.anchors_allowed = anchors
        node: yaml.Node | None = loader.get_single_node()
    except NotPlainYaml:
        raise
    except (ValueError, OverflowError):  # an escape beyond the last character, a version of thousands of digits
        raise NotPlainYaml(_INVALID) from None
    except yaml.YAMLError as error:  # one without a mark: characters that YAML does not allow
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        raise NotPlainYaml(_INVALID, None if mark is None else mark.line + 1) from None
    return node


def find_value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    """Find the value that a mapping has for a key; ``None`` if it has none, or is no mapping."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def list_entries(node: yaml.Node | None) -> list[yaml.Node]:
    """List the entries of a list, each once; none of anything else."""
    return list({id(entry): entry for entry in node.value}.values()) if isinstance(node, yaml.SequenceNode) else []


def find_text(node: yaml.Node | None) -> str | None:
    """Find the text that a node is; ``None`` of anything else, numbers and dates included."""
    return str(node.value) if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}str" else None


def _build_value(node: yaml.Node | None) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {_build_value(key): _build_value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_build_value(entry) for entry in node.value]
    if node is None or node.tag == f"{_TAG}null":
        return None
    return node.value.lower() in ("yes", "true", "on") if node.tag == f"{_TAG}bool" else node.value


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise NotPlainYaml(_TWICE)
    return made


class _Loader(yaml.SafeLoader):
    """In Python alone: it stops where it is told to."""

    anchors_allowed = False
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        self._depth += 1
        is_alias = isinstance(event, yaml.AliasEvent)
        self._require(self.anchors_allowed or not is_alias, "has YAML anchors, which nothing here needs", event)
        self._require(is_alias or getattr(event, "tag", None) is None, "has a YAML tag, which nothing here needs", event)
        self._require(self._depth <= _MAX_DEPTH, _DEEP, event)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = set()
        for key, _ in node.value:
            is_merge = self.anchors_allowed and key.tag == f"{_TAG}merge"
            self._require(isinstance(key, yaml.ScalarNode), "has a key that is not text", key)
            self._require(not is_merge, "has a YAML merge key (<<): write out what it stands for", key)
            self._require(key.value not in keys, _TWICE, key)
            keys.add(key.value)
        return node

    def _require(self, is_so: bool, problem: str, place: Any) -> None:
        if not is_so:
            raise NotPlainYaml(problem, place.start_mark.line + 1)
